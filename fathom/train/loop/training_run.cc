#include "fathom/train/loop/training_run.h"

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/output_file.h"
#include "fathom/train/loop/run_report.h"

namespace fathom::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMetricsFile = "metrics.jsonl";
constexpr const char* kReportFile = "report.html";
constexpr const char* kDataFact = "data";
constexpr const char* kRunFact = "run";
constexpr const char* kSettingsFact = "settings";

constexpr std::array<std::pair<StopReason, std::string_view>, 4> kReasons = {
    {{StopReason::Done, "all steps are done"},
     {StopReason::TimeIsUp, "the time is up"},
     {StopReason::NoProgress, "validation does not get better"},
     {StopReason::Interrupted, "interrupted"}}};

platform::FileLock lock_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    fail(ErrorCode::Io, "create ", folder.string(), ": ", error.message());
  }
  std::optional<platform::FileLock> lock = platform::FileLock::try_lock(folder / "lock");
  if (!lock) {
    fail(ErrorCode::Io, folder.string(), ": another process is training in this folder");
  }
  return *std::move(lock);
}

}  // namespace

std::string_view to_string(StopReason reason) {
  return std::find_if(kReasons.begin(), kReasons.end(),
                      [&](const auto& row) { return row.first == reason; })
      ->second;
}

TrainingRun::TrainingRun(const RunParts& parts,
                         const TrainerOptions& trainer,
                         const RunOptions& options)
    : parts_(parts),
      options_(options),
      lock_(lock_folder(options.folder)),
      checkpoints_(options.folder / "checkpoints", options.keep_checkpoints),
      trainer_(parts.trainer, trainer) {
  if (options.num_steps < 1 || options.checkpoint_every < 1 || options.keep_checkpoints < 1) {
    fail(ErrorCode::InvalidArgument,
         "steps, checkpoint interval and checkpoints to keep: expected at least 1 of each");
  }
  platform::remove_unfinished_files(options.folder);
  if (parts_.validation != nullptr) {
    validation_start_ = parts_.validation->state();
  }
  started_at_ = parts_.seconds();
}

double TrainingRun::seconds_by_now() const {
  return seconds_before_ + parts_.seconds() - started_at_;
}

bool TrainingRun::is_due(Index every) const {
  return every > 0 && trainer_.state().step % every == 0;
}

void TrainingRun::write_line(const std::string& line) {
  metrics_->append(line + "\n");
}

// Parameters, what the optimiser keeps, averages, and what the model keeps besides.
std::vector<optim::StateTensor> TrainingRun::tensors() {
  std::vector<optim::StateTensor> tensors;
  for (const optim::Parameter& parameter : parts_.trainer.optimizer.parameters()) {
    tensors.push_back({parameter.name, parameter.rows, parameter.columns, parameter.values});
  }
  const auto add = [&](std::vector<optim::StateTensor> more) {
    tensors.insert(tensors.end(), more.begin(), more.end());
  };
  add(parts_.trainer.optimizer.state());
  add(parts_.trainer.model.state());
  if (parts_.average != nullptr) {
    add(parts_.average->state());
  }
  return tensors;
}

CheckpointFacts TrainingRun::facts() {
  state_.trainer = trainer_.state();
  state_.optimizer_steps = parts_.trainer.optimizer.num_steps();
  state_.metrics_bytes = metrics_->num_bytes();
  state_.seconds = seconds_by_now();
  return {{kRunFact, print_run_state(state_)},
          {kDataFact, parts_.trainer.source.state()},
          {kSettingsFact, options_.settings}};
}

void TrainingRun::save(CheckpointKind kind) {
  metrics_->sync();  // what the checkpoint counts on is on the disk before it is
  const Index step = trainer_.state().step;
  checkpoints_.write(step, kind, facts(), tensors());
  last_checkpoint_ = step;
  parts_.observer.on_checkpoint(step, checkpoints_.folder());
  write_report();
}

// A report that cannot be written is no reason to lose a run.
void TrainingRun::write_report() {
  try {
    write_run_report(options_.folder / kMetricsFile, options_.folder / kReportFile,
                     options_.folder.filename().string());
  } catch (const Error& error) {
    parts_.observer.on_note(error.what());
  }
}

void TrainingRun::restore_tensors(const CheckpointReader& reader) {
  reader.read(tensors());
  parts_.trainer.model.refresh();
}

bool TrainingRun::resume(const Accept& accept) {
  const auto restore = [&](const CheckpointReader& reader) {
    accept(reader.fact(kSettingsFact));
    const RunState state = parse_run_state(reader.fact(kRunFact), "checkpoint");
    restore_tensors(reader);
    parts_.trainer.source.restore(reader.fact(kDataFact));
    state_ = state;
  };
  const auto newest = checkpoints_.restore_newest(
      false, restore, [&](const std::string& damage) { parts_.observer.on_note(damage); });
  if (!newest) {
    return false;
  }
  trainer_.restore(state_.trainer);
  parts_.trainer.optimizer.set_num_steps(state_.optimizer_steps);
  seconds_before_ = state_.seconds;
  started_at_ = parts_.seconds();
  last_checkpoint_ = newest->step;
  metrics_.emplace(options_.folder / kMetricsFile, state_.metrics_bytes);
  write_line(note_line("resume", newest->step, "went on from " + newest->path.filename().string()));
  parts_.observer.on_resume(newest->step, newest->path.string());
  return true;
}

std::optional<StopReason> TrainingRun::reason_to_stop() const {
  if (parts_.is_stop_wanted()) {
    return StopReason::Interrupted;
  }
  if (trainer_.state().step >= options_.num_steps) {
    return StopReason::Done;
  }
  if (options_.patience > 0 && state_.validations_since_best >= options_.patience) {
    return StopReason::NoProgress;
  }
  if (options_.max_seconds > 0 && seconds_by_now() >= options_.max_seconds) {
    return StopReason::TimeIsUp;
  }
  return std::nullopt;
}

