#include "fathom/model/weights/synth_presets.h"

#include <set>

#include <gtest/gtest.h>

#include "fathom/model/config/footprint.h"
#include "fathom/model/config/weight_table.h"

namespace fathom::weights {
namespace {

using numeric::WeightFormat;

TEST(SynthPresets, TinyHasEveryKindOfLayerAndRouter) {
  const config::ModelConfig config = find_synth_preset("tiny")->config;
  std::set<config::AttentionKind> attentions;
  std::set<config::RouterKind> routers;
  for (const config::LayerConfig& layer : config.layers) {
    attentions.insert(layer.attention);
    routers.insert(layer.router);
  }
  EXPECT_EQ(attentions.size(), 3U);
  EXPECT_EQ(routers.size(), 2U);
  EXPECT_EQ(config.mtp_layers.size(), 1U);
  EXPECT_GE(config.num_index_heads, 24);
}

TEST(SynthPresets, FlashSliceHasTheTrueShapesAndTheStatedSize) {
  const SynthPreset preset = *find_synth_preset("flash-slice");
  EXPECT_EQ(preset.config.hidden_size, 4096);
  EXPECT_EQ(preset.config.num_layers(), 4);
  EXPECT_EQ(preset.config.layers[2].compress_ratio, 4);
  EXPECT_EQ(preset.config.layers[3].compress_ratio, 128);
  EXPECT_EQ(preset.config.layers[3].router, config::RouterKind::TopK);
  Index bytes = 0;
  for (const config::WeightSpec& spec : config::weight_table(preset.config)) {
    bytes += config::stored_bytes(spec, preset.storage);
  }
  EXPECT_NEAR(static_cast<double>(bytes), 14.3e9, 0.2e9);
}

TEST(SynthPresets, EveryNamedPresetIsThereAndNoOther) {
  for (const std::string_view name : synth_preset_names()) {
    ASSERT_TRUE(find_synth_preset(name).has_value()) << name;
    const bool is_dense = find_synth_preset(name)->config.num_experts == 0;
    EXPECT_EQ(find_synth_preset(name)->storage.experts,
              is_dense ? WeightFormat::BF16 : WeightFormat::Fp4);
  }
  EXPECT_FALSE(find_synth_preset("huge").has_value());
}

}  // namespace
}  // namespace fathom::weights
