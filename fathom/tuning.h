// Fine-tuning a model in a folder: an adapter (LoRA) over frozen weights or all of its weights, by
// examples (SFT) or by pairs to prefer one of (DPO).
//
// A part of the door for the program. docs/training.md describes the options.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "fathom/base/core/index.h"
#include "fathom/train/loop/training_run.h"
#include "fathom/train/tune/evaluation.h"

namespace fathom {

struct TuneSettings {
  std::string model;
  std::string data;  // a JSONL file
  std::string out;   // a folder

  bool is_full = false;  // all weights instead of an adapter
  std::string targets;   // "attention=16,experts=8"; empty: attention and MLP, or shared experts
  Index rank = 16;       // of a target that names none
  double scale = 2;      // alpha / rank
  bool is_dpo = false;   // pairs instead of conversations
  double beta = 0.1;     // of DPO

  std::string validation;     // a file; empty: a share of the data is held out
  double hold_out = 0.05;     // of the examples
  Index sequence_tokens = 0;  // of an example at most; 0: 2,048, or the model's context
  bool cuts_long = false;
  Index batch_tokens = 0;  // computed at a time; 0: as long as the longest example may be
  Index step_batches = 1;  // of an update

  double epochs = 2;
  Index steps = 0;             // updates; 0: as the epochs say
  double learning_rate = 0;    // 0: 2e-4 for an adapter, 1e-5 for all weights, a tenth for pairs
  double warmup_share = 0.05;  // of the steps
  double weight_decay = 0;
  double clip_norm = 1;
  Index seed = 1;

  Index checkpoint_every = 100;
  Index validate_every = 0;      // steps; 0: only before and after
  std::string storage = "bf16";  // of a model with all weights tuned
  int threads = 0;
  std::string backend = "cpu";
  std::string numerics = "high";
};

// What a run is going to be.
struct TuneFacts {
  Index num_examples = 0;
  Index num_held_out = 0;
  Index num_cut = 0;
  Index num_left_out = 0;
  Index epoch_tokens = 0;
  Index trained_parameters = 0;
  Index num_steps = 0;
  std::string backend;
  int num_threads = 0;
};

// Of the examples that were held out.
struct TuneEvaluation {
  tune::MeanLoss loss;
  std::optional<double> preferred_share = {};  // of pairs: whose chosen reply gained on the other
};

struct TuneResult {
  train::RunOutcome outcome;
  std::string path;  // of the adapter, or the model; empty when it was interrupted
  std::optional<TuneEvaluation> before = {};
  std::optional<TuneEvaluation> after = {};
  tune::MeanLoss difference = {};
};

class Tuning {
 public:
  // Opens model and data. Throws InvalidArgument naming the option, and what opening throws.
  explicit Tuning(const TuneSettings& settings);
  ~Tuning();
  Tuning(const Tuning&) = delete;
  Tuning& operator=(const Tuning&) = delete;

  const TuneFacts& facts() const;
  // Evaluates, trains in the folder `run` below the settings' and goes on from a checkpoint that is
  // there, evaluates again and writes the adapter (or the model, into `model`). Throws
  // InvalidArgument for a checkpoint that was made with other settings.
  TuneResult run(train::RunObserver& observer, const std::function<bool()>& is_stop_wanted);

 private:
  class Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace fathom
