// fathom probe: measures this machine once and saves a profile that `fathom plan` predicts with.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>
#include <numeric>
#include <utility>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/clock.h"
#include "fathom/base/platform/process_memory.h"
#include "fathom/base/platform/small_file.h"
#include "fathom/compute/runtime/disk_profile.h"
#include "fathom/compute/runtime/machine_profile.h"
#include "fathom/study/bench/measure.h"
#include "fathom/study/plan/date.h"
#include "fathom/study/plan/fit.h"
#include "fathom/study/plan/speed_model.h"

#include "apps/fathom/interrupt.h"
#include "apps/fathom/machine_source.h"
#include "apps/fathom/options.h"
#include "apps/fathom/plan_report.h"
#include "apps/fathom/probe_models.h"
#include "apps/fathom/progress.h"

namespace fathom::app {
namespace {

namespace fs = std::filesystem;
using plan::FigureKind;
using Json = nlohmann::ordered_json;

struct ProbeCommand {
  std::string name = "this-machine";
  std::string out;
  std::string folder;
  int num_threads = 0;
  bool skips_disk = false;
  bool skips_models = false;
  bool json = false;
};

constexpr double kSecondsOfAll = 60;
constexpr int kPasses = 5;
constexpr Index kPeakIterations = Index{1} << 20;

// The processor as the system calls it.
std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "a processor that the system does not name";
}

double log_deviation(const std::vector<double>& values) {
  std::vector<double> logs;
  for (const double value : values) {
    logs.push_back(std::log(value));
  }
  const double count = static_cast<double>(logs.size());
  const double mean = std::accumulate(logs.begin(), logs.end(), 0.0) / count;
  double sum = 0;
  for (const double value : logs) {
    sum += (value - mean) * (value - mean);
  }
  return logs.size() < 2 ? 0 : std::sqrt(sum / (count - 1));
}

// What the limits were at several moments: memory of a shared machine is not always as fast.
struct Moments {
  std::vector<double> read;
  std::vector<double> cached;
  std::vector<double> barrier;
  std::vector<double> int8;
  std::vector<double> fp32;

  void measure(platform::ThreadPool& pool, const runtime::ReadBuffer& buffer) {
    const runtime::Moment now = runtime::measure_moment(pool, buffer, kPasses);
    read.push_back(now.read.mean);
    cached.push_back(now.cached_bytes_per_s);
    if (now.barrier_s) {
      barrier.push_back(*now.barrier_s);
    }
    const auto add = [&](std::vector<double>& values, runtime::Peak peak) {
      if (const auto rate = runtime::measure_peak(pool, peak, kPeakIterations, kPasses)) {
        values.push_back(rate->mean_per_s);
      }
    };
    add(int8, runtime::Peak::Int8);
    add(fp32, runtime::Peak::Fp32);
  }
};

class Probe {
 public:
  Probe(const ProbeCommand& options, InterruptWatch& interrupts)
      : options_(options),
        interrupts_(interrupts),
        pool_({.num_threads = options.num_threads}),
        buffer_(pool_, runtime::default_buffer_bytes()),
        models_(options.skips_models ? std::vector<ProbeModel>{} : probe_models()) {
    profile_.name = options.name;
    profile_.title = processor_name();
    const Index num_figures = runtime::num_machine_figures(pool_.num_threads());
    progress_.set_total(num_figures + 2 + (options.skips_disk ? 0 : kDiskFigures) +
                        2 * to_index(models_.size()));
  }

  plan::Machine measure() {
    measure_limits();
    measure_working_sets();
    if (!options_.skips_disk) {
      measure_disk();
    }
    for (const ProbeModel& model : models_) {
      records_.push_back(
          measure_probe_model(model, options_.folder, options_.num_threads, buffer_, interrupts_));
      step();
      moments_.measure(pool_, buffer_);
      step();
    }
    add_limits();
    if (!records_.empty()) {
      fit();
    }
    return std::move(profile_);
  }

 private:
  static constexpr Index kDiskFigures = 4;

  void step() { progress_.update(++num_done_); }

  void add(FigureKind kind, double value, double at = 0, double spread = 0) {
    profile_.figures.push_back({.kind = kind,
                                .value = value,
                                .at = at,
                                .spread = spread,
                                .basis = plan::Evidence::Measured,
                                .source = "fathom probe " FATHOM_VERSION,
                                .date = date_});
  }

  void measure_limits() {
    limits_ = runtime::measure_machine(buffer_, {.num_threads = pool_.num_threads(),
                                                 .num_passes = kPasses,
                                                 .loop_iterations = kPeakIterations,
                                                 .on_measured = [&] { step(); }});
    moments_.measure(pool_, buffer_);
    step();
  }

  void measure_working_sets() {
    for (const runtime::WorkingSetRate& rate :
         runtime::measure_working_sets(pool_, buffer_, kPasses)) {
      add(FigureKind::WorkingSetBytesPerS, rate.bytes_per_s, static_cast<double>(rate.num_bytes));
    }
    step();
  }

  void measure_disk() {
    const runtime::DiskProfile disk =
        runtime::measure_disk({.folder = options_.folder, .on_measured = [&] { step(); }});
    for (const runtime::DiskRate& rate : disk.reads) {
      add(FigureKind::DiskReadBytesPerS, rate.bytes_per_s, rate.queue_depth);
    }
  }

