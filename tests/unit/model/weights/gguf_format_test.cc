#include "fathom/model/weights/gguf_format.h"

#include <set>

#include <gtest/gtest.h>

namespace fathom::weights {
namespace {

using numeric::WeightFormat;

TEST(GgufFormat, TypesAndFormatsAreOneToOneButForThePairsOfOfficialCheckpoints) {
  std::set<int> types;
  for (int i = 0; i <= static_cast<int>(WeightFormat::IQ4_XS); ++i) {
    const auto format = static_cast<WeightFormat>(i);
    const auto type = find_gguf_type(format);
    if (format == WeightFormat::Fp8 || format == WeightFormat::Fp4) {
      // Their scales are tensors of their own, which GGUF has no type for.
      EXPECT_FALSE(type.has_value()) << numeric::to_string(format);
      continue;
    }
    ASSERT_TRUE(type.has_value()) << numeric::to_string(format);
    EXPECT_TRUE(types.insert(static_cast<int>(*type)).second);
    EXPECT_EQ(find_weight_format(*type), format);
  }
  EXPECT_EQ(types.size(), 25U);
}

}  // namespace
}  // namespace fathom::weights
