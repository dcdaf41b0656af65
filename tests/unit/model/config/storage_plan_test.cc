#include "fathom/model/config/storage_plan.h"

#include <gtest/gtest.h>

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

using numeric::ScaleFormat;
using numeric::WeightFormat;

TEST(StoragePlan, NamesAreTheOfficialLayoutsAndFloat32) {
  EXPECT_EQ(storage_plan_from_name("fp4"),
            (StoragePlan{WeightFormat::Fp4, WeightFormat::Fp8, ScaleFormat::E8M0}));
  EXPECT_EQ(storage_plan_from_name("fp8"),
            (StoragePlan{WeightFormat::Fp8, WeightFormat::Fp8, ScaleFormat::F32}));
  EXPECT_EQ(storage_plan_from_name("bf16"),
            (StoragePlan{WeightFormat::BF16, WeightFormat::BF16, ScaleFormat::None}));
  EXPECT_EQ(storage_plan_from_name("f32"),
            (StoragePlan{WeightFormat::F32, WeightFormat::F32, ScaleFormat::None}));
  testing::expect_error([] { storage_plan_from_name("int4"); }, ErrorCode::InvalidArgument,
                        {"storage: expected fp4, fp8, bf16 or f32, found \"int4\""});
}

TEST(StoragePlan, NamesAndFormatsAgreeBothWays) {
  for (const std::string_view name : {"fp4", "fp8", "bf16", "f32"}) {
    EXPECT_EQ(find_config_format_name(find_config_format(name).value()), name);
  }
  EXPECT_FALSE(find_config_format("FP4").has_value());
  EXPECT_FALSE(find_config_format_name(WeightFormat::Q8_0).has_value());
}

}  // namespace
}  // namespace fathom::config
