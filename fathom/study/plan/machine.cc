#include "fathom/study/plan/machine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <set>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/formats/toml_table.h"
#include "fathom/study/plan/date.h"

namespace fathom::embedded {
std::string_view machines_toml();
}

namespace fathom::plan {
namespace {

using formats::TomlTable;

struct KindRow {
  FigureKind kind;
  std::string_view name;
  std::string_view at_unit;  // empty: the figure depends on nothing
  double smallest;
  double largest;
};

constexpr double kMost = 1e18;
// An efficiency above one is possible: a cache gives more than the limit that it is compared with.
constexpr auto kKinds = std::to_array<KindRow>({
    {FigureKind::Threads, "threads", "", 1, 1e6},
    {FigureKind::RamBytes, "ram_bytes", "", 1, kMost},
    {FigureKind::ReadBytesPerS, "read_bytes_per_s", "threads", 1, kMost},
    {FigureKind::WorkingSetBytesPerS, "working_set_bytes_per_s", "bytes", 1, kMost},
    {FigureKind::Int8OpsPerS, "int8_ops_per_s", "", 1, kMost},
    {FigureKind::Bf16OpsPerS, "bf16_ops_per_s", "", 1, kMost},
    {FigureKind::Fp32OpsPerS, "fp32_ops_per_s", "", 1, kMost},
    {FigureKind::BarrierS, "barrier_s", "", 1e-12, 1},
    {FigureKind::DiskReadBytesPerS, "disk_read_bytes_per_s", "queue_depth", 1, kMost},
    {FigureKind::Accelerators, "accelerators", "", 1, 1e6},
    {FigureKind::AcceleratorMemoryBytes, "accelerator_memory_bytes", "", 1, kMost},
    {FigureKind::AcceleratorBytesPerS, "accelerator_bytes_per_s", "", 1, kMost},
    {FigureKind::IdleWatts, "idle_watts", "", 1e-3, 1e9},
    {FigureKind::LoadWatts, "load_watts", "", 1e-3, 1e9},
    {FigureKind::Efficiency, "efficiency", "", 1e-9, 1e6},
    {FigureKind::SpeedError, "speed_error", "", 1e-6, 10},
});

constexpr std::array<Evidence, 3> kBases = {Evidence::Measured, Evidence::Vendor,
                                            Evidence::Estimated};

const KindRow& row_of(FigureKind kind) {
  return *std::find_if(kKinds.begin(), kKinds.end(),
                       [&](const KindRow& row) { return row.kind == kind; });
}

constexpr std::string_view kProbeAgain =
    "; fathom probe makes a new profile in place of an older version's";

const KindRow& kind_from(const TomlTable& table) {
  const std::string name = table.text("what");
  for (const KindRow& row : kKinds) {
    if (row.name == name) {
      return row;
    }
  }
  table.refuse("what", fmt::format("found {}, expected a figure of docs/planning.md{}",
                                   formats::quote(name), kProbeAgain));
}

Evidence basis_from(const TomlTable& table) {
  const std::string name = table.text("basis");
  for (const Evidence basis : kBases) {
    if (to_string(basis) == name) {
      return basis;
    }
  }
  table.refuse("basis",
               "found " + formats::quote(name) + ", expected measured, vendor or estimated");
}

double number_in(const TomlTable& table, std::string_view key, double smallest, double largest) {
  const double value = table.number(key);
  if (!(value >= smallest && value <= largest)) {
    table.refuse(key, fmt::format("found {}, expected {} to {}", value, smallest, largest));
  }
  return value;
}

std::string filled_text(const TomlTable& table, std::string_view key) {
  std::string text = table.text(key);
  if (text.empty()) {
    table.refuse(key, "found nothing, expected text");
  }
  return text;
}

Figure read_figure(const TomlTable& table) {
  const KindRow& row = kind_from(table);
  Figure figure{.kind = row.kind,
                .value = number_in(table, "value", row.smallest, row.largest),
                .basis = basis_from(table),
                .source = filled_text(table, "source"),
                .date = date_text(table.time("date"))};
  if (!row.at_unit.empty()) {
    figure.at = number_in(table, row.at_unit, 1, kMost);
  }
  if (row.kind == FigureKind::Efficiency) {
    const std::string name = table.text("of");
    figure.of = find_work(name);
    if (!figure.of) {
      table.refuse("of", fmt::format("found {}, which is no kind of work{}", formats::quote(name),
                                     kProbeAgain));
    }
  }
  if (table.is_number("spread")) {
    figure.spread = number_in(table, "spread", 0, 10);
  }
  table.refuse_unread();
  return figure;
}

bool is_before(const Figure& a, const Figure& b) {
  return std::tuple(a.kind, a.of, a.at) < std::tuple(b.kind, b.of, b.at);
}

Machine read_machine(const TomlTable& table) {
  Machine machine{
      .name = filled_text(table, "name"), .title = filled_text(table, "title"), .figures = {}};
  for (const TomlTable& entry : table.tables("figure")) {
    const Figure figure = read_figure(entry);
    for (const Figure& other : machine.figures) {
      if (!is_before(figure, other) && !is_before(other, figure)) {
        entry.refuse("what", "the machine has this figure already");
      }
    }
    machine.figures.push_back(figure);
  }
  std::sort(machine.figures.begin(), machine.figures.end(), is_before);
  table.refuse_unread();
  return machine;
}

std::string quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    if (code < 0x20 || code == 0x7F) {
      quoted += fmt::format("\\u{:04X}", code);
    } else {
      quoted += letter == '"' || letter == '\\' ? std::string{'\\', letter} : std::string{letter};
    }
  }
  return quoted + "\"";
}

