// What happened in a run, an event a line: the file that other programs plot, and the report's
// source.
//
// JSON objects. "event" is one of: step, refused, rollback, validation, checkpoint, resume, stop.
// A run that goes on from a checkpoint cuts the file to what was there then, so that no step is in
// it twice but for those that a rollback took back.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/train/loop/trainer.h"

namespace fathom::train {

// Time of a run, over all its starts.
struct RunTime {
  double seconds = 0;  // of the whole run by now
  double tokens_per_s = 0;
};

// One line each, without its end. Experts' shares are in a step's line where `with_experts`.
std::string step_line(const StepResult& result,
                      const TrainerState& state,
                      const RunTime& time,
                      bool with_experts);
std::string refused_line(const StepResult& result, const TrainerState& state);
std::string rollback_line(Index from_step, Index to_step, const TrainerState& state);
std::string validation_line(Index step, const Validation& validation, bool is_best);
// "checkpoint", "resume" or "stop" with a few words.
std::string note_line(std::string_view event, Index step, const std::string& text);

// The lines of a file again, as far as plots need them.
struct MetricsPoint {
  Index step = 0;
  Index tokens = 0;
  double seconds = 0;
  double loss = 0;
  double mtp_loss = 0;
  double gradient_norm = 0;
  double learning_rate = 0;
  double tokens_per_s = 0;
  // [layers, then MTP blocks][E] shares of the layer's slots, 1 / E each when even; nothing for a
  // layer without experts, and of most points.
  std::vector<std::vector<double>> expert_shares;
};
struct ValidationPoint {
  Index step = 0;
  double loss = 0;
  std::optional<double> standard_error;
};
// "1.7500 +- 0.0250", or the loss alone.
std::string loss_text(double loss, const std::optional<double>& standard_error);

struct MetricsHistory {
  std::vector<MetricsPoint> steps;  // without those that a rollback took back
  std::vector<ValidationPoint> validations;
  std::vector<std::string> events;  // refused steps, rollbacks, resumptions: sentences
  Index num_unreadable = 0;         // lines that are no event
};
// Of a file's text; a line that is no event is counted and left out.
MetricsHistory parse_metrics(std::string_view text);

}  // namespace fathom::train
