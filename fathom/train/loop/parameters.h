// The trained parameters of an opened model: what optimisers update and where gradients arrive.
//
// One list for pre-training and full fine-tuning, made from the weight table. Adapters (LoRA) have
// parameters of their own.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "fathom/compute/autograd/parameter_gradients.h"
#include "fathom/model/config/weight_table.h"
#include "fathom/model/weights/store.h"
#include "fathom/train/optim/parameter.h"

namespace fathom::train {

struct ParameterOptions {
  // Of the matrices that are Muon's in specification 6.1; AdamW has all other parameters.
  optim::Method matrices = optim::Method::Muon;
  // Whether norms, biases, sinks and scales decay as well, as V4's do.
  bool vectors_decay = true;
  // Names of which parameters are trained (all if there is none) and which of them are not after
  // all. * stands for any letters, as in *.indexer.*; parameters() shows the names.
  std::vector<std::string> trained = {};
  std::vector<std::string> frozen = {};
};

// The optimiser of a tensor by its role (specification 6.1): AdamW for the embedding, the head,
// vectors (norms, base and scale of hyper-connections, sinks) and position biases, and for all if
// `matrices` says so; Muon for every other matrix, router and hyper-connection fn among them.
optim::Method method_of(const config::WeightSpec& spec, optim::Method matrices);

class ParameterList {
 public:
  // Every trainable tensor of the store, in the order of the weight table, each expert a parameter
  // of its own. The store has to be trainable (Store::make_trainable) and to outlive the list, as
  // has `config`. What is missing in its files is left out (layers that are built from it say so).
  // Throws InvalidArgument naming a pattern that fits no parameter, or when nothing is trained.
  ParameterList(const config::ModelConfig& config,
                weights::Store& store,
                const weights::NameMap& names,
                const ParameterOptions& options);

  // Names are the official ones, whatever the files call their tensors.
  const std::vector<optim::Parameter>& parameters() const { return parameters_; }

  // Where parameter `idx` comes from.
  struct Origin {
    config::WeightKey key;
    Index expert_idx = 0;
    std::span<float> numbers;  // what layers work with
  };
  const Origin& origin(Index idx) const { return origins_[to_size(idx)]; }

  // Lets the optimiser update other numbers than the layers work with (quantisation-aware
  // training).
  void set_values(Index idx, std::span<float> values);

  // Declares every parameter: gradients are collected for these and no others.
  void declare(autograd::ParameterGradients& gradients) const;

  // What Optimizer::step takes; the spans stay valid until `gradients` is cleared. A parameter that
  // nothing reached since then has none; an expert without a token has zeros where another one of
  // its layer was reached, as it would have as a part of one stacked tensor.
  std::vector<std::span<const float>> gradients(
      const autograd::ParameterGradients& gradients) const;

  Index num_numbers() const;

 private:
  void add(const config::WeightSpec& spec,
           Index expert_idx,
           std::span<float> numbers,
           std::string name,
           const ParameterOptions& options);

  std::vector<optim::Parameter> parameters_;
  std::vector<Origin> origins_;
  std::vector<float> zeros_;  // as many as the largest expert has
};

}  // namespace fathom::train
