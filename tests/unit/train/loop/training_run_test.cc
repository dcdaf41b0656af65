#include "fathom/train/loop/training_run.h"

#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/train/loop/fake_training.h"

namespace fathom::train {
namespace {

using fathom::test::read_file;
using fathom::test::TempDir;
using fathom::test::write_file;
using fathom::testing::fails_with;
using testing::FakeTraining;
using testing::fast_folder;

class Recorder final : public RunObserver {
 public:
  void on_resume(Index step, const std::string&) override { resumed = step; }
  void on_refused(const StepResult&) override { ++refused; }
  void on_rollback(Index from, Index to) override { rollbacks.emplace_back(from, to); }
  void on_validation(Index step, const Validation&, bool is_best) override {
    validations.push_back(step);
    best = is_best ? step : best;
  }
  void on_note(const std::string& note) override { notes.push_back(note); }
  Index resumed = -1;
  Index refused = 0;
  std::vector<std::pair<Index, Index>> rollbacks;
  std::vector<Index> validations;
  Index best = -1;
  std::vector<std::string> notes;
};

// A run of the fake problem in a folder; `stop_after` steps it is interrupted (0: never).
struct FakeRun {
  explicit FakeRun(const std::filesystem::path& folder) {
    options.folder = folder;
    options.num_steps = 50;
    options.checkpoint_every = 10;
    options.settings = "[schedule]\nsteps = 50\n";
    average.emplace(std::vector<optim::Parameter>(fake.optimizer->parameters().begin(),
                                                  fake.optimizer->parameters().end()),
                    0.9);
  }

  RunParts parts() {
    return {.trainer = fake.parts(),
            .validation = options.validate_every > 0 ? &validation : nullptr,
            .average = &*average,
            .observer = recorder,
            .seconds = [this] { return seconds += 0.25; },
            .is_stop_wanted = [this] { return stop_at > 0 && fake.source.num_read() >= stop_at; }};
  }

  RunOutcome run() {
    TrainingRun run(parts(), trainer, options);
    run.resume([](const std::string&) {});
    const RunOutcome outcome = run.run();
    is_best_there = run.restore_best();
    return outcome;
  }

