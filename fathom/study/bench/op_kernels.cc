#include "fathom/study/bench/op_kernels.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "fathom/compute/ops/compress_pool.h"
#include "fathom/compute/ops/grouped_attention.h"
#include "fathom/compute/ops/hyper_connection.h"
#include "fathom/compute/ops/index_select.h"
#include "fathom/compute/ops/rms_norm.h"
#include "fathom/compute/ops/route.h"
#include "fathom/compute/ops/sink_attention.h"
#include "fathom/compute/ops/swiglu.h"
#include "fathom/model/kv/sequence_cache.h"

namespace fathom::bench {
namespace {

using config::AttentionKind;
using config::StreamKind;
using tensor::Tensor;

constexpr Index kFp32Bytes = 4;
constexpr Index kAttentionRows = 512;  // of grouped attention

// Rows as the cache keeps them.
kv::RowStore cached_rows(ops::Context& context, StreamKind kind, Index num_rows, Index width) {
  constexpr Index kRowsAtOnce = 256;
  kv::RowStore rows(width, kv::row_dtype(kind, context.cache_dtype()));
  const tensor::Arena::Scope scope(context.arena);
  const Tensor values = activations(context, {std::min(num_rows, kRowsAtOnce), width});
  while (rows.num_rows() < num_rows) {
    rows.append(values.slice(0, std::min(values.dim(0), num_rows - rows.num_rows())));
  }
  return rows;
}

class OpBench {
 public:
  OpBench(ops::Context& context,
          const config::ModelConfig& config,
          Index tokens,
          const MeasureKernel& measure)
      : context_(context),
        config_(config),
        tokens_(tokens),
        measure_(measure),
        router_bias_(to_size(config.num_experts)) {}

  void run() {
    rms_norm();
    if (config_.num_streams > 0) {
      hyper_connection();
    }
    if (config_.num_experts > 0) {
      route();
      swiglu(config_.num_experts_per_token, config_.expert_hidden);
      combine_experts();
    }
    if (config_.mlp_hidden > 0) {
      swiglu(1, config_.mlp_hidden);
    }
    compress_pools();
    if (config_.num_index_heads > 0) {
      index_select();
    }
    if (config_.window > 0) {
      sink_attention();
    }
    if (config_.num_key_value_heads > 0) {
      grouped_attention();
    }
  }

 private:
  KernelCase op_case(const char* op, std::string_view rows, std::string shape) const {
    return {.result = {.op = op,
                       .format = std::string(rows),
                       .shape = std::move(shape),
                       .tokens = tokens_,
                       .bytes_per_s = {},
                       .operations_per_s = {},
                       .bound = Bound::None,
                       .fraction_of_limit = {}},
            .run = {}};
  }

  // Of an op that moves numbers; they lie in caches, so no limit is known.
  void measure_moving(const char* op,
                      std::string shape,
                      Index num_numbers,
                      const std::function<void()>& run) const {
    KernelCase kernel = op_case(op, "-", std::move(shape));
    kernel.work = static_cast<double>(num_numbers * kFp32Bytes);
    kernel.is_bytes = true;
    kernel.run = [&](Index /*idx*/) { run(); };
    measure_(kernel);
  }

  // Of an op that computes with rows of a cache.
  void measure_computing(const char* op,
                         tensor::DType rows,
                         std::string shape,
                         Bound bound,
                         double num_operations,
                         const std::function<void()>& run) const {
    KernelCase kernel = op_case(op, tensor::to_string(rows), std::move(shape));
    kernel.result.bound = bound;
    kernel.work = num_operations;
    kernel.run = [&](Index /*idx*/) { run(); };
    measure_(kernel);
  }

  void rms_norm() {
    const tensor::Arena::Scope scope(context_.arena);
    const Index width = config_.hidden_size;
    const Tensor x = activations(context_, {tokens_, width});
    const std::vector<float> weight(to_size(width), 1);
    measure_moving("rms_norm", shape_text({width}), 2 * tokens_ * width,
                   [&] { ops::rms_norm(context_, x, weight, config_.norm_epsilon); });
  }

