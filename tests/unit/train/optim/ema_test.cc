#include "fathom/train/optim/ema.h"

#include <gtest/gtest.h>

#include "fathom/base/platform/thread_pool.h"

#include "tests/support/expect_error.h"

namespace fathom::optim {
namespace {

TEST(WeightAverage, StartsAtTheValuesAndFollowsThem) {
  platform::ThreadPool pool({.num_threads = 2});
  std::vector<float> values = {1, 2};
  WeightAverage average({{.name = "norm.weight", .rows = 1, .columns = 2, .values = values}}, 0.75);
  average.update(pool);
  average.swap_values();
  EXPECT_EQ(values, (std::vector<float>{1, 2}));
  average.swap_values();
  values = {5, -2};
  average.update(pool);  // a quarter of the way
  EXPECT_EQ(values, (std::vector<float>{5, -2}));
  average.swap_values();
  EXPECT_EQ(values, (std::vector<float>{2, 1}));
  average.swap_values();
  EXPECT_EQ(values, (std::vector<float>{5, -2}));
}

TEST(WeightAverage, StateIsTheAverages) {
  platform::ThreadPool pool({.num_threads = 1});
  std::vector<float> values = {1, 2};
  WeightAverage average({{.name = "norm.weight", .rows = 1, .columns = 2, .values = values}}, 0.5);
  std::vector<StateTensor> state = average.state();
  ASSERT_EQ(state.size(), 1U);
  EXPECT_EQ(state[0].name, "ema.norm.weight");
  state[0].values[1] = 6;
  average.update(pool);
  EXPECT_EQ(average.state()[0].values[1], 4);
}

TEST(WeightAverage, DecayIsAShare) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "ema decay: 1, expected",
                                  [] { WeightAverage({}, 1); }));
}

}  // namespace
}  // namespace fathom::optim
