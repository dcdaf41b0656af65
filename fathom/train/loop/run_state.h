// What a run remembers besides tensors and the place in its data, as JSON in its checkpoints.
#pragma once

#include <optional>
#include <string>

#include "fathom/train/loop/trainer.h"

namespace fathom::train {

struct RunState {
  TrainerState trainer;
  Index optimizer_steps = 0;
  Index metrics_bytes = 0;  // of the metrics file when the checkpoint was written
  double seconds = 0;       // of training, over all starts
  double last_loss = 0;     // of the last update

  Index rollbacks = 0;
  Index rollbacks_in_a_row = 0;  // without getting further than furthest_step
  Index furthest_step = 0;       // that a rollback began at

  struct Best {
    double loss = 0;
    Index step = 0;
    friend bool operator==(const Best&, const Best&) = default;
  };
  std::optional<Best> best;  // of the validations
  std::optional<double> last_validation;
  Index validations_since_best = 0;

  friend bool operator==(const RunState&, const RunState&) = default;
};

std::string print_run_state(const RunState& state);
// Throws InvalidCheckpoint naming `source` and the member.
RunState parse_run_state(const std::string& json, const std::string& source);

}  // namespace fathom::train