  // Control numbers, collapse and merge of one sub-block, behind the product with its matrix.
  void hyper_connection() {
    const Index num_streams = config_.num_streams;
    const tensor::Arena::Scope scope(context_.arena);
    const Index width = config_.hidden_size;
    const Tensor streams = activations(context_, {tokens_, num_streams, width});
    const Tensor products = activations(context_, {tokens_, config_.num_mixes()});
    const Tensor y = activations(context_, {tokens_, width});
    const std::vector<float> scale(3, 0.1F);
    const std::vector<float> base(to_size(config_.num_mixes()), 0);
    // Streams are read three times and written once, their collapse is written, y is read.
    measure_moving("hyper_connection", shape_text({num_streams, width}),
                   tokens_ * width * (4 * num_streams + 2), [&] {
                     const ops::HyperControl control =
                         ops::hyper_control(context_, products, streams,
                                            {.scale = scale,
                                             .base = base,
                                             .epsilon = config_.hyper_epsilon,
                                             .norm_epsilon = config_.norm_epsilon,
                                             .iterations = config_.sinkhorn_iterations});
                     ops::hyper_collapse(context_, streams, control.pre);
                     ops::hyper_merge(context_, streams, control, y);
                   });
  }

  Tensor router_logits() { return activations(context_, {tokens_, config_.num_experts}); }

  ops::Routes routes(const Tensor& logits) {
    return ops::route_top_k(context_, logits, router_bias_, config_.num_experts_per_token,
                            config_.route_scale);
  }

  // From the products with the router's matrix to the sorted slots.
  void route() {
    const tensor::Arena::Scope scope(context_.arena);
    const Index num_experts = config_.num_experts;
    const Index num_chosen = config_.num_experts_per_token;
    const Tensor logits = router_logits();
    measure_moving("route", shape_text({num_experts, num_chosen}),
                   tokens_ * (num_experts + 2 * num_chosen),
                   [&] { ops::sort_by_expert(context_, routes(logits).ids, num_experts); });
  }

  void swiglu(Index slots_per_token, Index width) {
    const tensor::Arena::Scope scope(context_.arena);
    const Index num_slots = tokens_ * slots_per_token;
    // The result takes the gate's memory, run after run: with these it neither fades into numbers
    // that processors are slow at, nor does it vary.
    const Tensor gate = numbers(context_, {num_slots, width}, [](Index) { return 10.0; });
    const Tensor up = numbers(context_, {num_slots, width}, [](Index) { return 1.001; });
    const double limit = config_.layers.front().swiglu_limit;
    measure_moving("swiglu", shape_text({slots_per_token, width}), 3 * num_slots * width,
                   [&] { ops::swiglu(context_, gate, up, {}, limit); });
  }

  void combine_experts() {
    const tensor::Arena::Scope scope(context_.arena);
    const Index num_chosen = config_.num_experts_per_token;
    const Index width = config_.hidden_size;
    const ops::ExpertSlots sorted =
        ops::sort_by_expert(context_, routes(router_logits()).ids, config_.num_experts);
    const Tensor slots = activations(context_, {tokens_ * num_chosen, width});
    const Tensor shared = activations(context_, {tokens_, width});
    measure_moving("combine_experts", shape_text({num_chosen, width}),
                   tokens_ * width * (num_chosen + 2),
                   [&] { ops::combine_experts(context_, slots, sorted.slot_of, shared); });
  }

  // The blocks that so many tokens complete, at least one.
  void compress_pools() {
    std::set<std::pair<AttentionKind, Index>> kinds;
    for (const config::LayerConfig& layer : config_.layers) {
      if (layer.compress_ratio > 0 &&
          kinds.insert({layer.attention, layer.compress_ratio}).second) {
        compress_pool(layer);
      }
    }
  }

  void compress_pool(const config::LayerConfig& layer) {
    const Index block_tokens = layer.compress_ratio;
    const bool has_overlap = layer.attention == AttentionKind::CompressedSparse;
    const Index num_blocks = std::max<Index>(1, tokens_ / block_tokens);
    const Index width = config_.compressor_width(layer.attention, config_.head_dim);
    // A block reads a value and a gate of each of its tokens; with overlap also of those before.
    const kv::RowStore rows = cached_rows(context_, StreamKind::CompressorInput,
                                          (1 + num_blocks) * block_tokens, 2 * width);
    measure_moving("compress_pool", shape_text({block_tokens, config_.head_dim}),
                   num_blocks * (block_tokens * 2 * width + config_.head_dim), [&] {
                     ops::compress_pool(context_, rows.view(), 1, num_blocks, block_tokens,
                                        has_overlap);
                   });
  }

  Index num_blocks() const {
    const auto indexed = std::find_if(config_.layers.begin(), config_.layers.end(),
                                      [](const config::LayerConfig& layer) {
                                        return layer.attention == AttentionKind::CompressedSparse;
                                      });
    return indexed == config_.layers.end() ? 0 : kContextTokens / indexed->compress_ratio;
  }

