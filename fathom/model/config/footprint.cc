#include "fathom/model/config/footprint.h"

#include <algorithm>
#include <array>

#include "fathom/base/core/error.h"
#include "fathom/model/config/cache_layout.h"
#include "fathom/model/config/storage_plan.h"

namespace fathom::config {
namespace {

using numeric::ScaleFormat;
using numeric::WeightFormat;

constexpr Index kTokenIdBytes = 8;        // I64 tables of official checkpoints
constexpr Index kPackedRopeBytes = 2;     // BF16
constexpr Index kPackedGroupedBytes = 2;  // BF16
constexpr Index kPackedScaleGroup = 64;
constexpr Index kPackedRowAlignment = 8;
constexpr Index kPackedKeyGroup = 32;
constexpr Index kStateBytes = 4;  // fp32

struct RoleGroup {
  WeightRole role;
  Index WeightBytes::*group;
};

// Everything that is not listed belongs to attention.
constexpr auto kRoleGroups = std::to_array<RoleGroup>({
    {WeightRole::Embedding, &WeightBytes::embedding},
    {WeightRole::Head, &WeightBytes::head},
    {WeightRole::FinalNorm, &WeightBytes::mixing},
    {WeightRole::HeadMixFn, &WeightBytes::mixing},
    {WeightRole::HeadMixBase, &WeightBytes::mixing},
    {WeightRole::HeadMixScale, &WeightBytes::mixing},
    {WeightRole::AttentionMixFn, &WeightBytes::mixing},
    {WeightRole::AttentionMixBase, &WeightBytes::mixing},
    {WeightRole::AttentionMixScale, &WeightBytes::mixing},
    {WeightRole::ExpertMixFn, &WeightBytes::mixing},
    {WeightRole::ExpertMixBase, &WeightBytes::mixing},
    {WeightRole::ExpertMixScale, &WeightBytes::mixing},
    {WeightRole::AttentionNorm, &WeightBytes::mixing},
    {WeightRole::FeedForwardNorm, &WeightBytes::mixing},
    {WeightRole::RouterWeight, &WeightBytes::router},
    {WeightRole::RouterBias, &WeightBytes::router},
    {WeightRole::RouterTable, &WeightBytes::router},
    {WeightRole::ExpertGate, &WeightBytes::experts},
    {WeightRole::ExpertUp, &WeightBytes::experts},
    {WeightRole::ExpertDown, &WeightBytes::experts},
    {WeightRole::SharedGate, &WeightBytes::shared},
    {WeightRole::SharedUp, &WeightBytes::shared},
    {WeightRole::SharedDown, &WeightBytes::shared},
    {WeightRole::MlpGate, &WeightBytes::mlp},
    {WeightRole::MlpUp, &WeightBytes::mlp},
    {WeightRole::MlpDown, &WeightBytes::mlp},
});

Index WeightBytes::*group_of(const WeightSpec& spec) {
  if (spec.key.block == Block::Mtp) {
    return &WeightBytes::mtp;
  }
  for (const RoleGroup& row : kRoleGroups) {
    if (row.role == spec.key.role) {
      return row.group;
    }
  }
  return &WeightBytes::attention;
}

// The part of `whole`, spread over the experts of the tensor if it has any, that a token chooses.
Index chosen_part(const ModelConfig& config, const WeightSpec& spec, Index whole) {
  return spec.num_experts > 0 ? whole / spec.num_experts * config.num_experts_per_token : whole;
}

// The part of `whole`, spread over the rows or experts of the tensor, that one token touches.
Index read_per_token(const ModelConfig& config, const WeightSpec& spec, Index whole) {
  return is_looked_up(config, spec) ? whole / spec.shape.front() : chosen_part(config, spec, whole);
}

Index scale_bytes(WeightFormat format, ScaleFormat fp8_scale, Index rows, Index columns) {
  if (format == WeightFormat::Fp4) {
    return rows * ceil_div(columns, numeric::kFp4ScaleColumns);
  }
  if (format != WeightFormat::Fp8) {
    return 0;
  }
  const Index tiles =
      ceil_div(rows, numeric::kFp8TileRows) * ceil_div(columns, numeric::kFp8TileColumns);
  return fp8_scale == ScaleFormat::F32 ? 4 * tiles : tiles;
}

Index held_bytes(const std::vector<CacheStream>& layout,
                 Index num_tokens,
                 const CacheNumbers& numbers) {
  Index total = 0;
  for (const CacheStream& stream : layout) {
    const Index rows = num_tokens / stream.tokens_per_row - stream.first_row_needed(num_tokens);
    total += rows * numbers.row_bytes(stream);
  }
  return total;
}

// Key and value as E4M3 with a scale byte per 64, the rotated dimensions as BF16.
Index packed_row_bytes(const ModelConfig& config) {
  const Index plain = config.head_dim - config.rope_dim;
  const Index bytes =
      plain + kPackedRopeBytes * config.rope_dim + ceil_div(plain, kPackedScaleGroup);
  return ceil_div(bytes, kPackedRowAlignment) * kPackedRowAlignment;
}

// E2M1 with a scale byte per 32.
Index packed_key_bytes(const ModelConfig& config) {
  return ceil_div(config.index_head_dim, 2) + ceil_div(config.index_head_dim, kPackedKeyGroup);
}

Index packed_bytes(const ModelConfig& config, const CacheStream& stream, Index num_tokens) {
  switch (stream.kind) {
    case StreamKind::Window:  // a ring: its size does not follow the tokens
      return config.window * packed_row_bytes(config);
    case StreamKind::CompressorInput:
    case StreamKind::IndexerInput:
      return (stream.block_tokens + stream.overlap_tokens) * stream.width * kStateBytes;
    case StreamKind::Compressed:
      return num_tokens / stream.tokens_per_row * packed_row_bytes(config);
    case StreamKind::IndexKey:
      return num_tokens / stream.tokens_per_row * packed_key_bytes(config);
    case StreamKind::Key:
    case StreamKind::Value:
      return num_tokens * stream.width * kPackedGroupedBytes;
  }
  fail(ErrorCode::Internal, "unknown kind of cache stream");
}

}  // namespace

bool is_looked_up(const ModelConfig& config, const WeightSpec& spec) {
  // A tied embedding is read whole as the head, and the row on top of it is nothing.
  const bool is_embedding = spec.key.role == WeightRole::Embedding && !config.is_head_tied;
  return is_embedding || spec.storage == StorageClass::TokenIds ||
         spec.key.role == WeightRole::CompressorPositionBias ||
         spec.key.role == WeightRole::IndexerPositionBias;
}

ParameterCount count_parameters(const ModelConfig& config) {
  ParameterCount count;
  for (const WeightSpec& spec : weight_table(config)) {
    if (spec.storage == StorageClass::TokenIds) {
      continue;  // ids are not parameters
    }
    const Index elements = spec.num_elements();
    if (spec.key.block == Block::Mtp) {
      count.mtp += elements;
      continue;
    }
    count.total += elements;
    const bool is_head = spec.key.role == WeightRole::Head ||
                         (config.is_head_tied && spec.key.role == WeightRole::Embedding);
    if (spec.key.block == Block::Layer || is_head) {
      count.active += chosen_part(config, spec, elements);
    }
  }
  return count;
}

Index stored_bytes(const WeightSpec& spec, const StoragePlan& plan) {
  if (spec.storage == StorageClass::TokenIds) {
    return spec.num_elements() * kTokenIdBytes;
  }
  const WeightFormat format = format_in(plan, spec);
  const numeric::WeightFormatInfo& layout = numeric::info(format);
  const Index columns = spec.shape.back();
  const Index rows = spec.shape.size() > 1 ? spec.shape.front() : 1;
  const Index data = rows * ceil_div(columns, layout.block_columns) * layout.block_bytes;
  const Index matrix = data + scale_bytes(format, plan.dense_scale, rows, columns);
  return matrix * std::max<Index>(1, spec.num_experts);
}

Index WeightBytes::total() const {
  return experts + shared + mlp + attention + router + mixing + embedding + head + mtp;
}

WeightBytes weight_bytes(const ModelConfig& config, const BytesOf& bytes_of) {
  WeightBytes bytes;
  for (const WeightSpec& spec : weight_table(config)) {
    bytes.*group_of(spec) += bytes_of(spec);
  }
  return bytes;
}

WeightBytes weight_bytes(const ModelConfig& config, const StoragePlan& plan) {
  return weight_bytes(config, [&](const WeightSpec& spec) { return stored_bytes(spec, plan); });
}

Index decode_weight_bytes_per_token(const ModelConfig& config, const BytesOf& bytes_of) {
  Index bytes = 0;
  for (const WeightSpec& spec : weight_table(config)) {
    if (spec.key.block != Block::Mtp) {
      bytes += read_per_token(config, spec, bytes_of(spec));
    }
  }
  return bytes;
}

Index decode_weight_bytes_per_token(const ModelConfig& config, const StoragePlan& plan) {
  return decode_weight_bytes_per_token(
      config, [&](const WeightSpec& spec) { return stored_bytes(spec, plan); });
}

double decode_weight_bytes_per_step(const ModelConfig& config,
                                    const BytesOf& bytes_of,
                                    Index batch,
                                    std::span<const double> distinct_experts) {
  FATHOM_CHECK(config.num_experts == 0 || to_index(distinct_experts.size()) == config.num_layers());
  double bytes = 0;
  for (const WeightSpec& spec : weight_table(config)) {
    if (spec.key.block == Block::Mtp) {
      continue;
    }
    const auto whole = static_cast<double>(bytes_of(spec));
    if (spec.num_experts > 0) {
      bytes += whole / static_cast<double>(spec.num_experts) *
               distinct_experts[to_size(spec.key.layer_idx)];
    } else if (is_looked_up(config, spec)) {
      const auto rows = static_cast<double>(spec.shape.front());
      bytes += whole / rows * std::min(rows, static_cast<double>(batch));
    } else {
      bytes += whole;
    }
  }
  return bytes;
}

Index multiply_adds_per_token(const ModelConfig& config) {
  Index products = 0;
  for (const WeightSpec& spec : weight_table(config)) {
    const bool is_matrix = spec.shape.size() > 1 && !is_looked_up(config, spec);
    if (is_matrix && spec.key.block != Block::Mtp) {
      products += chosen_part(config, spec, spec.num_elements());
    }
  }
  return products;
}

Index cache_bytes(const ModelConfig& config, Index num_tokens, const CacheNumbers& numbers) {
  return held_bytes(cache_layout(config), num_tokens, numbers);
}

Index mtp_cache_bytes(const ModelConfig& config, Index num_tokens, const CacheNumbers& numbers) {
  return held_bytes(mtp_cache_layout(config), num_tokens, numbers);
}

double cache_bytes_per_token(const ModelConfig& config, const CacheNumbers& numbers) {
  double bytes = 0;
  for (const CacheStream& stream : cache_layout(config)) {
    if (stream.keeps_every_row()) {
      bytes += static_cast<double>(numbers.row_bytes(stream)) /
               static_cast<double>(stream.tokens_per_row);
    }
  }
  return bytes;
}

Index raw_row_bytes_per_token(const ModelConfig& config, const CacheNumbers& numbers) {
  Index bytes = 0;
  for (const CacheStream& stream : cache_layout(config)) {
    if (!stream.keeps_every_row()) {
      bytes += numbers.row_bytes(stream);
    }
  }
  return bytes;
}

Index packed_cache_bytes(const ModelConfig& config, Index num_tokens) {
  Index bytes = 0;
  for (const CacheStream& stream : cache_layout(config)) {
    bytes += packed_bytes(config, stream, num_tokens);
  }
  return bytes;
}

double packed_cache_bytes_per_token(const ModelConfig& config) {
  double bytes = 0;
  for (const CacheStream& stream : cache_layout(config)) {
    if (stream.keeps_every_row()) {
      bytes += static_cast<double>(packed_bytes(config, stream, stream.tokens_per_row)) /
               static_cast<double>(stream.tokens_per_row);
    }
  }
  return bytes;
}

}  // namespace fathom::config
