// fathom bench: what this machine can do, and how much of that kernels and a model reach.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/clock.h"
#include "fathom/base/platform/mapped_file.h"
#include "fathom/base/platform/process_memory.h"
#include "fathom/compute/runtime/machine_profile.h"

#include "apps/fathom/bench_model.h"
#include "apps/fathom/bench_report.h"
#include "apps/fathom/interrupt.h"
#include "apps/fathom/options.h"
#include "apps/fathom/progress.h"

namespace fathom::app {
namespace {

using platform::Clock;
using platform::seconds_since;

// Less than this may stay in a cache, and would not say what memory does.
constexpr Index kSmallestMappedBytes = Index{1} << 28;
constexpr Index kLargestMappedBytes = Index{1} << 30;
constexpr int kMappedPasses = 5;

struct BenchCommand {
  RunOptions run;
  bench::Matrix matrix;
  Index repetitions = 3;
  bool is_probe_only = false;
  bool is_list = false;
  bool skips_kernels = false;
  bool is_apart = false;

  Beginnings beginnings() const { return is_apart ? Beginnings::Apart : Beginnings::Shared; }
};

ops::Numerics numerics_of(const BenchCommand& options) {
  const auto numerics = ops::numerics_from_name(options.run.numerics);
  if (!numerics) {
    fail(ErrorCode::InvalidArgument, "numerics: found \"", options.run.numerics,
         "\", expected high, official or fast");
  }
  return *numerics;
}

ModelOptions model_options(const BenchCommand& options) {
  ModelOptions model = options.run.model_options();
  model.raw_tokens = 0;  // no session goes back
  return model;
}

// Why an op's kernel is what it is.
std::string reason_of(std::string_view provider, const std::string& backend) {
  const bool is_cpu = provider.starts_with("cpu");
  if (!backend.starts_with("cpu")) {
    return "forced by --backend " + backend;
  }
  if (!is_cpu) {
    return "the cpu backend has no kernel for it";
  }
  return backend == "cpu" ? "the best instruction set of this machine"
                          : "forced by --backend " + backend;
}

void list_kernels(const BenchCommand& options) {
  runtime::Runtime runtime(
      {.num_threads = 1, .backend = options.run.backend, .numerics = numerics_of(options)});
  std::vector<ChosenKernel> chosen;
  const auto list = [&](const auto& table) {
    using Table = std::remove_cvref_t<decltype(table)>;
    Table::for_each(table, [&](std::string_view op, const auto& kernel) {
      chosen.push_back({std::string(op), std::string(kernel.provider),
                        reason_of(kernel.provider, options.run.backend)});
    });
  };
  ops::with_kernels(runtime.context(), [&](auto, const auto& kernels) {
    list(kernels);
    list(kernels.training);
  });
  print_out(options.run.json ? chosen_kernels_json(chosen) : chosen_kernels_table(chosen));
}

runtime::MachineProfile probe_machine(int num_threads, const runtime::ReadBuffer& buffer) {
  Index num_done = 0;
  Progress progress("machine", runtime::num_machine_figures(num_threads), "figures");
  return runtime::measure_machine(
      buffer, {.num_threads = num_threads, .on_measured = [&] { progress.update(++num_done); }});
}

// Brings the files into the page cache and says how fast the largest reads as it is mapped.
std::optional<double> read_mapped(const weights::Checkpoint& checkpoint,
                                  platform::ThreadPool& pool) {
  const std::optional<Index> available = platform::available_memory_bytes();
  const bool fits = !available || checkpoint.total_file_bytes() < *available;
  std::optional<double> rate;
  Progress progress("read", checkpoint.total_file_bytes(), "GB", 1e9);
  Index done = 0;
  std::size_t largest = 0;
  for (const std::filesystem::path& path : checkpoint.files()) {
    const platform::MappedFile file(path);
    const std::span<const std::byte> bytes = file.bytes();
    if (bytes.empty()) {
      continue;
    }
    if (fits) {
      runtime::measure_read(pool, bytes, 1);
      progress.update(done += to_index(bytes.size()));
    }
    if (bytes.size() > largest && to_index(bytes.size()) >= kSmallestMappedBytes) {
      largest = bytes.size();
      rate = runtime::measure_read(
                 pool, bytes.first(std::min(bytes.size(), to_size(kLargestMappedBytes))),
                 kMappedPasses)
                 .best;
    }
  }
  return rate;
}

std::vector<bench::KernelResult> bench_kernels(const BenchCommand& options,
                                               const OpenedModel& opened,
                                               const std::string& layout,
                                               const runtime::ReadBuffer& buffer) {
  runtime::Runtime runtime({.num_threads = options.run.num_threads,
                            .backend = options.run.backend,
                            .numerics = numerics_of(options)});
  if (layout == "panels") {
    opened.store->put_into_panels(
        runtime.pool(), [&](numeric::WeightFormat format) { return runtime.reads_panels(format); });
    opened.store->fill_panels();
  }
  Progress progress("kernels", 1, "shapes");
  return bench::measure_kernels(
      runtime, opened.config.model, *opened.store,
      {.limit = [&](bench::Bound bound) { return measure_bound(runtime.pool(), bound, buffer); },
       .progress =
           [&](Index done, Index total) {
             progress.set_total(total);
             progress.update(done);
           }});
}

// Weights that mean nothing, as far as the file says so: the name that fathom synth gives.
bool has_random_weights(const weights::Checkpoint& checkpoint) {
  if (checkpoint.container() != weights::Container::Gguf) {
    return false;
  }
  return checkpoint.gguf().find_string("general.name", checkpoint.files().front().string()) ==
         "random";
}

void count_experts(const BenchCommand& options, const bench::Plan& plan, ModelCosts& costs) {
  for (const bench::Cell& cell : plan.cells) {
    if (cell.batch > 1 && costs.has_experts() && !costs.bytes_per_token(cell.batch)) {
      costs.set_distinct_experts(
          cell.batch, count_distinct_experts(options.run.model, model_options(options),
                                             costs.num_layers(), cell.batch, options.beginnings()));
    }
  }
}

void bench_cells(const BenchCommand& options,
                 const bench::Plan& plan,
                 const runtime::ReadBuffer& buffer,
                 ModelBench& result) {
  platform::give_back_free_memory();
  const bool counts_anew = MemoryPeak::begin();
  if (!counts_anew) {
    std::fputs("fathom: this system does not reset the peak of memory: it includes the probes\n",
               stderr);
  }
  const auto start = Clock::now();
  std::shared_ptr<Model> model = Model::open(options.run.model, model_options(options));
  const TokenId first_token = 0;
  model->start().append({&first_token, 1});
  result.load_s = seconds_since(start);
  result.facts = model->facts();
  ModelSubject subject(std::move(model), *result.costs,
                       {.prefill_bound = result.prefill_bound,
                        .buffer = buffer,
                        .beginnings = options.beginnings()});
  subject.warm_up();
  constexpr double kPercentUnit = 100;
  Progress progress("model", Index{100} * Index{100}, "%", kPercentUnit);
  result.cells = bench::measure_cells(
      subject, plan.cells, options.repetitions, [&](const bench::Cell&, double done, double total) {
        progress.update(static_cast<Index>(done / total * 100 * kPercentUnit));
      });
  result.memory = subject.memory();
}

void run_bench(const BenchCommand& options, InterruptWatch& interrupts) {
  const ops::Numerics numerics = numerics_of(options);
  if (options.is_list) {
    list_kernels(options);
    return;
  }
  // Whatever is wrong with the request shows before anything is measured.
  const runtime::Runtime known_backend({.num_threads = 1, .backend = options.run.backend});
  std::optional<OpenedModel> opened;
  bench::Plan plan;
  if (!options.is_probe_only) {
    if (options.run.model.empty()) {
      fail(ErrorCode::InvalidArgument,
           "bench: MODEL is required, except with --probe-only or --list-kernels");
    }
    opened = open_model(options.run.model);
    check_numerics(opened->config.model.family, numerics);
    plan = bench::plan_cells(options.matrix, opened->config.model.max_context);
  }
  interrupts.set_farewell([] {
    constexpr std::string_view kFarewell = "fathom: what was measured so far is discarded\n";
    [[maybe_unused]] const ssize_t written =
        write(STDERR_FILENO, kFarewell.data(), kFarewell.size());
  });
  platform::ThreadPool pool({.num_threads = options.run.num_threads});
  const runtime::ReadBuffer buffer(pool, runtime::default_buffer_bytes());
  BenchResult result{.machine = probe_machine(pool.num_threads(), buffer), .model = {}};
  std::optional<ModelCosts> costs;
  if (opened) {
    costs.emplace(*opened);
    ModelBench& model = result.model.emplace();
    model.path = options.run.model;
    model.is_random = has_random_weights(*opened->checkpoint);
    model.file_bytes = opened->checkpoint->total_file_bytes();
    model.costs = &*costs;
    model.prefill_bound = bench::product_bound(numerics);
    model.skipped = plan.skipped;
    model.beginnings = options.beginnings();
    model.read_mapped_bytes_per_s = read_mapped(*opened->checkpoint, pool);
    opened.reset();  // its pages would count as memory of the model
    count_experts(options, plan, *costs);
    bench_cells(options, plan, buffer, model);
    if (!options.skips_kernels) {
      model.kernels =
          bench_kernels(options, open_model(options.run.model), model.facts.layout, buffer);
    }
  }
  print_out(options.run.json ? bench_json(result) : bench_tables(result));
}

void add_list(CLI::App& command,
              const std::string& name,
              std::vector<Index>& numbers,
              const std::string& help) {
  command.add_option(name, numbers, help)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str()
      ->type_name("N,..");
}

}  // namespace

Command add_bench(CLI::App& program) {
  auto options = std::make_shared<BenchCommand>();
  options->run.numerics = "fast";
  CLI::App* command = program.add_subcommand(
      "bench",
      "Measure this machine, the kernels and a model: how much of the limit is reached.\n"
      "What each figure means: docs/performance.md.");
  command->add_option("model", options->run.model, "Checkpoint: a folder, .safetensors or .gguf")
      ->type_name("MODEL");
  add_list(*command, "--prompt", options->matrix.prompts, "Prefill so many tokens");
  command->add_option("--decode", options->matrix.decode_tokens, "Steps of a decode run")
      ->capture_default_str()
      ->type_name("N");
  add_list(*command, "--context", options->matrix.contexts, "Decode behind so many tokens");
  add_list(*command, "--batch", options->matrix.batches, "Decode so many sequences together");
  command->add_option("--reps", options->repetitions, "Repetitions of every run; medians are shown")
      ->check(CLI::Range(Index{1}, Index{1000}))
      ->capture_default_str()
      ->type_name("N");
  add_backend_options(*command, options->run);
  command->add_flag("--probe-only", options->is_probe_only, "Measure the machine alone");
  command->add_flag("--list-kernels", options->is_list,
                    "Measure nothing: list what computes each op, and why");
  command->add_flag("--apart", options->is_apart,
                    "Sequences of a batch have no context in common (default: copies of one)");
  command->add_flag("--skip-kernels", options->skips_kernels, "No figures of single kernels");
  return {command, [options](InterruptWatch& interrupts) { run_bench(*options, interrupts); }};
}

}  // namespace fathom::app
