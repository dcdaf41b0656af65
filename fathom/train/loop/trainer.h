// One step of training: gradients of some batches, summed, judged, clipped, and one update.
//
// No files, no clock, no printing: what happened is returned. Everything the next step depends on
// is in parameters, optimiser, model, data and TrainerState; with these put back, it has the same
// bits.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fathom/train/loop/objective.h"
#include "fathom/train/loop/spike_guard.h"
#include "fathom/train/optim/optimizer.h"

namespace fathom::train {

// What is trained, as far as the loop must know it: where gradients are, and what follows an
// update.
class TrainedModel {
 public:
  virtual ~TrainedModel() = default;

  // What an objective adds to.
  virtual autograd::ParameterGradients& gradients() = 0;
  // Of each of the optimiser's parameters, in their order; empty where nothing reached it since
  // gradients() was cleared.
  virtual std::vector<std::span<const float>> gradient_values() = 0;
  // After an update: what layers compute with follows the parameters (quantised copies), and what
  // is not trained by gradients follows the step (router biases).
  virtual void follow_update(const LossSums& sums) = 0;
  // Parameters were replaced (another checkpoint, averages): layers are to see them.
  virtual void refresh() = 0;
  // Numbers beside the parameters that a checkpoint must hold.
  virtual std::vector<optim::StateTensor> state() = 0;
};

struct TrainerOptions {
  Index batches_per_step = 1;
  double clip_norm = 1;  // gradients longer than this are shortened to it; 0: never
  GuardOptions guard = {};
};

struct TrainerParts {
  ops::Context& context;
  Objective& objective;
  data::BatchSource& source;
  optim::Optimizer& optimizer;
  TrainedModel& model;
  // Of the update that makes the step'th step, from 1.
  std::function<double(Index step)> learning_rate;
  // Told before each step, from 1, what it will be: for what else follows the schedule.
  std::function<void(Index step)> before_step = {};
};

// What a step was, or would have been.
struct StepResult {
  Verdict verdict = Verdict::Good;  // others: no update was made
  Index step = 0;                   // updates that were made by now
  double loss = 0;                  // mean over the step's targets, nats
  double gradient_norm = 0;         // before clipping
  double learning_rate = 0;
  LossSums sums;
  Index num_tokens = 0;  // of the step's batches
  double loss_limit = 0;
  double norm_limit = 0;
  std::string detail;  // of a number that is not finite: where it was found
  bool is_good() const { return verdict == Verdict::Good; }
};

// What a checkpoint keeps of a trainer.
struct TrainerState {
  Index step = 0;           // updates
  Index tokens = 0;         // read by now, also those of refused steps
  Index refused_steps = 0;  // whose data was left out
  Index refused_in_a_row = 0;
  SpikeGuard::History history = {};
  friend bool operator==(const TrainerState&, const TrainerState&) = default;
};

// A mean over batches and what it may be off by.
struct Validation {
  double loss = 0;                       // mean over targets, nats
  std::optional<double> standard_error;  // from the spread between batches; one has none
  Index num_tokens = 0;
  LossSums sums;
};

class Trainer {
 public:
  // The parts have to stay. Throws InvalidArgument naming the option.
  Trainer(const TrainerParts& parts, const TrainerOptions& options);

  // Reads batches and, unless the guard refuses, makes one update. Throws what source, objective
  // and optimiser throw; nothing was updated then.
  StepResult step();

  // The mean loss of the next `num_batches` of `source`, without gradients.
  Validation validate(data::BatchSource& source, Index num_batches);

  const GuardOptions& guard_options() const { return options_.guard; }
  TrainerState state() const;
  void restore(const TrainerState& state);

 private:
  std::vector<data::Batch> read_batches();

  TrainerParts parts_;
  TrainerOptions options_;
  SpikeGuard guard_;
  TrainerState state_;
};

}  // namespace fathom::train