  FakeTraining fake;
  std::optional<optim::WeightAverage> average;
  testing::CountingSource validation{5};
  Recorder recorder;
  RunOptions options;
  TrainerOptions trainer;
  double seconds = 0;
  Index stop_at = 0;
  bool is_best_there = false;
};

std::vector<float> averages_of(FakeRun& run) {
  const auto values = run.average->state().front().values;
  return {values.begin(), values.end()};
}

Index count_lines(const std::filesystem::path& file, const std::string& part) {
  std::ifstream stream(file);
  Index count = 0;
  for (std::string line; std::getline(stream, line);) {
    count += line.find(part) != std::string::npos ? 1 : 0;
  }
  return count;
}

TEST(TrainingRun, RunsToItsEndAndLeavesMetricsReportAndCheckpoints) {
  const TempDir dir{fast_folder()};
  FakeRun run(dir / "run");
  const RunOutcome outcome = run.run();
  EXPECT_EQ(outcome.reason, StopReason::Done);
  EXPECT_EQ(outcome.step, 50);
  EXPECT_EQ(outcome.tokens, 200);
  EXPECT_EQ(count_lines(dir / "run/metrics.jsonl", "\"event\":\"step\""), 50);
  EXPECT_EQ(count_lines(dir / "run/metrics.jsonl", "expert_shares"), 5);
  EXPECT_TRUE(std::filesystem::exists(dir / "run/report.html"));
  EXPECT_TRUE(std::filesystem::exists(dir / "run/checkpoints/step-000000050.safetensors"));
  EXPECT_TRUE(std::filesystem::exists(dir / "run/checkpoints/step-000000040.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(dir / "run/checkpoints/step-000000030.safetensors"));
}

TEST(TrainingRun, StoppedAnywhereAndGoneOnWithItHasTheSameBits) {
  const TempDir dir{fast_folder()};
  FakeRun whole(dir / "whole");
  whole.options.validate_every = 7;
  whole.run();
  for (const Index stop_at : {1, 9, 10, 11, 25, 49}) {
    const auto folder = dir / ("run-" + std::to_string(stop_at));
    FakeRun first(folder);
    first.options.validate_every = 7;
    first.stop_at = stop_at;
    EXPECT_EQ(first.run().reason, StopReason::Interrupted);
    FakeRun second(folder);
    second.options.validate_every = 7;
    EXPECT_EQ(second.run().reason, StopReason::Done);
    EXPECT_EQ(second.recorder.resumed, stop_at);
    // restore_best() put the best parameters in place: the same ones too.
    EXPECT_EQ(second.fake.model.values, whole.fake.model.values) << stop_at;
    EXPECT_EQ(second.fake.model.bias, whole.fake.model.bias) << stop_at;
    EXPECT_EQ(averages_of(second), averages_of(whole)) << stop_at;
    EXPECT_EQ(count_lines(folder / "metrics.jsonl", "\"event\":\"step\""), 50) << stop_at;
    EXPECT_EQ(count_lines(folder / "metrics.jsonl", "\"event\":\"validation\""), 7) << stop_at;
  }
}

// A killed process leaves its last checkpoint and lines of metrics behind it.
TEST(TrainingRun, KilledBetweenCheckpointsItRepeatsWhatWasLost) {
  const TempDir dir{fast_folder()};
  FakeRun whole(dir / "whole");
  whole.run();
  FakeRun first(dir / "run");
  first.fake.source.fail_at = 27;
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         "shard 3: record 5: checksum (step 20 is kept in ", [&] { first.run(); }));
  EXPECT_EQ(count_lines(dir / "run/metrics.jsonl", "\"event\":\"step\""), 27);
  FakeRun second(dir / "run");
  EXPECT_EQ(second.run().step, 50);
  EXPECT_EQ(second.recorder.resumed, 20);
  EXPECT_EQ(second.fake.model.values, whole.fake.model.values);
  EXPECT_EQ(count_lines(dir / "run/metrics.jsonl", "\"event\":\"step\""), 50);
}

TEST(TrainingRun, ADamagedCheckpointIsSaidAndTheOneBeforeGoneOnFrom) {
  const TempDir dir{fast_folder()};
  FakeRun whole(dir / "whole");
  whole.run();
  FakeRun first(dir / "run");
  first.stop_at = 30;
  first.run();
  const auto newest = dir / "run/checkpoints/step-000000030.safetensors";
  write_file(newest, read_file(newest).substr(0, 900));
  FakeRun second(dir / "run");
  second.run();
  EXPECT_EQ(second.recorder.resumed, 20);
  EXPECT_EQ(second.recorder.notes.size(), 1U);
  EXPECT_EQ(second.fake.model.values, whole.fake.model.values);
}

TEST(TrainingRun, SettingsAreAskedForBeforeAnythingIsPutBack) {
  const TempDir dir{fast_folder()};
  FakeRun first(dir / "run");
  first.stop_at = 20;
  first.run();
  FakeRun second(dir / "run");
  const std::vector<float> before = second.fake.model.values;
  TrainingRun run(second.parts(), second.trainer, second.options);
  std::string asked;
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "other settings", [&] {
    run.resume([&](const std::string& settings) {
      asked = settings;
      fail(ErrorCode::InvalidArgument, "other settings");
    });
  }));
  EXPECT_EQ(asked, first.options.settings);
  EXPECT_EQ(second.fake.model.values, before);
}

TEST(TrainingRun, BadDataIsLeftOutAndBadStateGoesBackToACheckpoint) {
  const TempDir dir{fast_folder()};
  FakeRun run(dir / "run");
  run.fake.source.set_bad(24, 29);  // 3 in a row: back to step 20; two more: left out
  const RunOutcome outcome = run.run();
  EXPECT_EQ(outcome.step, 50);
  EXPECT_EQ(outcome.refused_steps, 5);
  EXPECT_EQ(outcome.rollbacks, 1);
  ASSERT_EQ(run.recorder.rollbacks.size(), 1U);
  EXPECT_EQ(run.recorder.rollbacks[0], (std::pair<Index, Index>(24, 20)));
  EXPECT_EQ(outcome.tokens, 4 * (50 + 4 + 5)) << "steps 21 to 24 twice, and five refused";
  EXPECT_EQ(count_lines(dir / "run/metrics.jsonl", "\"event\":\"refused\""), 5);
  EXPECT_EQ(count_lines(dir / "run/metrics.jsonl", "\"event\":\"rollback\""), 1);
}

