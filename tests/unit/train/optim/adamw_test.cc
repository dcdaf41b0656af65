#include "fathom/train/optim/adamw.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::optim {
namespace {

struct Number {
  double value = 0;
  double gradient = 0;
  double mean = 0;
  double square = 0;

  void update(const AdamWStep& step) {
    adamw_update<double>(step, {.values = {&value, 1},
                                .gradient = {&gradient, 1},
                                .mean = {&mean, 1},
                                .square = {&square, 1}});
  }
};

TEST(AdamW, AConstantGradientMovesByTheLearningRateEveryStep) {
  for (const double gradient : {3.0, -1e-6}) {
    Number number{.value = 1, .gradient = gradient};
    for (Index step = 1; step <= 50; ++step) {
      number.update({.learning_rate = 0.01, .step = step});
      EXPECT_NEAR(number.value, 1 - std::copysign(0.01 * static_cast<double>(step), gradient),
                  1e-12);
    }
  }
}

// What torch.optim.AdamW (2.x) computes for these gradients with lr 0.1, betas 0.9 and 0.95, eps
// 0.5 and weight decay 0.1, written out.
TEST(AdamW, FollowsItsFormula) {
  const AdamWOptions options = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 0.5};
  Number number{.value = 2, .gradient = 1};
  number.update({.options = options, .learning_rate = 0.1, .weight_decay = 0.1, .step = 1});
  // m = 0.1, v = 0.05: both 1 when corrected.
  EXPECT_NEAR(number.value, 2 * 0.99 - 0.1 * 1 / (1 + 0.5), 1e-15);
  const double before = number.value;
  number.gradient = -2;
  number.update({.options = options, .learning_rate = 0.1, .weight_decay = 0.1, .step = 2});
  const double mean = (0.9 * 0.1 + 0.1 * -2) / (1 - 0.81);
  const double square = (0.95 * 0.05 + 0.05 * 4) / (1 - 0.95 * 0.95);
  EXPECT_NEAR(number.value, before * 0.99 - 0.1 * mean / (std::sqrt(square) + 0.5), 1e-15);
}

TEST(AdamW, GradientsAreScaledAsTheyAreRead) {
  Number scaled{.value = 1, .gradient = 4};
  Number plain{.value = 1, .gradient = 1};
  scaled.update({.options = {.epsilon = 0.1}, .learning_rate = 0.1, .gradient_scale = 0.25});
  plain.update({.options = {.epsilon = 0.1}, .learning_rate = 0.1});
  EXPECT_EQ(scaled.value, plain.value);
  EXPECT_EQ(scaled.square, plain.square);
}

TEST(AdamW, ATinyEpsilonStillGivesFiniteUpdates) {
  for (const float gradient : {0.0F, 1e-30F, 1e-18F, 1e15F}) {
    float value = 1;
    float mean = 0;
    float square = 0;
    adamw_update<float>({.learning_rate = 0.01}, {.values = {&value, 1},
                                                  .gradient = {&gradient, 1},
                                                  .mean = {&mean, 1},
                                                  .square = {&square, 1}});
    EXPECT_LE(std::abs(value - 1), 0.0101F) << gradient;
  }
}

}  // namespace
}  // namespace fathom::optim
