#include "apps/fathom/bench_report.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "fathom/model/config/read_config.h"

namespace fathom::app {
namespace {

using Json = nlohmann::ordered_json;
using bench::CellResult;
using bench::KernelResult;
using bench::Phase;

constexpr double kGiga = 1e9;
constexpr double kTera = 1e12;
constexpr double kMicro = 1e-6;

// A number that JSON can hold, or null.
Json number(std::optional<double> value, double unit = 1) {
  return value && std::isfinite(*value) ? Json(*value / unit) : Json(nullptr);
}

Json integer(std::optional<Index> value) {
  return value ? Json(*value) : Json(nullptr);
}

// A number of things, which may be a mean.
Json rounded(std::optional<double> value) {
  return value && std::isfinite(*value) ? Json(Index{std::llround(*value)}) : Json(nullptr);
}

Json peak(const std::optional<runtime::PeakRate>& rate) {
  return rate ? number(rate->operations_per_s, kTera) : Json(nullptr);
}

Json machine_json(const BenchResult& result) {
  const runtime::MachineProfile& machine = result.machine;
  Json by_threads = Json::object();
  for (const runtime::ReadRate& read : machine.reads) {
    by_threads[std::to_string(read.num_threads)] = number(read.bytes_per_s, kGiga);
  }
  Json instructions = Json::object();
  for (const auto& [name, rate] :
       {std::pair{"int8", &machine.int8}, {"bf16", &machine.bf16}, {"fp32", &machine.fp32}}) {
    instructions[name] = *rate ? Json((*rate)->instruction) : Json(nullptr);
  }
  return {{"threads", machine.num_threads},
          {"read_gb_s", number(machine.read_bytes_per_s(), kGiga)},
          {"read_gb_s_by_threads", by_threads},
          {"read_gb_s_mapped",
           number(result.model ? result.model->read_mapped_bytes_per_s : std::nullopt, kGiga)},
          {"int8_tops", peak(machine.int8)},
          {"bf16_tflops", peak(machine.bf16)},
          {"fp32_tflops", peak(machine.fp32)},
          {"instructions", instructions},
          {"barrier_us", number(machine.barrier_s, kMicro)}};
}

std::optional<double> bytes_per_token(const ModelBench& model, const bench::Cell& cell) {
  return model.costs->bytes_per_token(cell.batch);
}

std::string_view limit_name(const ModelBench& model, const bench::Cell& cell) {
  return bench::to_string(cell.phase == Phase::Decode ? bench::Bound::Read : model.prefill_bound);
}

// Why there is no fraction; empty where there is one.
std::string missing_fraction(const ModelBench& model, const CellResult& result) {
  if (result.fraction_of_limit) {
    return "";
  }
  if (result.cell.phase == Phase::Decode) {
    return "what a step of this batch reads is not known";
  }
  return fmt::format("this processor has no {} products", bench::to_string(model.prefill_bound));
}

Json cell_json(const ModelBench& model, const CellResult& result) {
  const std::string missing = missing_fraction(model, result);
  std::vector<double> rates;
  for (const bench::Sample& sample : result.samples) {
    rates.push_back(sample.tokens_per_s);
  }
  return {{"tokens", result.cell.tokens},
          {"context", result.cell.context},
          {"batch", result.cell.batch},
          {"threads", model.facts.num_threads},
          {"numerics", model.facts.numerics},
          {"tokens_per_s", number(result.tokens_per_s)},
          {"limit", limit_name(model, result.cell)},
          {"read_gb_s", number(result.meanwhile.read_bytes_per_s, kGiga)},
          {"cached_gb_s", number(result.meanwhile.cached_bytes_per_s, kGiga)},
          {"barrier_us", number(result.meanwhile.barrier_s, kMicro)},
          {"fraction_of_limit", number(result.fraction_of_limit)},
          {"no_fraction", missing.empty() ? Json(nullptr) : Json(missing)},
          {"bytes_per_token", rounded(bytes_per_token(model, result.cell))},
          {"samples", rates}};
}

Json cells_json(const ModelBench& model, Phase phase) {
  Json cells = Json::array();
  for (const CellResult& result : model.cells) {
    if (result.cell.phase == phase) {
      cells.push_back(cell_json(model, result));
    }
  }
  return cells;
}

std::string_view block_name(config::Block block) {
  switch (block) {
    case config::Block::Model:
      return "model";
    case config::Block::Layer:
      return "layer";
    case config::Block::Mtp:
      return "mtp";
  }
  return "";
}

// What `fathom plan --check` needs to predict the run elsewhere, without the file.
void add_storage(Json& out, const ModelCosts& costs) {
  // The plan in the text is not the file's: `storage` says how each role is really stored.
  const config::StoragePlan none = config::storage_plan_from_name("bf16");
  config::ModelConfig model = costs.config();
  for (config::LayerConfig& layer : model.layers) {
    if (layer.attention == config::AttentionKind::Grouped) {
      layer.rope.pairs = config::RopePairs::Halves;  // the order of rows is the file's, not a fact
    }
  }
  out["config"] = Json::parse(config::make_config_json(model, none));
  out["storage"] = Json::array();
  for (const ModelCosts::RoleStorage& role : costs.storage()) {
    out["storage"].push_back({{"block", block_name(role.block)},
                              {"role", config::to_string(role.role)},
                              {"format", numeric::to_string(role.format)},
                              {"bytes", role.num_bytes}});
  }
}

void add_model(Json& out, const ModelBench& model) {
  out["model"] = model.path;
  out["family"] = model.facts.family;
  out["backend"] = model.facts.backend;
  out["numerics"] = model.facts.numerics;
  out["layout"] = model.facts.layout;
  out["threads"] = model.facts.num_threads;
  out["reference_kernels"] = model.facts.fallbacks;
  out["weights"] = model.is_random ? "random" : "as in the file";
  out["file_bytes"] = model.file_bytes;
  out["bytes_per_token"] = rounded(model.costs->bytes_per_token());
  out["macs_per_token"] = rounded(model.costs->multiply_adds_per_token());
  add_storage(out, *model.costs);
  out["load_s"] = number(model.load_s);
  out["peak_rss_bytes"] = integer(model.memory.resident_bytes);
  out["peak_anonymous_bytes"] = integer(model.memory.anonymous_bytes);
  out["peak_mapped_bytes"] = integer(model.memory.file_mapped_bytes);
  out["prefill"] = cells_json(model, Phase::Prefill);
  out["decode"] = cells_json(model, Phase::Decode);
  out["batch_beginnings"] = model.beginnings == Beginnings::Apart ? "apart" : "shared";
  out["skipped"] = Json::array();
  for (const bench::Skipped& skipped : model.skipped) {
    out["skipped"].push_back({{"cell", describe(skipped.cell)}, {"reason", skipped.reason}});
  }
  out["kernels"] = Json::array();
  for (const KernelResult& kernel : model.kernels) {
    out["kernels"].push_back({{"op", kernel.op},
                              {"format", kernel.format},
                              {"shape", kernel.shape},
                              {"tokens", kernel.tokens},
                              {"gb_s", number(kernel.bytes_per_s, kGiga)},
                              {"gop_s", number(kernel.operations_per_s, kGiga)},
                              {"limit", bench::to_string(kernel.bound)},
                              {"fraction_of_limit", number(kernel.fraction_of_limit)}});
  }
}

std::string dump(const Json& json) {
  // A path need not be UTF-8.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Rows of text in columns: the first and the last to the left, the others to the right.
class Table {
 public:
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const {
    std::vector<std::size_t> widths;
    for (const auto& row : rows_) {
      widths.resize(std::max(widths.size(), row.size()));
      for (std::size_t column = 0; column < row.size(); ++column) {
        widths[column] = std::max(widths[column], row[column].size());
      }
    }
    std::string text;
    for (const auto& row : rows_) {
      std::string line;
      for (std::size_t column = 0; column < row.size(); ++column) {
        const bool is_left = column < num_left_ || column + 1 == widths.size();
        line += is_left ? fmt::format("  {:<{}}", row[column], widths[column])
                        : fmt::format("  {:>{}}", row[column], widths[column]);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      text += line + "\n";
    }
    return text;
  }
  // So many columns at the front are words.
  explicit Table(std::size_t num_left) : num_left_(num_left) {}

 private:
  std::size_t num_left_;
  std::vector<std::vector<std::string>> rows_;
};

std::string percent(std::optional<double> fraction) {
  return fraction ? fmt::format("{:.1f} %", 100 * *fraction) : "-";
}

std::string gigabytes(std::optional<double> bytes) {
  return bytes ? fmt::format("{:.3f} GB", *bytes / kGiga) : "-";
}

std::string gigabytes_of(std::optional<Index> bytes) {
  return bytes ? gigabytes(static_cast<double>(*bytes)) : "-";
}

std::string machine_table(const BenchResult& result) {
  const runtime::MachineProfile& machine = result.machine;
  Table table(1);
  for (const runtime::ReadRate& read : machine.reads) {
    table.add({fmt::format("read, {} thread{}", read.num_threads, read.num_threads > 1 ? "s" : ""),
               fmt::format("{:.1f} GB/s", read.bytes_per_s / kGiga), ""});
  }
  if (result.model && result.model->read_mapped_bytes_per_s) {
    table.add({"read, the mapped file",
               fmt::format("{:.1f} GB/s", *result.model->read_mapped_bytes_per_s / kGiga), ""});
  }
  for (const auto& [name, rate] : {std::pair{"int8 products", &machine.int8},
                                   {"bf16 products", &machine.bf16},
                                   {"fp32 products", &machine.fp32}}) {
    table.add({name, *rate ? fmt::format("{:.3f} Top/s", (*rate)->operations_per_s / kTera) : "-",
               *rate ? (*rate)->instruction : "no instruction for them"});
  }
  table.add({"loop on all threads",
             machine.barrier_s ? fmt::format("{:.1f} us", *machine.barrier_s / kMicro) : "-",
             machine.barrier_s ? "" : "one thread"});
  return fmt::format("Machine, {} threads\n", machine.num_threads) + table.text();
}

std::string model_head(const ModelBench& model) {
  std::string text =
      fmt::format("\n{}\n  {}, {}, numerics {}, weights in {}, {} threads{}\n", model.path,
                  model.facts.family, model.facts.backend, model.facts.numerics, model.facts.layout,
                  model.facts.num_threads, model.is_random ? ", random weights" : "");
  Table table(1);
  table.add({"file", gigabytes_of(model.file_bytes), ""});
  table.add({"read per token", gigabytes(model.costs->bytes_per_token()), "of weights"});
  table.add({"products per token",
             fmt::format("{:.3f} GMAC", model.costs->multiply_adds_per_token() / kGiga), ""});
  table.add({"load", fmt::format("{:.3f} s", model.load_s), "to the first token"});
  table.add(
      {"peak memory", gigabytes_of(model.memory.resident_bytes),
       fmt::format("{} of its own, {} mapped files", gigabytes_of(model.memory.anonymous_bytes),
                   gigabytes_of(model.memory.file_mapped_bytes))});
  return text + table.text();
}

std::string cells_table(const ModelBench& model) {
  Table table(1);
  table.add({"run", "tokens/s", "of limit", "reads per token", "limit"});
  for (const CellResult& result : model.cells) {
    const bool is_decode = result.cell.phase == Phase::Decode;
    table.add({describe(result.cell), fmt::format("{:.2f}", result.tokens_per_s),
               percent(result.fraction_of_limit),
               is_decode ? gigabytes(bytes_per_token(model, result.cell)) : "-",
               result.fraction_of_limit ? std::string(limit_name(model, result.cell))
                                        : missing_fraction(model, result)});
  }
  std::string text = "\nWhole model\n" + table.text();
  for (const bench::Skipped& skipped : model.skipped) {
    text += fmt::format("  {} was skipped: {}\n", describe(skipped.cell), skipped.reason);
  }
  return text;
}

std::string kernels_table(const ModelBench& model) {
  if (model.kernels.empty()) {
    return "";
  }
  Table table(3);
  table.add({"op", "format", "shape", "tokens", "rate", "of limit", "limit"});
  for (const KernelResult& kernel : model.kernels) {
    table.add({kernel.op, kernel.format, kernel.shape, std::to_string(kernel.tokens),
               kernel.bytes_per_s ? fmt::format("{:.2f} GB/s", *kernel.bytes_per_s / kGiga)
                                  : fmt::format("{:.1f} Gop/s", *kernel.operations_per_s / kGiga),
               percent(kernel.fraction_of_limit), std::string(bench::to_string(kernel.bound))});
  }
  return "\nKernels\n" + table.text();
}

}  // namespace

std::string bench_json(const BenchResult& result) {
  Json out;
  out["machine"] = machine_json(result);
  if (result.model) {
    add_model(out, *result.model);
  }
  return dump(out);
}

std::string bench_tables(const BenchResult& result) {
  std::string text = machine_table(result);
  if (result.model) {
    text += model_head(*result.model) + cells_table(*result.model) + kernels_table(*result.model);
  }
  return text;
}

std::string chosen_kernels_json(const std::vector<ChosenKernel>& kernels) {
  Json out;
  out["kernels"] = Json::array();
  for (const ChosenKernel& kernel : kernels) {
    out["kernels"].push_back(
        {{"op", kernel.op}, {"provider", kernel.provider}, {"reason", kernel.reason}});
  }
  return dump(out);
}

std::string chosen_kernels_table(const std::vector<ChosenKernel>& kernels) {
  Table table(3);
  for (const ChosenKernel& kernel : kernels) {
    table.add({kernel.op, kernel.provider, kernel.reason});
  }
  return table.text();
}

}  // namespace fathom::app
