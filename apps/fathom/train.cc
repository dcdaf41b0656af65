// fathom train: pre-training, and training on from a checkpoint, as a settings file says.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/small_file.h"
#include "fathom/study/plan/flops.h"

#include "apps/fathom/input.h"
#include "apps/fathom/interrupt.h"
#include "apps/fathom/options.h"
#include "apps/fathom/train_line.h"
#include "apps/fathom/train_settings.h"

namespace fathom::app {
namespace {

constexpr const char* kExample =
    "fathom train --settings prints every setting with what it means; docs/training.md has an\n"
    "example. Ctrl-C ends the step, keeps everything, and the same command goes on from there; a\n"
    "second one stops at once.";

struct TrainCommand {
  std::string file;
  int num_threads = 0;
  bool is_check = false;
  bool shows_settings = false;
  bool accepts_changes = false;
  std::vector<std::string> assignments;
  bool json = false;
};

// Names what differs from the settings that a checkpoint was made with.
void check_settings(const formats::Settings& table,
                    const std::string& before,
                    const TrainCommand& options,
                    TrainLine& line) {
  std::string changes;
  for (const auto& change : table.changed_since(before, "settings of the checkpoint")) {
    changes += fmt::format("{}{}: {} before, {} now", changes.empty() ? "" : "; ", change.name,
                           change.before.empty() ? "not there" : change.before, change.now);
  }
  if (changes.empty()) {
    return;
  }
  if (!options.accepts_changes) {
    fail(ErrorCode::InvalidArgument, options.file,
         ": the run in this folder has other settings: ", changes,
         " (put them back, name another run.folder, or go on with them: --accept-changes)");
  }
  line.on_note("goes on with other settings: " + changes);
}

void add_facts(Report& report, const TrainFacts& facts) {
  report.add("parameters", facts.parameters);
  report.add("active_parameters", facts.active_parameters);
  report.add("trained_parameters", facts.trained_parameters);
  report.add("vocabulary", facts.vocabulary_size);
  report.add("data_vocabulary", facts.data_vocabulary_size);
  report.add("data_tokens", facts.data_tokens);
  report.add("validation_tokens", facts.validation_tokens);
  report.add("step_tokens", facts.step_tokens);
  report.add("total_tokens", facts.total_tokens);
  report.add("epochs", facts.epochs);
  report.add("memory_bytes", facts.memory_bytes);
  report.add("backend", facts.backend);
  report.add("threads", static_cast<std::int64_t>(facts.num_threads));
}

void add_outcome(Report& report, const Training::Result& result) {
  const train::RunOutcome& outcome = result.outcome;
  report.add("end", std::string(to_string(outcome.reason)));
  report.add("steps", outcome.step);
  report.add("tokens", outcome.tokens);
  report.add("loss", outcome.loss);
  if (outcome.validation_loss) {
    report.add("validation_loss", *outcome.validation_loss);
  }
  if (outcome.best_validation_loss) {
    report.add("best_validation_loss", *outcome.best_validation_loss);
    report.add("best_step", outcome.best_step);
  }
  report.add("refused_steps", outcome.refused_steps);
  report.add("rollbacks", outcome.rollbacks);
  report.add("model", result.model);
}

void train(const TrainCommand& options, InterruptWatch& interrupts) {
  TrainSettings settings;
  formats::Settings table = train_settings_table(settings);
  if (options.shows_settings) {
    print_out(table.explain());
    return;
  }
  if (options.file.empty()) {
    fail(ErrorCode::InvalidArgument,
         "train: no settings file (fathom train --settings prints one to begin with)");
  }
  table.read(read_input(options.file), options.file);
  for (const std::string& assignment : options.assignments) {
    table.set(assignment, "--set");
  }
  if (options.num_threads > 0) {
    settings.run.threads = options.num_threads;
  }
  const std::string dump = table.dump();
  Training training(settings, dump, options.is_check);
  Report report;
  if (options.is_check) {
    add_facts(report, training.facts());
    report.print(options.json);
    return;
  }
  TrainLine line({.num_steps = settings.schedule.steps,
                  .flop_per_token = plan::training_flop_per_token(
                      training.config(), training.facts().mean_piece_tokens),
                  .peak_flop_per_s = training.measure_peak_flop_per_s()});
  interrupts.set_answer(InterruptWatch::Answer::FlagFirst);
  const Training::Result result = training.run(
      line, [&] { return interrupts.is_interrupted(); },
      [&](const std::string& before) { check_settings(table, before, options, line); });
  line.finish();
  platform::write_file(std::filesystem::path(settings.run.folder) / "settings.toml", dump);
  if (result.outcome.reason == train::StopReason::Interrupted) {
    fail(ErrorCode::Interrupted, "interrupted after step ", result.outcome.step,
         "; nothing is lost: the same command goes on from there");
  }
  add_facts(report, training.facts());
  add_outcome(report, result);
  add_run_facts(report, result.outcome.seconds);
  report.print(options.json);
}

}  // namespace

Command add_train(CLI::App& program) {
  auto options = std::make_shared<TrainCommand>();
  CLI::App* command = program.add_subcommand(
      "train", "Train a model, new or from a checkpoint, as a settings file says");
  command->footer(kExample);
  command->add_option("file", options->file, "Settings (TOML)")->type_name("CONFIG.toml");
  command
      ->add_option("--set", options->assignments,
                   "A setting instead of what the file says; may be repeated")
      ->type_name("SECTION.KEY=VALUE");
  command->add_flag("--settings", options->shows_settings,
                    "Only print every setting with its default and what it means");
  command->add_flag("--check", options->is_check,
                    "Only say whether it would start, and what it would be");
  command->add_flag("--accept-changes", options->accepts_changes,
                    "Go on from checkpoints that were made with other settings");
  add_threads_option(*command, options->num_threads);
  add_json_option(*command, options->json);
  return {command, [options](InterruptWatch& interrupts) { train(*options, interrupts); }};
}

}  // namespace fathom::app
