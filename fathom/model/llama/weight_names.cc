#include "fathom/model/llama/weight_names.h"

#include <array>

#include "fathom/base/core/error.h"
#include "fathom/model/weights/name_parts.h"

namespace fathom::llama {
namespace {

using config::Block;
using config::WeightKey;
using config::WeightRole;
using weights::Dialect;
using weights::TensorName;

// Names without the prefix of their layer. An empty one: the container has no such tensor.
struct NameRow {
  Block block;
  WeightRole role;
  std::string_view transformers;
  std::string_view gguf;
};

using R = WeightRole;
// clang-format off
constexpr auto kNames = std::to_array<NameRow>({
    {Block::Model, R::Embedding,    "model.embed_tokens.weight", "token_embd.weight"},
    {Block::Model, R::FinalNorm,    "model.norm.weight",         "output_norm.weight"},
    {Block::Model, R::Head,         "lm_head.weight",            "output.weight"},
    {Block::Model, R::RopeDivisors, "",                          "rope_freqs.weight"},

    {Block::Layer, R::AttentionNorm,   "input_layernorm.weight",          "attn_norm.weight"},
    {Block::Layer, R::FeedForwardNorm, "post_attention_layernorm.weight", "ffn_norm.weight"},
    {Block::Layer, R::Query,           "self_attn.q_proj.weight",         "attn_q.weight"},
    {Block::Layer, R::Key,             "self_attn.k_proj.weight",         "attn_k.weight"},
    {Block::Layer, R::Value,           "self_attn.v_proj.weight",         "attn_v.weight"},
    {Block::Layer, R::Output,          "self_attn.o_proj.weight",         "attn_output.weight"},
    {Block::Layer, R::MlpGate,         "mlp.gate_proj.weight",            "ffn_gate.weight"},
    {Block::Layer, R::MlpUp,           "mlp.up_proj.weight",              "ffn_up.weight"},
    {Block::Layer, R::MlpDown,         "mlp.down_proj.weight",            "ffn_down.weight"},
});
// clang-format on

class WeightNames final : public weights::NameMap {
 public:
  std::optional<TensorName> parse(std::string_view name) const override {
    WeightKey key{.role = {}, .block = Block::Model, .layer_idx = -1};
    std::string_view leaf = name;
    if (weights::consume(leaf, "model.layers.") || weights::consume(leaf, "blk.")) {
      const std::optional<Index> number = weights::consume_number(leaf);
      if (!number) {
        return std::nullopt;
      }
      key.block = Block::Layer;
      key.layer_idx = *number;
    }
    for (const NameRow& row : kNames) {
      if (row.block == key.block && !leaf.empty() &&
          (leaf == row.transformers || leaf == row.gguf)) {
        key.role = row.role;
        TensorName found;
        found.key = key;
        found.dialect = leaf == row.gguf ? Dialect::Gguf : Dialect::Official;
        return found;
      }
    }
    return std::nullopt;
  }

  // Tables that old files of transformers carry; they follow from the config.
  bool is_ignored(std::string_view name) const override { return name.ends_with("inv_freq"); }

  std::string name(Dialect dialect, const WeightKey& key, Index /*expert_idx*/) const override {
    const bool is_gguf = dialect == Dialect::Gguf;
    for (const NameRow& row : kNames) {
      if (row.block == key.block && row.role == key.role) {
        const std::string_view leaf =
            is_gguf || row.transformers.empty() ? row.gguf : row.transformers;
        const std::string prefix =
            key.block == Block::Model
                ? ""
                : (is_gguf ? "blk." : "model.layers.") + std::to_string(key.layer_idx) + ".";
        return prefix + std::string(leaf);
      }
    }
    fail(ErrorCode::Internal, "bug in Fathom: ", to_string(key.role), " has no name in this block");
  }

  // As transformers writes block scales; no such file is read (the config refuses it).
  std::string scale_name(std::string_view weight_name) const override {
    return std::string(weight_name) + "_scale_inv";
  }
};

}  // namespace

const weights::NameMap& weight_names() {
  static const WeightNames kNames;
  return kNames;
}

}  // namespace fathom::llama
