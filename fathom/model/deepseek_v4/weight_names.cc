#include "fathom/model/deepseek_v4/weight_names.h"

#include <array>
#include <map>
#include <string>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/model/weights/name_parts.h"

namespace fathom::deepseek_v4 {
namespace {

using config::Block;
using config::WeightKey;
using config::WeightRole;
using weights::consume;
using weights::consume_number;
using weights::Dialect;
using weights::TensorName;

// A leaf is the name without the prefix of its block; * stands for an expert's number. Leaves of
// Block::Layer are the same inside an MTP block. Two roles with one leaf share the tensor: the
// first has the first half of its rows. An empty leaf: the dialect has no such tensor.
struct NameRow {
  Block block;
  WeightRole role;
  std::string_view official;
  std::string_view transformers;
  std::string_view gguf;
};

using R = WeightRole;
// clang-format off
constexpr NameRow kNames[] = {
    {Block::Model, R::Embedding,    "embed.weight",  "embed_tokens.weight", "token_embd.weight"},
    {Block::Model, R::FinalNorm,    "norm.weight",   "norm.weight",         "output_norm.weight"},
    {Block::Model, R::Head,         "head.weight",   "lm_head.weight",      "output.weight"},
    {Block::Model, R::HeadMixFn,    "hc_head_fn",    "hc_head.hc_fn",       "output_hc_fn.weight"},
    {Block::Model, R::HeadMixBase,  "hc_head_base",  "hc_head.hc_base",     "output_hc_base.weight"},
    {Block::Model, R::HeadMixScale, "hc_head_scale", "hc_head.hc_scale",    "output_hc_scale.weight"},

    {Block::Mtp, R::FinalNorm,              "norm.weight",   "", "norm.weight"},
    {Block::Mtp, R::HeadMixFn,              "hc_head_fn",    "", "hc_head_fn.weight"},
    {Block::Mtp, R::HeadMixBase,            "hc_head_base",  "", "hc_head_base.weight"},
    {Block::Mtp, R::HeadMixScale,           "hc_head_scale", "", "hc_head_scale.weight"},
    {Block::Mtp, R::MtpEmbeddingProjection, "e_proj.weight", "", "e_proj.weight"},
    {Block::Mtp, R::MtpHiddenProjection,    "h_proj.weight", "", "h_proj.weight"},
    {Block::Mtp, R::MtpEmbeddingNorm,       "enorm.weight",  "", "enorm.weight"},
    {Block::Mtp, R::MtpHiddenNorm,          "hnorm.weight",  "", "hnorm.weight"},

    {Block::Layer, R::AttentionMixFn,    "hc_attn_fn",       "attn_hc.fn",                      "hc_attn_fn.weight"},
    {Block::Layer, R::AttentionMixBase,  "hc_attn_base",     "attn_hc.base",                    "hc_attn_base.weight"},
    {Block::Layer, R::AttentionMixScale, "hc_attn_scale",    "attn_hc.scale",                   "hc_attn_scale.weight"},
    {Block::Layer, R::ExpertMixFn,       "hc_ffn_fn",        "ffn_hc.fn",                       "hc_ffn_fn.weight"},
    {Block::Layer, R::ExpertMixBase,     "hc_ffn_base",      "ffn_hc.base",                     "hc_ffn_base.weight"},
    {Block::Layer, R::ExpertMixScale,    "hc_ffn_scale",     "ffn_hc.scale",                    "hc_ffn_scale.weight"},
    {Block::Layer, R::AttentionNorm,     "attn_norm.weight", "input_layernorm.weight",          "attn_norm.weight"},
    {Block::Layer, R::FeedForwardNorm,        "ffn_norm.weight",  "post_attention_layernorm.weight", "ffn_norm.weight"},

    {Block::Layer, R::QueryDown,    "attn.wq_a.weight",    "self_attn.q_a_proj.weight", "attn_q_a.weight"},
    {Block::Layer, R::QueryNorm,    "attn.q_norm.weight",  "self_attn.q_a_norm.weight", "attn_q_a_norm.weight"},
    {Block::Layer, R::QueryUp,      "attn.wq_b.weight",    "self_attn.q_b_proj.weight", "attn_q_b.weight"},
    {Block::Layer, R::KeyValue,     "attn.wkv.weight",     "self_attn.kv_proj.weight",  "attn_kv.weight"},
    {Block::Layer, R::KeyValueNorm, "attn.kv_norm.weight", "self_attn.kv_norm.weight",  "attn_kv_a_norm.weight"},
    {Block::Layer, R::OutputDown,   "attn.wo_a.weight",    "self_attn.o_a_proj.weight", "attn_output_a.weight"},
    {Block::Layer, R::OutputUp,     "attn.wo_b.weight",    "self_attn.o_b_proj.weight", "attn_output_b.weight"},
    {Block::Layer, R::Sink,         "attn.attn_sink",      "self_attn.sinks",           "attn_sinks.weight"},

    {Block::Layer, R::CompressorValue,        "attn.compressor.wkv.weight",   "self_attn.compressor.kv_proj.weight",   "attn_compressor_kv.weight"},
    {Block::Layer, R::CompressorGate,         "attn.compressor.wgate.weight", "self_attn.compressor.gate_proj.weight", "attn_compressor_gate.weight"},
    {Block::Layer, R::CompressorPositionBias, "attn.compressor.ape",          "self_attn.compressor.position_bias",    "attn_compressor_ape.weight"},
    {Block::Layer, R::CompressorNorm,         "attn.compressor.norm.weight",  "self_attn.compressor.kv_norm.weight",   "attn_compressor_norm.weight"},

    {Block::Layer, R::IndexerQueryUp,      "attn.indexer.wq_b.weight",             "self_attn.compressor.indexer.q_b_proj.weight",            "indexer.attn_q_b.weight"},
    {Block::Layer, R::IndexerHeadWeights,  "attn.indexer.weights_proj.weight",     "self_attn.compressor.indexer.scorer.weights_proj.weight", "indexer.proj.weight"},
    {Block::Layer, R::IndexerValue,        "attn.indexer.compressor.wkv.weight",   "self_attn.compressor.indexer.kv_proj.weight",             "indexer_compressor_kv.weight"},
    {Block::Layer, R::IndexerGate,         "attn.indexer.compressor.wgate.weight", "self_attn.compressor.indexer.gate_proj.weight",           "indexer_compressor_gate.weight"},
    {Block::Layer, R::IndexerPositionBias, "attn.indexer.compressor.ape",          "self_attn.compressor.indexer.position_bias",              "indexer_compressor_ape.weight"},
    {Block::Layer, R::IndexerNorm,         "attn.indexer.compressor.norm.weight",  "self_attn.compressor.indexer.kv_norm.weight",             "indexer_compressor_norm.weight"},

    {Block::Layer, R::RouterWeight, "ffn.gate.weight",  "mlp.gate.weight",                  "ffn_gate_inp.weight"},
    {Block::Layer, R::RouterBias,   "ffn.gate.bias",    "mlp.gate.e_score_correction_bias", "exp_probs_b.bias"},
    {Block::Layer, R::RouterTable,  "ffn.gate.tid2eid", "mlp.gate.tid2eid",                 "ffn_gate_tid2eid.weight"},

    {Block::Layer, R::ExpertGate, "ffn.experts.*.w1.weight",      "mlp.experts.gate_up_proj",            "ffn_gate_exps.weight"},
    {Block::Layer, R::ExpertUp,   "ffn.experts.*.w3.weight",      "mlp.experts.gate_up_proj",            "ffn_up_exps.weight"},
    {Block::Layer, R::ExpertDown, "ffn.experts.*.w2.weight",      "mlp.experts.down_proj",               "ffn_down_exps.weight"},
    {Block::Layer, R::SharedGate, "ffn.shared_experts.w1.weight", "mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight"},
    {Block::Layer, R::SharedUp,   "ffn.shared_experts.w3.weight", "mlp.shared_experts.up_proj.weight",   "ffn_up_shexp.weight"},
    {Block::Layer, R::SharedDown, "ffn.shared_experts.w2.weight", "mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight"},

    // Only read: transformers 5.23 writes the first, its early releases the second.
    {Block::Layer, R::KeyValueNorm,       "", "attn.norm.weight", ""},
    {Block::Layer, R::IndexerHeadWeights, "", "self_attn.compressor.indexer.weights_proj.weight", ""},
};

// Parts of a name between dots that stand for each other in any mixture: the tolerance of the
// official converter, and its continuation in transformers' names.
constexpr std::pair<std::string_view, std::string_view> kPartAliases[] = {
    {"self_attn", "attn"},
    {"mlp", "ffn"},
    {"embed_tokens", "embed"},
    {"lm_head", "head"},
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"q_a_proj", "wq_a"},
    {"q_a_layernorm", "q_norm"},
    {"q_a_norm", "q_norm"},
    {"q_b_proj", "wq_b"},
    {"kv_proj", "wkv"},
    {"o_a_proj", "wo_a"},
    {"o_b_proj", "wo_b"},
    {"sinks", "attn_sink"},
    {"position_bias", "ape"},
    {"e_score_correction_bias", "bias"},
    {"gate_proj", "w1"},
    {"up_proj", "w3"},
    {"down_proj", "w2"},
};
// clang-format on

// The leaf with every part replaced by what it stands for.
std::string unify_parts(std::string_view leaf) {
  std::string unified;
  while (true) {
    const std::size_t dot = leaf.find('.');
    std::string_view part = leaf.substr(0, dot);
    for (const auto& [alias, meaning] : kPartAliases) {
      if (part == alias) {
        part = meaning;
        break;
      }
    }
    unified += part;
    if (dot == std::string_view::npos) {
      return unified;
    }
    unified += '.';
    leaf.remove_prefix(dot + 1);
  }
}

struct SplitName {
  Block block = Block::Model;
  Index layer_idx = -1;
  std::string leaf;
  Index expert_idx = -1;
};

std::optional<SplitName> split_name(std::string_view name) {
  SplitName split;
  consume(name, "model.");
  const bool is_layer = consume(name, "layers.") || consume(name, "blk.");
  if (is_layer || consume(name, "mtp.")) {
    const std::optional<Index> number = consume_number(name);
    if (!number) {
      return std::nullopt;
    }
    split.block = is_layer ? Block::Layer : Block::Mtp;
    split.layer_idx = *number;
  }
  constexpr std::string_view kExperts = ".experts.";
  const std::size_t experts = name.find(kExperts);
  if (experts != std::string_view::npos) {
    std::string_view rest = name.substr(experts + kExperts.size());
    if (const std::optional<Index> expert = consume_number(rest)) {
      split.expert_idx = *expert;
      split.leaf = name.substr(0, experts + kExperts.size());
      split.leaf.append("*.").append(rest);
      return split;
    }
  }
  split.leaf = name;
  return split;
}

// The leaf of the weights that a leaf of scales belongs to.
std::optional<std::string> weight_leaf_of_scale(std::string_view leaf) {
  for (const std::string_view suffix : {"_scale_inv", "_scale"}) {
    if (leaf.ends_with(suffix)) {
      return std::string(leaf.substr(0, leaf.size() - suffix.size()));
    }
  }
  constexpr std::string_view kScale = ".scale";
  if (leaf.ends_with(kScale)) {
    return std::string(leaf.substr(0, leaf.size() - kScale.size())) + ".weight";
  }
  return std::nullopt;
}

std::string block_prefix(Dialect dialect, const WeightKey& key) {
  const std::string number = std::to_string(key.layer_idx) + ".";
  switch (key.block) {
    case Block::Mtp:
      return "mtp." + number;
    case Block::Layer:
      return (dialect == Dialect::Gguf           ? "blk."
              : dialect == Dialect::Transformers ? "model.layers."
                                                 : "layers.") +
             number;
    case Block::Model:
      break;
  }
  return dialect == Dialect::Transformers && key.role != WeightRole::Head ? "model." : "";
}

const NameRow& row_of(const WeightKey& key) {
  for (const NameRow& row : kNames) {
    const bool is_there =
        row.block == key.block || (row.block == Block::Layer && key.block == Block::Mtp);
    if (row.role == key.role && is_there) {
      return row;
    }
  }
  fail(ErrorCode::Internal, "bug in Fathom: ", to_string(key.role), " has no name in this block");
}

class WeightNames final : public weights::NameMap {
 public:
  WeightNames() {
    for (const NameRow& row : kNames) {
      add(row, row.official, Dialect::Official);
      add(row, row.transformers, Dialect::Transformers);
      add(row, row.gguf, Dialect::Gguf);
    }
  }

