// Quantisation-aware training: layers compute with the numbers that a checkpoint will hold.
//
// The optimiser updates an fp32 master of every parameter; after each step the layers get what
// export writes and a reader decodes of it, bit for bit: FP4 experts in groups of 32 columns, FP8
// dense matrices in tiles of 128 x 128, BF16 or F32 where the storage plan says so. The gradient at
// the rounded numbers is the master's (straight through; architecture specification 6.6).
#pragma once

#include <vector>

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/numeric/weight_encoder.h"
#include "fathom/train/loop/parameters.h"

namespace fathom::train {

class QuantisationAware {
 public:
  // Gives every parameter of the list that the plan rounds a master, which starts as its value (so
  // the optimiser and averages are made from the list afterwards), and rounds all weights of the
  // store, those that are not trained too. Layers that are built afterwards also round what the
  // official numerics round in front of such formats. The store has to be trainable; it and the
  // list have to outlive this. Throws InvalidArgument naming a tensor that the plan's format cannot
  // hold.
  QuantisationAware(const config::ModelConfig& config,
                    const config::StoragePlan& plan,
                    const weights::NameMap& names,
                    weights::Store& store,
                    ParameterList& parameters,
                    platform::ThreadPool& pool);

  // Gives the layers the masters' numbers as the plan stores them: after every change of the
  // parameters' values (a step, a checkpoint that was read, averages that were exchanged).
  void update_layers(platform::ThreadPool& pool);

  Index master_bytes() const;

 private:
  // A matrix of the store and where its numbers come from: its master, or itself.
  struct Matrix {
    numeric::WeightFormat format;
    numeric::ScaleFormat scale_format;
    Index rows;
    Index columns;
    const float* from;
    float* to;
  };
  static void round(const std::vector<Matrix>& matrices, platform::ThreadPool& pool);

  std::vector<std::vector<float>> masters_;
  std::vector<Matrix> trained_;
};

}  // namespace fathom::train
