// fathom synth: a checkpoint with random weights, of a preset or of any config.
#include "fathom/model/weights/synth.h"

#include <cstdint>
#include <filesystem>
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/clock.h"
#include "fathom/base/platform/thread_pool.h"
#include "fathom/model/config/footprint.h"
#include "fathom/model/weights/synth_presets.h"

#include "apps/fathom/interrupt.h"
#include "apps/fathom/model_source.h"
#include "apps/fathom/options.h"
#include "apps/fathom/progress.h"

namespace fathom::app {
namespace {

struct SynthCommand {
  std::string preset;
  std::string config;
  std::string out;
  std::string storage;
  std::uint64_t seed = weights::SynthOptions{}.seed;
  bool overwrite = false;
  int num_threads = 0;
  bool json = false;
};

std::string preset_names() {
  std::string names;
  for (const std::string_view name : weights::synth_preset_names()) {
    names += (names.empty() ? "" : "|") + std::string(name);
  }
  return names;
}

// The config to fill and how to store it.
weights::SynthPreset wanted_model(const SynthCommand& options) {
  if (options.preset.empty()) {
    config::ParsedConfig parsed = read_config_source(options.config);
    const config::StoragePlan storage = storage_of(parsed, options.storage, options.config);
    return {std::move(parsed.model), storage};
  }
  std::optional<weights::SynthPreset> preset = weights::find_synth_preset(options.preset);
  if (!preset) {
    fail(ErrorCode::InvalidArgument, "--preset: found \"", options.preset, "\", expected ",
         preset_names());
  }
  if (!options.storage.empty()) {
    preset->storage = config::storage_plan_from_name(options.storage);
  }
  return *std::move(preset);
}

// Bytes of the written file or of the files in the written folder.
Index bytes_on_disk(const std::filesystem::path& out) {
  if (!std::filesystem::is_directory(out)) {
    return to_index(std::filesystem::file_size(out));
  }
  Index bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(out)) {
    bytes += entry.is_regular_file() ? to_index(entry.file_size()) : 0;
  }
  return bytes;
}

void run_synth(const SynthCommand& options, InterruptWatch& interrupts) {
  const weights::SynthPreset model = wanted_model(options);
  platform::ThreadPool pool({.num_threads = options.num_threads});
  const auto start = platform::Clock::now();
  // The writer asks often and removes what it began.
  interrupts.set_answer(InterruptWatch::Answer::FlagBoth);
  {
    constexpr double kGigabyte = 1e9;
    Progress progress("write", 0, "GB", kGigabyte);
    const auto tell = [&](Index done_bytes, Index total_bytes) {
      progress.set_total(total_bytes);
      progress.update(done_bytes);
      return !interrupts.is_interrupted();
    };
    weights::write_synthetic(
        model.config, model.storage, names_of(model.config.family), options.out,
        {.seed = options.seed, .overwrite = options.overwrite, .progress = tell}, pool);
  }
  const double seconds = platform::seconds_since(start);

  Report report;
  report.add("out", options.out);
  report.add("source", options.preset.empty() ? options.config : options.preset);
  report.add("seed", options.seed);
  report.add("parameters", config::count_parameters(model.config).total);
  report.add("file_bytes", bytes_on_disk(options.out));
  add_run_facts(report, seconds);
  report.print(options.json);
}

}  // namespace

Command add_synth(CLI::App& program) {
  auto options = std::make_shared<SynthCommand>();
  CLI::App* command = program.add_subcommand(
      "synth", "Write a checkpoint with random weights: same seed, same bytes");
  CLI::Option_group* source = command->add_option_group("source");
  source->add_option("--preset", options->preset, "A model of known shape")
      ->type_name(preset_names());
  source->add_option("--config", options->config, "A config.json, v4-flash or v4-pro")
      ->type_name("FILE");
  source->require_option(1);
  command->add_option("--out", options->out, "A folder (official layout), or a file named .gguf")
      ->required()
      ->type_name("DIR|FILE.gguf");
  command->add_option("--seed", options->seed, "Of the random numbers")
      ->capture_default_str()
      ->type_name("N");
  command->add_option("--storage", options->storage, "Instead of what preset or config say")
      ->type_name("fp4|fp8|bf16|f32");
  command->add_flag("--overwrite", options->overwrite, "Replace an older checkpoint");
  add_threads_option(*command, options->num_threads);
  add_json_option(*command, options->json);
  return {command, [options](InterruptWatch& interrupts) { run_synth(*options, interrupts); }};
}

}  // namespace fathom::app