  std::optional<TensorName> parse(std::string_view name) const override {
    const std::optional<SplitName> split = split_name(name);
    if (!split) {
      return std::nullopt;
    }
    const Meaning* meaning = find(split->block, split->leaf);
    const bool is_scale = meaning == nullptr;
    if (is_scale) {
      const std::optional<std::string> weight_leaf = weight_leaf_of_scale(split->leaf);
      meaning = weight_leaf ? find(split->block, *weight_leaf) : nullptr;
    }
    if (meaning == nullptr) {
      return std::nullopt;
    }
    TensorName found;
    found.key = {meaning->role, split->block, split->layer_idx};
    found.expert_idx = split->expert_idx;
    found.is_scale = is_scale;
    found.second_role = meaning->second_role;
    found.dialect = meaning->dialect;
    return found;
  }

  bool is_ignored(std::string_view name) const override {
    if (name.ends_with("inv_freq") || name.starts_with("rope_freqs") ||
        name.starts_with("rope_factors") || name.find(".nextn.") != std::string_view::npos) {
      return true;  // nextn: llama.cpp's MTP block, in a form of its own
    }
    // The first checkpoints repeat the embedding and the head inside the MTP block.
    consume(name, "model.");
    return name.starts_with("mtp.") &&
           (name.find("emb") != std::string_view::npos || name.ends_with("head.weight") ||
            name.ends_with("head.scale"));
  }

