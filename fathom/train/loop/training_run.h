// A run in its folder: steps until it is done, with validation, checkpoints, rollbacks and metrics.
//
//   metrics.jsonl       what happened (loop/metrics.h)
//   report.html         the same as plots
//   checkpoints/        what it goes on from (loop/checkpoint_folder.h)
//
// A run that was killed anywhere goes on from its last checkpoint and gets to the same bits as one
// that never was.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fathom/base/platform/file_lock.h"
#include "fathom/base/platform/log_file.h"
#include "fathom/train/loop/checkpoint_folder.h"
#include "fathom/train/loop/metrics.h"
#include "fathom/train/loop/run_state.h"
#include "fathom/train/loop/trainer.h"
#include "fathom/train/optim/ema.h"

namespace fathom::train {

struct RunOptions {
  std::filesystem::path folder;
  Index num_steps = 0;             // updates
  double max_seconds = 0;          // of the run, over all its starts; 0: no limit
  Index checkpoint_every = 100;    // steps
  Index keep_checkpoints = 2;      // regular ones
  Index validate_every = 0;        // steps; 0: never
  Index validation_batches = 16;   // each time the same
  Index patience = 0;              // validations without a better one until it stops; 0: never
  Index expert_shares_every = 10;  // steps: how often the metrics list experts' shares
  // What results depend on, as TOML; a checkpoint of other settings is not gone on from.
  std::string settings;
};

enum class StopReason { Done, TimeIsUp, NoProgress, Interrupted };
std::string_view to_string(StopReason reason);

struct RunOutcome {
  StopReason reason = StopReason::Done;
  Index step = 0;
  Index tokens = 0;
  double loss = 0;  // of the last update
  std::optional<double> validation_loss = {};
  std::optional<double> best_validation_loss = {};
  Index best_step = 0;
  Index refused_steps = 0;
  Index rollbacks = 0;
  double seconds = 0;
};

// Told what happens, from the thread that trains. Nothing that it does changes results.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void on_resume(Index, const std::string&) {}  // step, and from where
  virtual void on_step(const StepResult&, const TrainerState&, const RunTime&) {}
  virtual void on_refused(const StepResult&) {}
  virtual void on_rollback(Index, Index) {}                      // from step, to step
  virtual void on_validation(Index, const Validation&, bool) {}  // step, is it the best
  virtual void on_checkpoint(Index, const std::filesystem::path&) {}
  virtual void on_note(const std::string&) {}
};

struct RunParts {
  TrainerParts trainer;
  data::BatchSource* validation = nullptr;  // from its beginning each time; null: none
  optim::WeightAverage* average = nullptr;  // of the parameters; null: none
  RunObserver& observer;
  std::function<double()> seconds;  // a clock that only goes forward
  std::function<bool()> is_stop_wanted = [] { return false; };
};

class TrainingRun {
 public:
  // Locks the folder. Throws Io, also where another process trains in it; InvalidArgument.
  TrainingRun(const RunParts& parts, const TrainerOptions& trainer, const RunOptions& options);

  // Before run(): puts everything back to the newest checkpoint that is whole; false where there is
  // none. `accept` is asked with the settings of the checkpoint and refuses by throwing. Throws
  // InvalidCheckpoint where all are damaged.
  using Accept = std::function<void(const std::string& settings)>;
  bool resume(const Accept& accept);

  // Trains until something stops it. Throws what step and files throw, with what it can be gone on
  // from in the message.
  RunOutcome run();

  // After run(), for what is exported: the parameters of the best validation. False: there is none.
  bool restore_best();

 private:
  std::optional<StopReason> reason_to_stop() const;
  void step();
  void refuse(const StepResult& result);
  void roll_back(const StepResult& result);
  void validate();
  bool is_due(Index every) const;
  void save(CheckpointKind kind);
  CheckpointFacts facts();
  std::vector<optim::StateTensor> tensors();
  void restore_tensors(const CheckpointReader& reader);
  double seconds_by_now() const;
  void write_line(const std::string& line);
  void write_report();
  RunOutcome outcome(StopReason reason);

  RunParts parts_;
  RunOptions options_;
  platform::FileLock lock_;
  CheckpointFolder checkpoints_;
  std::optional<platform::LogFile> metrics_;
  Trainer trainer_;
  RunState state_;
  std::string validation_start_;  // state of its source
  Index last_checkpoint_ = -1;    // its step
  double seconds_before_ = 0;     // of earlier starts
  double started_at_ = 0;
};

}  // namespace fathom::train
