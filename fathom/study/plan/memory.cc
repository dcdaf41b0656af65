#include "fathom/study/plan/memory.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/compute/numeric/int8_blocks.h"
#include "fathom/model/config/cache_layout.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/config/storage_plan.h"

namespace fathom::plan {
namespace {

using config::AttentionKind;
using config::StorageClass;
using config::WeightRole;
using config::WeightSpec;
using numeric::WeightFormat;

constexpr Index kNumberBytes = 4;  // fp32
// The program, its libraries, its threads and the tables of a model, as measured of small models.
constexpr Index kProcessBytes = 15'000'000;
constexpr Index kHugePageBytes = Index{1} << 21;
// Runs of tensors between the matrices of a layer that stay in the file: norms and the mixing of
// streams, sinks and router, what the layer ends with.
constexpr Index kPiecesOfLayer = 3;
constexpr double kLeftToSystem = 0.05;
constexpr double kGiga = 1e9;

bool has_kind(const config::ModelConfig& config, AttentionKind kind) {
  return std::any_of(config.layers.begin(), config.layers.end(),
                     [&](const config::LayerConfig& layer) { return layer.attention == kind; });
}

// Numbers per token that a layer's attention has in the arena at the same time.
Index attention_numbers(const config::ModelConfig& config, Index context) {
  const Index heads = config.num_heads * config.head_dim;
  if (has_kind(config, AttentionKind::Grouped)) {
    return 2 * heads + 2 * config.num_key_value_heads * config.head_dim;
  }
  Index numbers = 2 * heads + 2 * config.query_rank + 2 * config.head_dim;
  if (has_kind(config, AttentionKind::CompressedSparse)) {
    const Index blocks = context / 4;
    const Index scored = blocks > config.index_top_k ? blocks : 0;
    // Main and indexer rows, index queries, and of every block a score and a place in the choice.
    numbers += 4 * config.head_dim + 4 * config.index_head_dim +
               config.num_index_heads * (config.index_head_dim + 1) +
               std::min(blocks, config.index_top_k) + scored;
  } else if (has_kind(config, AttentionKind::HeavilyCompressed)) {
    numbers += 2 * config.head_dim;
  }
  return numbers;
}

Index feed_forward_numbers(const config::ModelConfig& config) {
  if (config.num_experts == 0) {
    return 2 * config.mlp_hidden + config.hidden_size;
  }
  const Index routed =
      config.num_experts_per_token * (2 * config.expert_hidden + config.hidden_size);
  const Index shared = 2 * config.expert_hidden + config.hidden_size;
  return routed + shared + config.num_experts + config.hidden_size;
}

bool is_outer(const WeightSpec& spec) {
  return spec.key.role == WeightRole::Embedding || spec.key.role == WeightRole::Head;
}

WeightFormat gguf_format(const config::StoragePlan& plan, const WeightSpec& spec) {
  const auto in_gguf = [](WeightFormat format) {
    return format == WeightFormat::Fp4   ? WeightFormat::Mxfp4
           : format == WeightFormat::Fp8 ? WeightFormat::Q8_0
                                         : format;
  };
  if (spec.shape.size() == 1 || spec.key.role == WeightRole::HeadMixFn) {
    return WeightFormat::F32;
  }
  if (spec.storage == StorageClass::Expert) {
    return in_gguf(plan.experts);
  }
  const bool is_dense =
      spec.storage == StorageClass::Dense && spec.key.role != WeightRole::IndexerQueryUp;
  if (is_outer(spec) || is_dense || plan.dense == WeightFormat::F32) {
    return in_gguf(plan.dense);
  }
  return WeightFormat::F16;
}

// As `fathom synth --out FILE.gguf` writes it.
Storage gguf_storage(const config::StoragePlan& plan) {
  const auto format_of = [plan](const WeightSpec& spec) { return gguf_format(plan, spec); };
  const auto bytes_of = [format_of](const WeightSpec& spec) -> Index {
    constexpr Index kIdBytes = 4;  // I32 in GGUF
    if (spec.key.block == config::Block::Mtp) {
      return 0;  // such a file has no form of the block
    }
    if (spec.storage == StorageClass::TokenIds) {
      return spec.num_elements() * kIdBytes;
    }
    const numeric::WeightFormatInfo& info = numeric::info(format_of(spec));
    const Index columns = spec.shape.back();
    return spec.num_elements() / columns * ceil_div(columns, info.block_columns) * info.block_bytes;
  };
  return {.bytes_of = bytes_of, .format_of = format_of};
}

std::string gigabytes(double bytes) {
  return fmt::format("{:.1f} GB", bytes / kGiga);
}

Fit compare(double needed, double available, const std::string& where, const std::string& what) {
  if (needed <= available) {
    return {.fits = true, .reason = ""};
  }
  return {.fits = false,
          .reason = fmt::format("{} take {}, {} {}", what, gigabytes(needed), where,
                                gigabytes(available))};
}

double usable_ram(const Machine& machine) {
  return machine.value(FigureKind::RamBytes).value_or(0) * (1 - kLeftToSystem);
}

}  // namespace

Index step_bytes(const config::ModelConfig& config, Index num_tokens, Index context) {
  const Index streams = std::max<Index>(1, config.num_streams) * config.hidden_size;
  const Index mixed = 3 * config.hidden_size;  // embedded, collapsed, normed
  const Index attention = attention_numbers(config, context);
  const Index inner = std::max(attention, feed_forward_numbers(config));
  return num_tokens * (kNumberBytes * (streams + mixed + 2 * config.rope_dim + inner) +
                       config::raw_row_bytes_per_token(config, config::kFastCache));
}

// Pages of the file are given back when their matrices are panels; touching a norm between two of
// them maps the huge page that it lies in again. The cache keeps rows of each width in blocks of
// their own.
Index rounding_bytes(const config::ModelConfig& config, const Storage& storage) {
  const Index around_pieces = config.num_layers() * kPiecesOfLayer * kHugePageBytes;
  std::set<Index> widths;
  for (const config::CacheStream& stream : config::cache_layout(config)) {
    widths.insert(stream.width);
  }
  return std::min(panel_bytes(config, storage), around_pieces) +
         to_index(widths.size()) * kHugePageBytes;
}

Index MemoryParts::total() const {
  return weights_bytes + cache_bytes + raw_rows_bytes + step_bytes + rounding_bytes + process_bytes;
}

MemoryParts memory_parts(const config::ModelConfig& config,
                         const Storage& storage,
                         const MemoryDemand& demand) {
  const Index raw = std::min(demand.raw_tokens, demand.context);
  return {.weights_bytes = config::weight_bytes(config, storage.bytes_of).total(),
          .cache_bytes = demand.num_sequences *
                         config::cache_bytes(config, demand.context, config::kFastCache),
          .raw_rows_bytes = demand.num_sequences * raw *
                            config::raw_row_bytes_per_token(config, config::kFastCache),
          .step_bytes =
              step_bytes(config, std::min(demand.step_tokens, demand.context), demand.context),
          .rounding_bytes = rounding_bytes(config, storage),
          .process_bytes = kProcessBytes};
}

std::map<std::string, Index> weights_by_format(const config::ModelConfig& config,
                                               const Storage& storage) {
  std::map<std::string, Index> bytes;
  for (const WeightSpec& spec : config::weight_table(config)) {
    const bool is_table = spec.storage == StorageClass::TokenIds;
    const std::string format =
        is_table ? "ids" : std::string(numeric::to_string(storage.format_of(spec)));
    if (const Index num_bytes = storage.bytes_of(spec); num_bytes > 0) {
      bytes[format] += num_bytes;
    }
  }
  return bytes;
}

Index panel_bytes(const config::ModelConfig& config, const Storage& storage) {
  Index bytes = 0;
  for (const WeightSpec& spec : config::weight_table(config)) {
    if (config::is_multiplied(config, spec) && numeric::has_int8_blocks(storage.format_of(spec))) {
      bytes += storage.bytes_of(spec);
    }
  }
  return bytes;
}

std::vector<Quantisation> quantisations(const config::ModelConfig& config) {
  struct Row {
    const char* name;
    const char* official;
    const char* gguf;
  };
  constexpr std::array<Row, 4> kRows = {
      Row{"fp4", "experts FP4, the rest FP8 and BF16", "experts MXFP4, the rest Q8_0 and F16"},
      Row{"fp8", "FP8 and BF16", "Q8_0 and F16"}, Row{"bf16", "BF16", "BF16 and F16"},
      Row{"f32", "F32", "F32"}};
  std::vector<Quantisation> all;
  const bool has_experts = config.num_experts > 0;
  for (const Row& row : kRows) {
    // Without experts a plan is only about the dense matrices: FP4 has none.
    if (!has_experts && std::string_view(row.name).starts_with("fp")) {
      continue;
    }
    const config::StoragePlan plan = config::storage_plan_from_name(row.name);
    all.push_back({row.name, row.official, storage_by_plan(plan)});
    all.push_back({std::string("gguf-") + row.name, row.gguf, gguf_storage(plan)});
  }
  return all;
}

Fit fits_in_ram(const Machine& machine, const MemoryParts& parts) {
  if (!machine.find(FigureKind::RamBytes)) {
    return {
        .fits = false, .reason = "how much memory the machine has is not known", .is_known = false};
  }
  return compare(static_cast<double>(parts.total()), usable_ram(machine), "memory leaves",
                 "weights, cache and buffers");
}

Fit fits_in_accelerators(const Machine& machine, const MemoryParts& parts) {
  const std::optional<double> count = machine.value(FigureKind::Accelerators);
  if (!count) {
    return {.fits = false, .reason = "the machine has no accelerators"};
  }
  const std::optional<double> each = machine.value(FigureKind::AcceleratorMemoryBytes);
  if (!each) {
    return {.fits = false,
            .reason = "how much memory the accelerators have is not known",
            .is_known = false};
  }
  const Index needed = parts.weights_bytes + parts.cache_bytes + parts.step_bytes;
  return compare(static_cast<double>(needed), *count * *each, "the accelerators have",
                 "weights, cache and buffers");
}

Fit fits_with_experts_on_disk(const Machine& machine,
                              const MemoryParts& parts,
                              Index expert_bytes) {
  if (!machine.find(FigureKind::RamBytes)) {
    return {
        .fits = false, .reason = "how much memory the machine has is not known", .is_known = false};
  }
  return compare(static_cast<double>(parts.total() - expert_bytes), usable_ram(machine),
                 "memory leaves", "all but the experts");
}

double resident_share_of_experts(const Machine& machine,
                                 const MemoryParts& parts,
                                 Index expert_bytes) {
  if (expert_bytes == 0) {
    return 1;
  }
  const double left = usable_ram(machine) - static_cast<double>(parts.total() - expert_bytes);
  return std::clamp(left / static_cast<double>(expert_bytes), 0.0, 1.0);
}

}  // namespace fathom::plan
