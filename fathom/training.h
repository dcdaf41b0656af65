// Training a model in a folder: pre-training from a config, or going on from a checkpoint.
//
// A part of the door for the program: it puts together what model, data, optimiser, objective and
// loop are to each other. docs/training.md describes the settings.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/model/config/model_config.h"
#include "fathom/train/loop/training_run.h"

namespace fathom {

struct TrainSettings {
  struct Model {
    std::string config;  // one of these two
    std::string path;
    Index seed = 1;  // of a new model's numbers
    std::vector<std::string> trained;
    std::vector<std::string> frozen;
  };
  struct Data {
    std::vector<std::string> folders;
    std::vector<double> weights;
    Index sequence_tokens = 2048;
    Index batch_sequences = 1;
    Index step_sequences = 32;
    Index seed = 1;
  };
  struct Optimizer {
    std::string matrices = "muon";
    double beta1 = 0.9;
    double beta2 = 0.95;
    double epsilon = 1e-20;
    double momentum = 0.95;
    double update_rms = 0.18;
    double weight_decay = 0.1;
    bool vectors_decay = true;
    double clip_norm = 1;
    double average = 0;  // 0: none
  };
  struct Schedule {
    std::string kind = "wsd";
    Index steps = 0;  // must be given
    Index warmup_steps = 0;
    Index decay_steps = 0;
    std::string curve = "1-sqrt";
    double peak = 2.7e-4;
    double end = 2.7e-5;
    double max_hours = 0;
  };
  struct Loss {
    double mtp = 0.3;
    double mtp_in_decay = 0.1;
    double balance = 1e-4;
    double router_bias_speed = 0.001;
    double indexer = 1;
    bool indexer_warm_up = false;
    std::string teacher;  // a checkpoint; empty: none
    double teacher_weight = 0.5;
    Index teacher_top_k = 64;
    double teacher_temperature = 1;
    bool recompute = true;
  };
  struct Quantisation {
    std::string storage = "bf16";
    bool is_aware = false;
  };
  struct Validation {
    Index every = 0;
    Index tokens = 65'536;
    Index patience = 0;
  };
  struct Checkpoint {
    Index every = 100;
    Index keep = 2;
  };
  struct Run {
    std::string folder;
    std::string weights = "last";  // of the exported model
    Index expert_shares_every = 10;
    Index threads = 0;
    std::string backend = "cpu";
    std::string numerics = "high";
    std::string gradient_products = "fp32";
  };
  Run run;
  Model model;
  Data data;
  Schedule schedule;
  Optimizer optimizer;
  Loss loss;
  Quantisation quantisation;
  Validation validation;
  train::GuardOptions guard;
  Checkpoint checkpoint;
};

// What a run is going to be; for --check and for the first lines of a run.
struct TrainFacts {
  Index parameters = 0;         // of the model, with its MTP block
  Index active_parameters = 0;  // per token
  Index trained_parameters = 0;
  Index vocabulary_size = 0;       // of the model
  Index data_vocabulary_size = 0;  // of the data
  Index data_tokens = 0;           // of one epoch
  Index validation_tokens = 0;     // of all documents kept apart; 0: none are
  Index step_tokens = 0;
  Index total_tokens = 0;  // of all steps
  double epochs = 0;
  Index mean_piece_tokens = 0;  // of documents, at most a sequence: what attention looks over
  Index memory_bytes = 0;       // predicted
  std::string backend;
  int num_threads = 0;
};

class Training {
 public:
  // Opens model and data, and makes a new model's first checkpoint in the run's folder where there
  // is none (`is_check`: makes nothing there; a new model is then made in a temporary folder).
  // `settings_text` is what TrainSettings were read from, as it is kept in checkpoints. Throws
  // InvalidArgument naming the setting, and what opening throws.
  Training(const TrainSettings& settings, std::string settings_text, bool is_check);
  ~Training();
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  const TrainFacts& facts() const;
  const config::ModelConfig& config() const;
  // Floating-point operations of the machine in a second, measured for a moment; 0: not known.
  double measure_peak_flop_per_s();

  // Goes on from the newest checkpoint, if `accept` takes its settings, or begins; until it is done
  // or `is_stop_wanted`. Then writes the model (unless it was stopped) and returns where.
  struct Result {
    train::RunOutcome outcome;
    std::string model;  // the folder; empty: was not written
  };
  Result run(train::RunObserver& observer,
             const std::function<bool()>& is_stop_wanted,
             const train::TrainingRun::Accept& accept);

 private:
  class Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace fathom
