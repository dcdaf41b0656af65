#include "fathom/model/weights/official_layout.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "fathom/model/config/read_config.h"
#include "fathom/model/deepseek_v4/weight_names.h"
#include "fathom/model/weights/synth_presets.h"

#include "tests/support/expect_error.h"

namespace fathom::weights {
namespace {

using formats::SafetensorsDType;
using numeric::WeightFormat;

OfficialLayout layout_of(std::string_view storage) {
  const SynthPreset preset = *find_synth_preset("tiny");
  return official_layout(preset.config, config::storage_plan_from_name(storage),
                         deepseek_v4::weight_names());
}

const OfficialMatrix& matrix_of(const OfficialLayout& layout, std::string_view name) {
  const auto found = std::find_if(layout.matrices.begin(), layout.matrices.end(),
                                  [&](const auto& matrix) { return matrix.name == name; });
  FATHOM_CHECK(found != layout.matrices.end());
  return *found;
}

TEST(OfficialLayout, EveryMatrixHasItsTensorAndScales) {
  for (const std::string_view storage : {"fp4", "fp8", "bf16", "f32"}) {
    const OfficialLayout layout = layout_of(storage);
    std::size_t num_tensors = 0;
    for (const OfficialMatrix& matrix : layout.matrices) {
      EXPECT_EQ(layout.tensors[to_size(matrix.tensor_idx)].name, matrix.name);
      ++num_tensors;
      const bool has_scales =
          matrix.format == WeightFormat::Fp4 || matrix.format == WeightFormat::Fp8;
      EXPECT_EQ(matrix.scale_tensor_idx >= 0, has_scales) << matrix.name;
      if (has_scales) {
        EXPECT_EQ(layout.tensors[to_size(matrix.scale_tensor_idx)].name,
                  deepseek_v4::weight_names().scale_name(matrix.name));
        ++num_tensors;
      }
    }
    EXPECT_EQ(num_tensors, layout.tensors.size());
  }
}

TEST(OfficialLayout, FormatsAreThoseOfAnOfficialRelease) {
  const OfficialLayout layout = layout_of("fp4");
  const auto dtype = [&](std::string_view name) {
    return layout.tensors[to_size(matrix_of(layout, name).tensor_idx)].dtype;
  };
  EXPECT_EQ(dtype("layers.0.ffn.experts.1.w2.weight"), SafetensorsDType::I8);
  EXPECT_EQ(dtype("layers.0.attn.wq_a.weight"), SafetensorsDType::F8E4M3);
  EXPECT_EQ(dtype("embed.weight"), SafetensorsDType::BF16);
  EXPECT_EQ(dtype("layers.0.hc_attn_fn"), SafetensorsDType::F32);
  EXPECT_EQ(dtype("layers.0.ffn.gate.tid2eid"), SafetensorsDType::I64);
  EXPECT_FALSE(matrix_of(layout, "layers.0.ffn.gate.tid2eid").format.has_value());
}

TEST(OfficialLayout, ColumnsThatDoNotFitAreNamed) {
  config::ModelConfig config = find_synth_preset("tiny")->config;
  config.expert_hidden += 16;
  EXPECT_TRUE(testing::fails_with(
      ErrorCode::InvalidArgument, "ffn.experts.0.w2.weight: 144 columns, expected a multiple of 32",
      [&] {
        official_layout(config, config::storage_plan_from_name("fp4"), deepseek_v4::weight_names());
      }));
}

}  // namespace
}  // namespace fathom::weights
