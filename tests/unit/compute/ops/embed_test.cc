#include "fathom/compute/ops/embed.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

class Embed : public OpTest {
 protected:
  const std::vector<float> values_ = {1, 2, 3, 4, 5, 6};
  numeric::WeightView table() const {
    numeric::WeightView view;
    view.rows = 3;
    view.columns = 2;
    view.data = reinterpret_cast<const std::byte*>(values_.data());
    view.row_stride_bytes = 8;
    return view;
  }
};

TEST_F(Embed, GivesTheRowOfEveryToken) {
  const std::vector<std::int32_t> tokens = {2, 0, 2};
  EXPECT_EQ(numbers(embed(context(), table(), tokens)), (std::vector<float>{5, 6, 1, 2, 5, 6}));
}

TEST_F(Embed, TokenOutsideTheVocabularyIsRefusedWithItsPlace) {
  for (const std::int32_t bad : {3, -1}) {
    const std::vector<std::int32_t> tokens = {0, bad};
    EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument,
                                    "token 1 of the step: id " + std::to_string(bad) +
                                        ", expected 0 to 2 (the vocabulary has 3 tokens)",
                                    [&] { embed(context(), table(), tokens); }));
  }
}

TEST(EmbedGradient, MeetsCentralDifferencesForTokensThatRepeat) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    testing::GradientCheck check(seed);
    const auto& table = check.add_parameter("table", check.between(2, 6), check.between(1, 9));
    std::vector<std::int32_t> tokens(to_size(check.between(1, 9)));
    for (std::int32_t& token : tokens) {
      token = static_cast<std::int32_t>(check.between(0, table.rows - 1));
    }
    EXPECT_TRUE(check.check([&](Context& context) {
      return std::vector{embed(context, testing::GradientCheck::view(table), tokens)};
    })) << "seed "
        << seed;
  }
}

}  // namespace
}  // namespace fathom::ops
