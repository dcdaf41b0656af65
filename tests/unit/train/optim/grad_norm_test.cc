#include "fathom/train/optim/grad_norm.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "fathom/base/platform/thread_pool.h"

#include "tests/support/expect_error.h"
#include "tests/unit/train/optim/random_numbers.h"

namespace fathom::optim {
namespace {

using testing::fails_with;

const std::vector<Parameter> kParameters = {
    {.name = "embed.weight", .rows = 500, .columns = 300, .values = {}},
    {.name = "norm.weight", .rows = 1, .columns = 3, .values = {}},
};

double norm_of(const std::vector<std::vector<float>>& gradients, int num_threads = 2) {
  platform::ThreadPool pool({.num_threads = num_threads});
  const std::vector<std::span<const float>> spans(gradients.begin(), gradients.end());
  return gradient_norm(kParameters, spans, pool);
}

TEST(GradientNorm, IsTheLengthOfAllNumbersTogether) {
  EXPECT_EQ(norm_of({{}, {2, -3, 6}}), 7);
  EXPECT_EQ(norm_of({std::vector<float>(150'000, 0.5F), {}}), 0.5 * std::sqrt(150'000.0));
  EXPECT_EQ(norm_of({{}, {}}), 0);
  EXPECT_NEAR(norm_of({{}, {3e30F, 4e30F, 0}}), 5e30, 1e24);  // squares beyond float
}

TEST(GradientNorm, HasTheSameBitsForAnyNumberOfThreads) {
  const std::vector<std::vector<float>> gradients = {normal_numbers<float>(150'000, 1), {1, 2, 3}};
  const double one = norm_of(gradients, 1);
  for (const int num_threads : {2, 3, 5}) {
    EXPECT_EQ(norm_of(gradients, num_threads), one);
  }
}

TEST(GradientNorm, NamesTheNumberThatIsNotFinite) {
  std::vector<std::vector<float>> gradients = {std::vector<float>(150'000, 1.0F), {1, 2, 3}};
  gradients[0][299 * 300 + 17] = std::nanf("");
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         "embed.weight: element [299, 17] of its gradient is nan",
                         [&] { norm_of(gradients); }));
  gradients[0].clear();
  gradients[1][2] = -std::numeric_limits<float>::infinity();
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         "norm.weight: element [0, 2] of its gradient is -inf",
                         [&] { norm_of(gradients); }));
}

TEST(ClipFactor, BringsTheNormDownToTheLimitAndNeverUp) {
  EXPECT_EQ(clip_factor(4, 1), 0.25);
  EXPECT_EQ(clip_factor(1, 1), 1);
  EXPECT_EQ(clip_factor(0.1, 1), 1);
  EXPECT_EQ(clip_factor(0, 1), 1);
  EXPECT_EQ(clip_factor(1e9, 0), 1);  // no limit
}

}  // namespace
}  // namespace fathom::optim
