#include "fathom/model/weights/synth_gguf.h"

#include <set>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/weights/synth_presets.h"

namespace fathom::weights {
namespace {

using formats::GgufType;

TEST(GgufMetadata, EveryPresetsConfigComesBackFromIt) {
  for (const std::string_view name : synth_preset_names()) {
    SynthPreset preset = *find_synth_preset(name);
    preset.config.mtp_layers.clear();
    const auto metadata = make_gguf_metadata(preset.config, std::string(name));
    const std::string bytes = formats::make_gguf_header(metadata, {}).header;
    const auto header = formats::parse_gguf_header(std::as_bytes(std::span(bytes)), "m.gguf");
    config::ModelConfig read = config::parse_gguf_config(header, "m.gguf").model;
    // GGUF files have the rows in an order of their own, which config.json cannot say.
    for (std::size_t idx = 0; idx < read.layers.size(); ++idx) {
      read.layers[idx].rope.pairs = preset.config.layers[idx].rope.pairs;
    }
    EXPECT_EQ(config::make_config_json(read, preset.storage),
              config::make_config_json(preset.config, preset.storage))
        << name;
    EXPECT_EQ(read.unknown_keys, std::vector<std::string>{});
  }
}

TEST(GgufMetadata, TheVocabularyIsOfTheModelsSizeWithoutDoubles) {
  const config::ModelConfig config = find_synth_preset("tiny")->config;
  for (const auto& value : make_gguf_metadata(config, "tiny")) {
    if (value.key == "tokenizer.ggml.tokens") {
      const auto& tokens = std::get<std::vector<std::string>>(value.value);
      EXPECT_EQ(to_index(tokens.size()), config.vocab_size);
      EXPECT_EQ(std::set<std::string>(tokens.begin(), tokens.end()).size(), tokens.size());
      EXPECT_EQ(tokens[3], "<0x00>");
      EXPECT_EQ(tokens[258], "<0xFF>");
      EXPECT_EQ(tokens[259], "\u2581a");
      EXPECT_EQ(tokens[259 + 26], "\u2581aa");
    }
  }
}

TEST(GgufMetadata, AVocabularyThatIsTooSmallIsRefused) {
  config::ModelConfig config = find_synth_preset("tiny")->config;
  config.vocab_size = 258;
  EXPECT_THROW(make_gguf_metadata(config, "tiny"), Error);
}

TEST(GgufTypes, FollowTheRoleAndThePlan) {
  const SynthPreset preset = *find_synth_preset("tiny");
  const config::StoragePlan bf16 = config::storage_plan_from_name("bf16");
  for (const config::WeightSpec& spec : config::weight_table(preset.config)) {
    const GgufType type = gguf_type_of(spec, preset.storage);
    switch (spec.key.role) {
      case config::WeightRole::Head:
      case config::WeightRole::KeyValue:
        EXPECT_EQ(type, GgufType::Q8_0);
        EXPECT_EQ(gguf_type_of(spec, bf16), GgufType::BF16);
        break;
      case config::WeightRole::ExpertDown:
        EXPECT_EQ(type, GgufType::MXFP4);
        EXPECT_EQ(gguf_type_of(spec, bf16), GgufType::BF16);
        break;
      case config::WeightRole::RouterWeight:
      case config::WeightRole::AttentionMixFn:
      case config::WeightRole::IndexerQueryUp:
        EXPECT_EQ(type, GgufType::F16);
        break;
      case config::WeightRole::RouterTable:
        EXPECT_EQ(type, GgufType::I32);
        break;
      case config::WeightRole::HeadMixFn:
      case config::WeightRole::Sink:
        EXPECT_EQ(type, GgufType::F32);
        break;
      default:
        break;
    }
  }
}

}  // namespace
}  // namespace fathom::weights