void TrainingRun::step() {
  const double before = parts_.seconds();
  const StepResult result = trainer_.step();
  if (!result.is_good()) {
    refuse(result);
    return;
  }
  if (parts_.average != nullptr) {
    parts_.average->update(parts_.trainer.context.pool);
  }
  state_.last_loss = result.loss;
  const double seconds = parts_.seconds() - before;
  const RunTime time{
      .seconds = seconds_by_now(),
      .tokens_per_s = seconds > 0 ? static_cast<double>(result.num_tokens) / seconds : 0};
  const TrainerState state = trainer_.state();
  write_line(step_line(result, state, time, is_due(options_.expert_shares_every)));
  parts_.observer.on_step(result, state, time);
  if (parts_.validation != nullptr && is_due(options_.validate_every)) {
    validate();
  }
  if (is_due(options_.checkpoint_every)) {
    save(CheckpointKind::Regular);
  }
}

void TrainingRun::refuse(const StepResult& result) {
  const TrainerState state = trainer_.state();
  write_line(refused_line(result, state));
  parts_.observer.on_refused(result);
  if (state.refused_in_a_row >= trainer_.guard_options().steps_in_a_row) {
    roll_back(result);
  }
}

// The data that was read since stays behind; everything else is as it was.
void TrainingRun::roll_back(const StepResult& result) {
  const TrainerState now = trainer_.state();
  const GuardOptions& guard = trainer_.guard_options();
  const bool is_further = now.step > state_.furthest_step;
  state_.rollbacks_in_a_row = is_further ? 1 : state_.rollbacks_in_a_row + 1;
  state_.furthest_step = std::max(state_.furthest_step, now.step);
  if (state_.rollbacks_in_a_row > guard.max_rollbacks) {
    fail(ErrorCode::InvalidArgument, "training does not get beyond step ", now.step, ": ",
         now.refused_in_a_row, " steps in a row were refused (", to_string(result.verdict),
         result.detail.empty() ? "" : ": ", result.detail, "; loss ", result.loss,
         ", gradient norm ", result.gradient_norm, ") after going back ", guard.max_rollbacks,
         " times: try a lower learning rate or a longer warm-up, or allow more (guard.deviations)");
  }
  const auto restore = [&](const CheckpointReader& reader) {
    const RunState then = parse_run_state(reader.fact(kRunFact), "checkpoint");
    restore_tensors(reader);
    TrainerState state = then.trainer;
    state.tokens = now.tokens;
    state.refused_steps = now.refused_steps;
    state.refused_in_a_row = 0;
    trainer_.restore(state);
    parts_.trainer.optimizer.set_num_steps(then.optimizer_steps);
  };
  const auto taken = checkpoints_.restore_newest(
      true, restore, [&](const std::string& damage) { parts_.observer.on_note(damage); });
  FATHOM_CHECK(taken.has_value());  // run() begins with one
  ++state_.rollbacks;
  write_line(rollback_line(now.step, taken->step, trainer_.state()));
  parts_.observer.on_rollback(now.step, taken->step);
}

void TrainingRun::validate() {
  parts_.validation->restore(validation_start_);
  const Index step = trainer_.state().step;
  const Validation validation = trainer_.validate(*parts_.validation, options_.validation_batches);
  const bool is_best = !state_.best || validation.loss < state_.best->loss;
  state_.last_validation = validation.loss;
  state_.validations_since_best = is_best ? 0 : state_.validations_since_best + 1;
  if (is_best) {
    state_.best = RunState::Best{validation.loss, step};
  }
  write_line(validation_line(step, validation, is_best));
  parts_.observer.on_validation(step, validation, is_best);
  if (is_best) {
    checkpoints_.write_best(facts(), tensors());
  }
}

RunOutcome TrainingRun::run() {
  try {
    if (!metrics_) {
      metrics_.emplace(options_.folder / kMetricsFile, 0);
    }
    if (last_checkpoint_ < 0) {
      save(CheckpointKind::Regular);  // also finds out whether the disk takes them
    }
    std::optional<StopReason> reason = reason_to_stop();
    while (!reason) {
      step();
      reason = reason_to_stop();
    }
    if (trainer_.state().step != last_checkpoint_) {
      write_line(note_line("stop", trainer_.state().step, std::string(to_string(*reason))));
      save(CheckpointKind::Stop);
    }
    write_report();
    return outcome(*reason);
  } catch (const Error& error) {
    if (last_checkpoint_ < 0) {
      throw;
    }
    throw Error(error.code(),
                fmt::format("{} (step {} is kept in {}: the same command goes on from there)",
                            error.what(), last_checkpoint_, checkpoints_.folder().string()));
  }
}

RunOutcome TrainingRun::outcome(StopReason reason) {
  const TrainerState state = trainer_.state();
  RunOutcome outcome{.reason = reason,
                     .step = state.step,
                     .tokens = state.tokens,
                     .loss = state_.last_loss,
                     .validation_loss = state_.last_validation,
                     .refused_steps = state.refused_steps,
                     .rollbacks = state_.rollbacks,
                     .seconds = seconds_by_now()};
  if (state_.best) {
    outcome.best_validation_loss = state_.best->loss;
    outcome.best_step = state_.best->step;
  }
  return outcome;
}

bool TrainingRun::restore_best() {
  const std::optional<fs::path> best = checkpoints_.best();
  if (best) {
    restore_checkpoint(*best, [&](const CheckpointReader& reader) { restore_tensors(reader); });
  }
  return best.has_value();
}

}  // namespace fathom::train
