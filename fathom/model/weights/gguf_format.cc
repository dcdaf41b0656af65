#include "fathom/model/weights/gguf_format.h"

#include <array>

namespace fathom::weights {
namespace {

using formats::GgufType;
using numeric::WeightFormat;

struct FormatRow {
  GgufType type;
  WeightFormat format;
};

constexpr auto kFormats = std::to_array<FormatRow>({
    {GgufType::F32, WeightFormat::F32},         {GgufType::F16, WeightFormat::F16},
    {GgufType::BF16, WeightFormat::BF16},       {GgufType::MXFP4, WeightFormat::Mxfp4},
    {GgufType::Q4_0, WeightFormat::Q4_0},       {GgufType::Q4_1, WeightFormat::Q4_1},
    {GgufType::Q5_0, WeightFormat::Q5_0},       {GgufType::Q5_1, WeightFormat::Q5_1},
    {GgufType::Q8_0, WeightFormat::Q8_0},       {GgufType::Q2_K, WeightFormat::Q2_K},
    {GgufType::Q3_K, WeightFormat::Q3_K},       {GgufType::Q4_K, WeightFormat::Q4_K},
    {GgufType::Q5_K, WeightFormat::Q5_K},       {GgufType::Q6_K, WeightFormat::Q6_K},
    {GgufType::IQ1_S, WeightFormat::IQ1_S},     {GgufType::IQ1_M, WeightFormat::IQ1_M},
    {GgufType::IQ2_XXS, WeightFormat::IQ2_XXS}, {GgufType::IQ2_XS, WeightFormat::IQ2_XS},
    {GgufType::IQ2_S, WeightFormat::IQ2_S},     {GgufType::IQ3_XXS, WeightFormat::IQ3_XXS},
    {GgufType::IQ3_S, WeightFormat::IQ3_S},     {GgufType::IQ4_NL, WeightFormat::IQ4_NL},
    {GgufType::IQ4_XS, WeightFormat::IQ4_XS},   {GgufType::TQ1_0, WeightFormat::TQ1_0},
    {GgufType::TQ2_0, WeightFormat::TQ2_0},
});

}  // namespace

std::optional<WeightFormat> find_weight_format(GgufType type) {
  for (const FormatRow& row : kFormats) {
    if (row.type == type) {
      return row.format;
    }
  }
  return std::nullopt;
}

std::optional<GgufType> find_gguf_type(WeightFormat format) {
  for (const FormatRow& row : kFormats) {
    if (row.format == format) {
      return row.type;
    }
  }
  return std::nullopt;
}

}  // namespace fathom::weights
