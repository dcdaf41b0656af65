#include "apps/fathom/train_line.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>

#include <fmt/format.h>

#include "fathom/base/formats/number_text.h"

#include "apps/fathom/progress.h"

namespace fathom::app {
namespace {

constexpr auto kTerminalInterval = std::chrono::milliseconds(200);
constexpr auto kLogInterval = std::chrono::seconds(15);
constexpr double kSmoothing = 0.9;  // of rates, from step to step

double smooth(double before, double now) {
  return before == 0 ? now : kSmoothing * before + (1 - kSmoothing) * now;
}

}  // namespace

TrainLine::TrainLine(const TrainLineFacts& facts)
    : facts_(facts), is_terminal_(isatty(STDERR_FILENO) == 1), last_(Clock::now()) {}

TrainLine::~TrainLine() {
  finish();
}

void TrainLine::finish() {
  if (is_shown_ && is_terminal_) {
    std::fputs("\r\x1b[K", stderr);
  }
  is_shown_ = false;
}

void TrainLine::print_line(const std::string& text) {
  finish();
  fmt::print(stderr, "{}\n", text);
}

void TrainLine::on_resume(Index step, const std::string& path) {
  print_line(fmt::format("goes on from step {} ({})", step, path));
}

void TrainLine::on_step(const train::StepResult& result,
                        const train::TrainerState&,
                        const train::RunTime& time) {
  tokens_per_s_ = smooth(tokens_per_s_, time.tokens_per_s);
  if (last_seconds_ > 0) {
    seconds_per_step_ = smooth(seconds_per_step_, time.seconds - last_seconds_);
  }
  last_seconds_ = time.seconds;
  const Clock::time_point now = Clock::now();
  if (now - last_ < (is_terminal_ ? kTerminalInterval : kLogInterval)) {
    return;
  }
  last_ = now;
  std::string line =
      fmt::format("step {}/{}  loss {:.4f}  norm {:.3g}  rate {:.2e}  {} tokens/s", result.step,
                  facts_.num_steps, result.loss, result.gradient_norm, result.learning_rate,
                  formats::grouped(std::llround(tokens_per_s_)));
  if (facts_.peak_flop_per_s > 0) {
    line += fmt::format("  {:.0f} % of fp32 peak",
                        100 * tokens_per_s_ * facts_.flop_per_token / facts_.peak_flop_per_s);
  }
  if (seconds_per_step_ > 0) {
    const auto left = static_cast<double>(facts_.num_steps - result.step);
    line += "  " + duration_text(left * seconds_per_step_) + " left";
  }
  fmt::print(stderr, "{}{}{}", is_terminal_ ? "\r" : "", line, is_terminal_ ? "\x1b[K" : "\n");
  is_shown_ = true;
}

void TrainLine::on_refused(const train::StepResult& result) {
  print_line(fmt::format(
      "step {}: its data is left out: {} (loss {:.4g}, at most {:.4g}; gradient norm {:.4g}, at "
      "most {:.4g}){}",
      result.step + 1, to_string(result.verdict), result.loss, result.loss_limit,
      result.gradient_norm, result.norm_limit, result.detail.empty() ? "" : ": " + result.detail));
}

void TrainLine::on_rollback(Index from_step, Index to_step) {
  print_line(fmt::format("back from step {} to the checkpoint of step {}", from_step, to_step));
}

void TrainLine::on_validation(Index step, const train::Validation& validation, bool is_best) {
  print_line(fmt::format("step {}: validation loss {}{}", step,
                         train::loss_text(validation.loss, validation.standard_error),
                         is_best ? ", the best by now" : ""));
}

void TrainLine::on_note(const std::string& note) {
  print_line("note: " + note);
}

}  // namespace fathom::app
