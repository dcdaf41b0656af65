#include "fathom/train/loop/weighted_losses.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "fathom/compute/autograd/tape.h"
#include "fathom/compute/runtime/runtime.h"

namespace fathom::train {
namespace {

TEST(WeightedRuns, LeaveOutLongStretchesWithoutWeight) {
  EXPECT_TRUE(weighted_runs(std::vector<float>(40)).empty());
  std::vector<float> weights(60);
  weights[1] = 1;
  weights[2] = 0.5F;
  weights[19] = 1;  // 16 rows between
  weights[37] = 1;  // 17
  EXPECT_EQ(weighted_runs(weights), (std::vector<RowRun>{{1, 19}, {37, 1}}));
}

TEST(WeightedLoss, CountsRowsByTheirWeightAndForgetsThoseWithoutOne) {
  runtime::Runtime runtime({.num_threads = 1, .backend = "reference:f64"});
  ops::Context& context = runtime.context();
  const std::vector<float> weights = {0, 0.5F, 0, 2, 0};
  const std::vector<double> all = {7, 4, std::numeric_limits<double>::quiet_NaN(), 0.25, 7};
  autograd::ParameterGradients parameters(context.real);
  autograd::Tape tape(context, parameters);
  tensor::Tensor losses;
  const auto losses_of = [&](Index first, Index count) {
    losses = context.allocate({count});
    std::copy_n(all.begin() + first, count, losses.data<double>());
    return losses;
  };
  EXPECT_EQ(weighted_loss(weights, losses_of, &tape, 0.25), 0.5 * 4 + 2 * 0.25);
  const double* gradient = tape.of(losses).data<double>();
  ASSERT_EQ(losses.num_elements(), 3);
  EXPECT_EQ(std::vector<double>(gradient, gradient + 3), (std::vector<double>{0.125, 0, 0.5}));
  EXPECT_EQ(weighted_loss(weights, losses_of, nullptr, 0), 2.5);
}

}  // namespace
}  // namespace fathom::train