// The shortest text that is read back as the same number.
std::string number_text(double value) {
  return fmt::format("{}", value);
}

}  // namespace

std::string_view to_string(Evidence basis) {
  switch (basis) {
    case Evidence::Measured:
      return "measured";
    case Evidence::Vendor:
      return "vendor";
    case Evidence::Estimated:
      return "estimated";
  }
  return "";
}

std::string_view to_string(FigureKind kind) {
  return row_of(kind).name;
}

const Figure* Machine::find(FigureKind kind) const {
  const Figure* found = nullptr;
  for (const Figure& figure : figures) {
    if (figure.kind == kind && (found == nullptr || figure.at >= found->at)) {
      found = &figure;
    }
  }
  return found;
}

std::optional<double> Machine::value(FigureKind kind) const {
  const Figure* figure = find(kind);
  return figure == nullptr ? std::nullopt : std::optional(figure->value);
}

const Figure* Machine::efficiency(Work work) const {
  const auto found = std::find_if(figures.begin(), figures.end(), [&](const Figure& figure) {
    return figure.kind == FigureKind::Efficiency && figure.of == work;
  });
  return found == figures.end() ? nullptr : &*found;
}

bool Machine::has_efficiencies() const {
  return find(FigureKind::Efficiency) != nullptr;
}

std::optional<double> Machine::read_bytes_per_s(double working_set_bytes) const {
  const Figure* below = nullptr;
  for (const Figure& figure : figures) {
    if (figure.kind != FigureKind::WorkingSetBytesPerS) {
      continue;
    }
    if (figure.at >= working_set_bytes) {
      if (below == nullptr) {
        return figure.value;
      }
      const double share =
          std::log(working_set_bytes / below->at) / std::log(figure.at / below->at);
      return below->value * std::pow(figure.value / below->value, share);
    }
    below = &figure;
  }
  if (const Figure* memory = find(FigureKind::ReadBytesPerS)) {
    return memory->value;
  }
  return below == nullptr ? std::nullopt : std::optional(below->value);
}

Machine at_moment(Machine machine, const Moment& moment) {
  const auto share_of = [](double now, std::optional<double> figure) {
    return now > 0 && figure ? std::optional(now / *figure) : std::nullopt;
  };
  const std::optional<double> memory = machine.value(FigureKind::ReadBytesPerS);
  const std::optional<double> cached = machine.read_bytes_per_s(0);
  const double memory_share = share_of(moment.read_bytes_per_s, memory).value_or(1);
  const double cached_share = share_of(moment.cached_bytes_per_s, cached).value_or(memory_share);
  // Between memory and the caches, as far as a working set lies between them.
  const auto share_at = [&](double rate) {
    const bool is_between = memory && cached && *cached > *memory;
    const double depth =
        is_between ? std::clamp(std::log(rate / *memory) / std::log(*cached / *memory), 0.0, 1.0)
                   : 0;
    return std::pow(memory_share, 1 - depth) * std::pow(cached_share, depth);
  };
  for (Figure& figure : machine.figures) {
    switch (figure.kind) {
      case FigureKind::ReadBytesPerS:
        figure.value *= memory_share;
        break;
      case FigureKind::WorkingSetBytesPerS:
        figure.value *= share_at(figure.value);
        break;
      case FigureKind::Int8OpsPerS:
      case FigureKind::Bf16OpsPerS:
      case FigureKind::Fp32OpsPerS:
        figure.value *= cached_share;
        break;
      case FigureKind::BarrierS:
        figure.value = moment.barrier_s > 0 ? moment.barrier_s : figure.value / memory_share;
        break;
      default:
        continue;
    }
    figure.spread = 0;
  }
  return machine;
}