  // The middle of the moments is what a run meets; the best of them is in no plan.
  void add_limits() {
    // Working sets were measured at the first.
    add(FigureKind::ReadBytesPerS, moments_.read.front(), pool_.num_threads());
    profile_ = plan::at_moment(std::move(profile_),
                               {.read_bytes_per_s = bench::median(moments_.read),
                                .cached_bytes_per_s = bench::median(moments_.cached)});
    profile_.figures.back().spread = log_deviation(moments_.read);
    for (const runtime::ReadRate& rate : limits_.reads) {
      if (rate.num_threads < pool_.num_threads()) {
        add(FigureKind::ReadBytesPerS, rate.bytes_per_s, rate.num_threads);
      }
    }
    add(FigureKind::Threads, pool_.num_threads());
    if (const auto bytes = platform::total_memory_bytes()) {
      add(FigureKind::RamBytes, static_cast<double>(*bytes));
    }
    add_middle(FigureKind::Int8OpsPerS, moments_.int8);
    add_middle(FigureKind::Fp32OpsPerS, moments_.fp32);
    if (limits_.bf16) {
      add(FigureKind::Bf16OpsPerS, limits_.bf16->operations_per_s);
    }
    add_middle(FigureKind::BarrierS, moments_.barrier);
  }

  void add_middle(FigureKind kind, const std::vector<double>& moments) {
    if (!moments.empty()) {
      add(kind, bench::median(moments), 0, log_deviation(moments));
    }
  }

  void fit() {
    std::vector<plan::Observation> observations;
    for (const plan::BenchRecord& record : records_) {
      const plan::ModelWork work(record.config, record.storage);
      for (const plan::MeasuredCell& cell : record.cells) {
        const plan::CellWork took = plan::work_of_cell(work, cell);
        observations.push_back(
            {.model = record.name,
             .seconds_at_limits = plan::seconds_at_limits(at_moment(profile_, cell.meanwhile),
                                                          took.amounts, took.working_set_bytes),
             .seconds = took.seconds});
      }
    }
    const auto fitted = plan::fit_efficiencies(observations, plan::prior_efficiencies());
    for (std::size_t idx = 0; idx < plan::kNumWorks; ++idx) {
      add(FigureKind::Efficiency, fitted.efficiencies[idx], 0, fitted.spreads[idx]);
      profile_.figures.back().of = static_cast<plan::Work>(idx);
    }
    add(FigureKind::SpeedError, fitted.error);
  }

  const ProbeCommand& options_;
  InterruptWatch& interrupts_;
  platform::ThreadPool pool_;
  const runtime::ReadBuffer buffer_;
  std::vector<ProbeModel> models_;
  std::string date_ = plan::date_text(plan::now());
  Progress progress_{"probe", 0, "steps"};
  Index num_done_ = 0;
  plan::Machine profile_;
  runtime::MachineProfile limits_;
  Moments moments_;
  std::vector<plan::BenchRecord> records_;
};

void save(const std::string& text, const fs::path& path) {
  if (path.has_parent_path()) {
    fs::create_directories(path.parent_path());
  }
  platform::write_file(path, text);
}

void run_probe(ProbeCommand options, InterruptWatch& interrupts) {
  const fs::path out = options.out.empty() ? default_profile_path() : fs::path(options.out);
  if (options.folder.empty()) {
    options.folder = fs::temp_directory_path().string();
  }
  if (!fs::is_directory(options.folder)) {
    fail(ErrorCode::InvalidArgument, "--folder: found ", options.folder,
         ", expected a folder that exists");
  }
  const auto start = platform::Clock::now();
  const plan::Machine machine = Probe(options, interrupts).measure();
  const double seconds = platform::seconds_since(start);
  save("# Measured by fathom probe; docs/planning.md says what each figure is.\n" +
           plan::machine_toml(machine),
       out);
  if (seconds > kSecondsOfAll) {
    std::fprintf(stderr, "fathom: the probe took %.0f seconds: the machine was busy\n", seconds);
  }
  Json report = machine_json(machine);
  report["saved_as"] = out.string();
  report["seconds"] = seconds;
  print_out(options.json ? report.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"
                         : machine_text(machine) + fmt::format("\nsaved as {} after {:.0f} s\n",
                                                               out.string(), seconds));
}

}  // namespace

Command add_probe(CLI::App& program) {
  auto options = std::make_shared<ProbeCommand>();
  CLI::App* command = program.add_subcommand(
      "probe",
      "Measure this machine in at most a minute and save a profile for fathom plan.\n"
      "Example: fathom probe && fathom plan v4-flash\n"
      "What each figure means: docs/planning.md.");
  command->add_option("--name", options->name, "Of the machine in the profile")
      ->capture_default_str()
      ->type_name("NAME");
  command
      ->add_option("--out", options->out,
                   "The profile (default: fathom/machine.toml in $XDG_DATA_HOME or ~/.local/share)")
      ->type_name("FILE.toml");
  command
      ->add_option("--folder", options->folder,
                   "Where models are kept: its disk is measured, 2 GB are written and removed "
                   "again (default: the system's folder for temporary files)")
      ->type_name("DIR");
  add_threads_option(*command, options->num_threads);
  command->add_flag("--skip-disk", options->skips_disk, "Do not measure the disk");
  command->add_flag("--skip-models", options->skips_models,
                    "Measure the limits alone, not how much of them models reach");
  add_json_option(*command, options->json);
  return {command, [options](InterruptWatch& interrupts) { run_probe(*options, interrupts); }};
}

}  // namespace fathom::app