TEST(TrainingRun, ARollbackInterruptedAnywhereHasTheSameBits) {
  const TempDir dir{fast_folder()};
  // Spikes, which only the window of losses before them tells.
  const auto prepare = [](FakeRun& run) {
    run.fake.source.set_bad(24, 29);
    run.fake.objective.bad_loss = 1e6;
  };
  FakeRun whole(dir / "whole");
  prepare(whole);
  whole.run();
  for (const Index stop_at : {23, 25, 27, 28, 30, 33, 40}) {
    const auto folder = dir / ("run-" + std::to_string(stop_at));
    FakeRun first(folder);
    prepare(first);
    first.stop_at = stop_at;
    first.run();
    FakeRun second(folder);
    prepare(second);
    const RunOutcome outcome = second.run();
    EXPECT_EQ(outcome.refused_steps, 5) << stop_at;
    EXPECT_EQ(second.fake.model.values, whole.fake.model.values) << stop_at;
    EXPECT_EQ(averages_of(second), averages_of(whole)) << stop_at;
  }
}

TEST(TrainingRun, AStateThatStaysBadIsAnErrorAfterSomeRollbacks) {
  const TempDir dir{fast_folder()};
  FakeRun run(dir / "run");
  run.fake.source.set_bad(24, 1'000'000);
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "training does not get beyond step 2",
                         [&] { run.run(); }));
  EXPECT_EQ(run.recorder.rollbacks.size(), 3U);
  EXPECT_EQ(run.recorder.refused, 12);
}

TEST(TrainingRun, ValidationFindsTheBestAndEndsARunThatGetsNoBetter) {
  const TempDir dir{fast_folder()};
  FakeRun run(dir / "run");
  run.options.num_steps = 100'000;
  run.options.checkpoint_every = 1000;
  run.options.validate_every = 5;
  run.options.validation_batches = 5;
  run.options.patience = 4;
  const RunOutcome outcome = run.run();
  EXPECT_EQ(outcome.reason, StopReason::NoProgress);
  EXPECT_LT(outcome.step, 100'000);
  EXPECT_EQ(outcome.best_step, outcome.step - 20);
  EXPECT_EQ(run.recorder.best, outcome.best_step);
  EXPECT_TRUE(run.is_best_there);
  // The parameters are the best's: validating them says so.
  Trainer trainer(run.fake.parts(), {});
  testing::CountingSource source{5};
  EXPECT_EQ(trainer.validate(source, 5).loss, *outcome.best_validation_loss);
}

TEST(TrainingRun, TimeEndsARunOverAllItsStarts) {
  const TempDir dir{fast_folder()};
  FakeRun first(dir / "run");
  first.options.max_seconds = 30;
  first.stop_at = 10;
  first.run();
  FakeRun second(dir / "run");
  second.options.max_seconds = 30;
  const RunOutcome outcome = second.run();
  EXPECT_EQ(outcome.reason, StopReason::TimeIsUp);
  EXPECT_GT(outcome.step, 10);
  EXPECT_LT(outcome.step, 50);
  EXPECT_GE(outcome.seconds, 30);
}

TEST(TrainingRun, AFinishedRunIsFinished) {
  const TempDir dir{fast_folder()};
  FakeRun(dir / "run").run();
  FakeRun again(dir / "run");
  EXPECT_EQ(again.run().reason, StopReason::Done);
  EXPECT_EQ(again.fake.source.num_read(), 50);
}

TEST(TrainingRun, OneProcessAtATimeUsesAFolder) {
  const TempDir dir{fast_folder()};
  FakeRun first(dir / "run");
  const TrainingRun run(first.parts(), first.trainer, first.options);
  FakeRun second(dir / "run");
  EXPECT_TRUE(fails_with(ErrorCode::Io, "another process is training in this folder",
                         [&] { second.run(); }));
}

}  // namespace
}  // namespace fathom::train