  // Scores of all blocks of the context, and the best of them.
  void index_select() {
    const tensor::Arena::Scope scope(context_.arena);
    const Index num_heads = config_.num_index_heads;
    const Index width = config_.index_head_dim;
    const kv::RowStore keys = cached_rows(context_, StreamKind::IndexKey, num_blocks(), width);
    const ops::IndexerScores scores = {.query = activations(context_, {tokens_, num_heads * width}),
                                       .weight = activations(context_, {tokens_, num_heads}),
                                       .keys = keys.view(),
                                       .first_keys = {}};
    const std::vector<Index> num_visible(to_size(tokens_), keys.num_rows());
    const bool has_codes = scores.keys.dtype == tensor::DType::Int16Row;
    measure_computing(
        has_codes ? "int16_index_select" : "index_select", scores.keys.dtype,
        shape_text({num_heads, width, keys.num_rows()}), has_codes ? Bound::Int8 : Bound::Fp32,
        2.0 * static_cast<double>(tokens_ * keys.num_rows() * num_heads * (width + 1)),
        [&] { ops::index_select(context_, scores, num_visible, config_.index_top_k); });
  }

  // Rows from all over the context, others for every token.
  Tensor spread_blocks(Index num_chosen) {
    const Tensor chosen =
        Tensor::allocate(context_.arena, tensor::DType::I32, {tokens_, num_chosen});
    const Index stride = std::max<Index>(1, num_blocks() / num_chosen);
    for (Index token = 0; token < tokens_; ++token) {
      std::int32_t* const row = chosen.matrix<std::int32_t>().row(token);
      for (Index idx = 0; idx < num_chosen; ++idx) {
        row[idx] = static_cast<std::int32_t>(idx * stride + token % stride);
      }
    }
    return chosen;
  }

  double attention_operations(Index rows) const {
    return 4.0 * static_cast<double>(tokens_ * config_.num_heads * config_.head_dim * rows);
  }

  // A full window and as many compressed rows as the index chooses.
  void sink_attention() {
    const tensor::Arena::Scope scope(context_.arena);
    const Index width = config_.head_dim;
    const Index num_heads = config_.num_heads;
    const Index num_chosen = std::min(config_.index_top_k, num_blocks());
    const Tensor query = activations(context_, {tokens_, num_heads * width});
    const kv::RowStore window = cached_rows(context_, StreamKind::Window, config_.window, width);
    const kv::RowStore compressed =
        cached_rows(context_, StreamKind::Compressed, num_blocks(), width);
    const std::vector<ops::VisibleRows> visible(to_size(tokens_), {0, config_.window, num_chosen});
    const std::vector<float> sink(to_size(num_heads), 0);
    const ops::SinkAttention attention = {
        .query = query,
        .window = window.view(),
        .compressed = compressed.view(),
        .selected = num_chosen > 0 ? spread_blocks(num_chosen) : Tensor{},
        .visible = visible,
        .sink = sink,
        .scale = 1 / std::sqrt(static_cast<double>(width)),
        .out = context_.allocate(query.shape())};
    const Index rows = config_.window + num_chosen;
    measure_computing("sink_attention", attention.window.dtype,
                      shape_text({num_heads, width, rows}), Bound::Fp32, attention_operations(rows),
                      [&] { ops::sink_attention(context_, attention); });
  }

  void grouped_attention() {
    const tensor::Arena::Scope scope(context_.arena);
    const Index head_dim = config_.head_dim;
    const Index width = config_.num_key_value_heads * head_dim;
    const Tensor query = activations(context_, {tokens_, config_.num_heads * head_dim});
    const kv::RowStore keys = cached_rows(context_, StreamKind::Key, kAttentionRows, width);
    const kv::RowStore values = cached_rows(context_, StreamKind::Value, kAttentionRows, width);
    const std::vector<Index> num_visible(to_size(tokens_), kAttentionRows);
    const ops::GroupedAttention attention = {.query = query,
                                             .keys = keys.view(),
                                             .values = values.view(),
                                             .num_visible = num_visible,
                                             .head_dim = head_dim,
                                             .scale = 1 / std::sqrt(static_cast<double>(head_dim)),
                                             .out = context_.allocate(query.shape())};
    measure_computing("grouped_attention", attention.keys.dtype,
                      shape_text({config_.num_heads, head_dim, kAttentionRows}), Bound::Fp32,
                      attention_operations(kAttentionRows), [&] {
                        ops::grouped_attention(context_, {&attention, 1});
                      });
  }

  ops::Context& context_;
  const config::ModelConfig& config_;
  Index tokens_;
  const MeasureKernel& measure_;
  std::vector<float> router_bias_;
};

}  // namespace

void measure_ops(ops::Context& context,
                 const config::ModelConfig& config,
                 Index tokens,
                 const MeasureKernel& measure) {
  OpBench(context, config, tokens, measure).run();
}

}  // namespace fathom::bench