std::vector<Machine> parse_machines(std::string_view text, const std::string& file) {
  const TomlTable root = TomlTable::parse(text, file);
  std::vector<Machine> machines;
  std::set<std::string> names;
  for (const TomlTable& table : root.tables("machine")) {
    machines.push_back(read_machine(table));
    if (!names.insert(machines.back().name).second) {
      table.refuse("name", formats::quote(machines.back().name) + " is there twice");
    }
  }
  root.refuse_unread();
  if (machines.empty()) {
    fail(ErrorCode::InvalidArgument, file, ": found no [[machine]], expected at least one");
  }
  return machines;
}

std::string machine_toml(const Machine& machine) {
  std::string text = fmt::format("[[machine]]\nname = {}\ntitle = {}\n", quoted(machine.name),
                                 quoted(machine.title));
  for (const Figure& figure : machine.figures) {
    const KindRow& row = row_of(figure.kind);
    text += fmt::format("\n[[machine.figure]]\nwhat = \"{}\"\n", row.name);
    if (figure.of) {
      text += fmt::format("of = \"{}\"\n", to_string(*figure.of));
    }
    if (!row.at_unit.empty()) {
      text += fmt::format("{} = {}\n", row.at_unit, number_text(figure.at));
    }
    text += fmt::format("value = {}\n", number_text(figure.value));
    if (figure.spread > 0) {
      text += fmt::format("spread = {}\n", number_text(figure.spread));
    }
    text += fmt::format("basis = \"{}\"\nsource = {}\ndate = {}\n", to_string(figure.basis),
                        quoted(figure.source), figure.date);
  }
  return text;
}

const std::vector<Machine>& known_machines() {
  static const std::vector<Machine> kMachines =
      parse_machines(embedded::machines_toml(), "data/machines.toml");
  return kMachines;
}

const Machine& find_machine(const std::string& name) {
  std::string names;
  for (const Machine& machine : known_machines()) {
    if (machine.name == name) {
      return machine;
    }
    names += (names.empty() ? "" : ", ") + machine.name;
  }
  fail(ErrorCode::InvalidArgument, "--machine: found ", formats::quote(name), ", expected ", names,
       ", or the file of a saved profile");
}

namespace {

// Of one processor to another: factors of 1.4 to either side are ordinary.
constexpr double kAssumedSpread = 0.35;

Figure assumed(const Figure& figure) {
  Figure copy = figure;
  copy.spread = std::hypot(figure.spread, kAssumedSpread);
  copy.basis = Evidence::Estimated;
  copy.source = "as on " + std::string(kReferenceMachine) + ": " + figure.source;
  return copy;
}

void assume_peak(Machine& machine, const Machine& reference, FigureKind kind) {
  const std::optional<double> threads = machine.value(FigureKind::Threads);
  if (machine.find(kind) != nullptr || !threads) {
    return;
  }
  Figure peak = assumed(*reference.find(kind));
  peak.value *= *threads / *reference.value(FigureKind::Threads);
  peak.source = "by thread " + peak.source;
  machine.figures.push_back(peak);
}

}  // namespace

void assume_missing(Machine& machine) {
  const Machine& reference = find_machine(std::string(kReferenceMachine));
  assume_peak(machine, reference, FigureKind::Fp32OpsPerS);
  if (machine.has_efficiencies()) {
    return;
  }
  for (const Figure& figure : reference.figures) {
    if (figure.kind == FigureKind::Efficiency) {
      machine.figures.push_back(assumed(figure));
    }
    if (figure.kind == FigureKind::SpeedError) {
      Figure error = assumed(figure);
      error.value = std::hypot(figure.value, kAssumedSpread);
      error.spread = 0;
      machine.figures.push_back(error);
    }
  }
}

}  // namespace fathom::plan