  std::string name(Dialect dialect, const WeightKey& key, Index expert_idx) const override {
    const NameRow& row = row_of(key);
    std::string_view leaf = dialect == Dialect::Gguf           ? row.gguf
                            : dialect == Dialect::Transformers ? row.transformers
                                                               : row.official;
    if (leaf.empty()) {
      leaf = row.official;
    }
    std::string text = block_prefix(dialect, key);
    const std::size_t star = leaf.find('*');
    if (star == std::string_view::npos) {
      return text.append(leaf);
    }
    return text.append(leaf.substr(0, star))
        .append(std::to_string(expert_idx))
        .append(leaf.substr(star + 1));
  }

  std::string scale_name(std::string_view weight_name) const override {
    constexpr std::string_view kWeight = ".weight";
    if (weight_name.ends_with(kWeight)) {
      weight_name.remove_suffix(kWeight.size());
    }
    return std::string(weight_name) + ".scale";
  }

 private:
  struct Meaning {
    WeightRole role;
    std::optional<WeightRole> second_role;
    Dialect dialect;
  };
  using Leaves = std::map<std::string, Meaning, std::less<>>;

  void add(const NameRow& row, std::string_view leaf, Dialect dialect) {
    if (leaf.empty()) {
      return;
    }
    Leaves& leaves = row.block == Block::Model ? model_ : row.block == Block::Mtp ? mtp_ : layer_;
    for (const std::string& spelling : {std::string(leaf), unify_parts(leaf)}) {
      const auto [at, is_added] = leaves.try_emplace(spelling, Meaning{row.role, {}, dialect});
      if (!is_added && at->second.role != row.role) {
        at->second.second_role = row.role;
      }
    }
  }

  static const Meaning* find_in(const Leaves& leaves, std::string_view leaf) {
    auto at = leaves.find(leaf);
    if (at == leaves.end()) {
      at = leaves.find(unify_parts(leaf));
    }
    return at == leaves.end() ? nullptr : &at->second;
  }

  const Meaning* find(Block block, std::string_view leaf) const {
    if (block == Block::Model) {
      return find_in(model_, leaf);
    }
    const Meaning* meaning = find_in(layer_, leaf);
    return meaning == nullptr && block == Block::Mtp ? find_in(mtp_, leaf) : meaning;
  }

  Leaves model_;
  Leaves layer_;
  Leaves mtp_;
};

}  // namespace

const weights::NameMap& weight_names() {
  static const WeightNames kNames;
  return kNames;
}

}  // namespace fathom::deepseek_v4
