#include "fathom/model/weights/gguf_format.h"

#include <gtest/gtest.h>

namespace fathom::weights {
namespace {

using formats::GgufType;
using numeric::WeightFormat;

TEST(GgufFormat, TypesAndFormatsMapOneToOneWithTheSameBlocks) {
  int num_formats = 0;
  for (int number = 0; number < 64; ++number) {
    const auto type = static_cast<GgufType>(number);
    const auto format = find_weight_format(type);
    if (!format) {
      continue;
    }
    ++num_formats;
    EXPECT_EQ(find_gguf_type(*format), type) << number;
    EXPECT_EQ(numeric::info(*format).block_columns, formats::gguf_type_info(type).block_columns);
    EXPECT_EQ(numeric::info(*format).block_bytes, formats::gguf_type_info(type).block_bytes);
  }
  EXPECT_EQ(num_formats, 25);  // every one that numeric decodes, but FP8 and FP4
}

TEST(GgufFormat, IntegersAndFormatsWithSeparateScalesHaveNoCounterpart) {
  EXPECT_FALSE(find_weight_format(GgufType::I32).has_value());
  EXPECT_FALSE(find_weight_format(GgufType::F64).has_value());
  EXPECT_FALSE(find_gguf_type(WeightFormat::Fp8).has_value());
  EXPECT_FALSE(find_gguf_type(WeightFormat::Fp4).has_value());
}

}  // namespace
}  // namespace fathom::weights
