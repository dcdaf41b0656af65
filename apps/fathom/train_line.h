// What a person sees of a training run: a line that is kept up to date, and what is worth a line of
// its own.
#pragma once

#include <chrono>

#include "fathom/train/loop/training_run.h"

namespace fathom::app {

struct TrainLineFacts {
  Index num_steps = 0;
  double flop_per_token = 0;
  double peak_flop_per_s = 0;  // 0: not known, and no share of it is shown
};

// On standard error. On a terminal the line is rewritten in place; elsewhere one is written every
// 15 seconds.
class TrainLine final : public train::RunObserver {
 public:
  explicit TrainLine(const TrainLineFacts& facts);
  ~TrainLine() override;
  TrainLine(const TrainLine&) = delete;
  TrainLine& operator=(const TrainLine&) = delete;

  void on_resume(Index step, const std::string& path) override;
  void on_step(const train::StepResult& result,
               const train::TrainerState& state,
               const train::RunTime& time) override;
  void on_refused(const train::StepResult& result) override;
  void on_rollback(Index from_step, Index to_step) override;
  void on_validation(Index step, const train::Validation& validation, bool is_best) override;
  void on_note(const std::string& note) override;

  void finish();  // before anything else is printed

 private:
  using Clock = std::chrono::steady_clock;
  void print_line(const std::string& text);

  TrainLineFacts facts_;
  bool is_terminal_;
  bool is_shown_ = false;
  Clock::time_point last_;
  double tokens_per_s_ = 0;  // smoothed
  double seconds_per_step_ = 0;
  double last_seconds_ = 0;
};

}  // namespace fathom::app
