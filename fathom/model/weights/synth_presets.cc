#include "fathom/model/weights/synth_presets.h"

#include <array>

#include "fathom/base/core/error.h"
#include "fathom/model/config/deepseek_v4_facts.h"
#include "fathom/model/config/llama_facts.h"
#include "fathom/model/config/read_config.h"

namespace fathom::weights {
namespace {

using config::ModelConfig;

// The ratio of the layers after the first ones alternates between 4 and 128.
struct PresetRow {
  std::string_view name;
  Index hidden_size;
  Index num_layers;
  Index num_window_layers;  // the first ones
  Index num_mtp;
  Index num_heads;
  Index head_dim;
  Index query_rank;
  Index num_output_groups;
  Index output_rank;
  Index num_experts;
  Index num_experts_per_token;
  Index expert_hidden;
  Index num_index_heads;
  Index index_top_k;
  Index vocab_size;
  Index window;
};

// clang-format off
constexpr auto kPresets = std::to_array<PresetRow>({
    //         D     L   SWA MTP H   C    q     G  rank E   K  I     idx top  V     W
    {"tiny",   256,  5,  1,  1,  4,  128, 128,  2, 128, 8,  2, 128,  24, 16,  1024, 32},
    {"mini",   384,  6,  2,  1,  6,  128, 128,  2, 128, 16, 3, 128,  4,  64,  8192, 64},
    {"small",  1024, 8,  2,  0,  16, 256, 512,  4, 256, 32, 6, 512,  16, 128, 4096, 128},
    {"mid",    2048, 12, 2,  0,  32, 512, 1024, 8, 512, 64, 6, 1024, 32, 512, 8192, 128},
});
// clang-format on

// One dense family: plain matrices in BF16.
struct LlamaRow {
  std::string_view name;
  Index hidden_size;
  Index num_layers;
  Index num_heads;
  Index num_key_value_heads;
  Index mlp_hidden;
  Index vocab_size;
};

constexpr auto kLlamaPresets = std::to_array<LlamaRow>({
    {"llama-tiny", 192, 4, 6, 2, 512, 1024},
});

constexpr std::string_view kFlashSlice = "flash-slice";
constexpr Index kFlashSliceLayers = 4;
constexpr Index kFlashSliceVocab = 8192;
constexpr Index kNumHashLayers = 2;

ModelConfig config_of(const PresetRow& row) {
  ModelConfig config;
  config.vocab_size = row.vocab_size;
  config.hidden_size = row.hidden_size;
  config.max_context = 65536;
  config.num_heads = row.num_heads;
  config.head_dim = row.head_dim;
  config.rope_dim = 64;
  config.query_rank = row.query_rank;
  config.window = row.window;
  config.num_output_groups = row.num_output_groups;
  config.output_rank = row.output_rank;
  config.num_index_heads = row.num_index_heads;
  config.index_head_dim = 128;
  config.index_top_k = row.index_top_k;
  config.num_experts = row.num_experts;
  config.num_shared_experts = 1;
  config.num_experts_per_token = row.num_experts_per_token;
  config.expert_hidden = row.expert_hidden;
  config.num_hash_layers = kNumHashLayers;
  config.route_scale = 1.5;
  config.num_streams = 4;
  config.sinkhorn_iterations = 20;
  config.hyper_epsilon = 1e-6;
  config.norm_epsilon = 1e-6;
  config.bos_token = 1;  // of the vocabulary in a GGUF
  config.eos_token = 2;
  config::Schedule schedule;
  for (Index layer_idx = 0; layer_idx < row.num_layers; ++layer_idx) {
    const Index compressed_idx = layer_idx - row.num_window_layers;
    schedule.ratios.push_back(compressed_idx < 0 ? 0 : compressed_idx % 2 == 0 ? 4 : 128);
  }
  schedule.ratios.push_back(0);
  schedule.routers = config::leading_hash_routers(kNumHashLayers, row.num_layers);
  schedule.num_mtp = row.num_mtp;
  schedule.plain_rope.base = 10000;
  schedule.compressed_rope.base = 160000;
  schedule.compressed_rope.yarn = {
      .factor = 16, .original_context = 65536, .beta_fast = 32, .beta_slow = 1};
  schedule.swiglu_limits.assign(schedule.ratios.size(), 10.0);
  schedule.shared_swiglu_limits = schedule.swiglu_limits;
  const std::string source = "preset " + std::string(row.name);
  config::set_layers(config, schedule, {"num_layers", "num_mtp", "ratios"}, source);
  config::check_contradictions(config, config::Dialect::ConfigJson, source);
  return config;
}

ModelConfig config_of(const LlamaRow& row) {
  ModelConfig config;
  config.family = config::Family::Llama;
  config.vocab_size = row.vocab_size;
  config.hidden_size = row.hidden_size;
  config.max_context = 8192;
  config.num_heads = row.num_heads;
  config.num_key_value_heads = row.num_key_value_heads;
  config.head_dim = row.hidden_size / row.num_heads;
  config.mlp_hidden = row.mlp_hidden;
  config.norm_epsilon = 1e-5;
  config.is_head_tied = true;
  config.bos_token = 1;  // of the vocabulary in a GGUF
  config.eos_token = 2;
  config::RopeConfig rope;
  rope.base = 100000;
  rope.pairs = config::RopePairs::Halves;
  config::set_llama_layers(config, row.num_layers, rope);
  config::check_llama(config, config::Dialect::ConfigJson, "preset " + std::string(row.name));
  return config;
}

ModelConfig flash_slice() {
  std::optional<config::ParsedConfig> flash = config::find_builtin_config("v4-flash");
  FATHOM_CHECK(flash.has_value());
  ModelConfig config = std::move(flash->model);
  config.layers.resize(to_size(kFlashSliceLayers));
  config.mtp_layers.clear();
  config.vocab_size = kFlashSliceVocab;
  return config;
}

}  // namespace

std::optional<SynthPreset> find_synth_preset(std::string_view name) {
  const config::StoragePlan storage = config::storage_plan_from_name("fp4");
  if (name == kFlashSlice) {
    return SynthPreset{flash_slice(), storage};
  }
  for (const PresetRow& row : kPresets) {
    if (row.name == name) {
      return SynthPreset{config_of(row), storage};
    }
  }
  for (const LlamaRow& row : kLlamaPresets) {
    if (row.name == name) {
      return SynthPreset{config_of(row), config::storage_plan_from_name("bf16")};
    }
  }
  return std::nullopt;
}

std::vector<std::string_view> synth_preset_names() {
  std::vector<std::string_view> names;
  for (const PresetRow& row : kPresets) {
    names.push_back(row.name);
  }
  names.push_back(kFlashSlice);
  for (const LlamaRow& row : kLlamaPresets) {
    names.push_back(row.name);
  }
  return names;
}

}  // namespace fathom::weights
