#include "fathom/model/layers/rope.h"

#include <gtest/gtest.h>

namespace fathom::layers {
namespace {

config::RopeConfig plain() {
  config::RopeConfig rope;
  rope.base = 10000;
  return rope;
}

TEST(LayerRope, ScalingsOfAConfigAreThoseOfTheOps) {
  const auto unscaled = ops::rope_frequencies(64, 10000, nullptr).values;
  EXPECT_EQ(rope_frequencies(64, plain()).values, unscaled);

  config::RopeConfig linear = plain();
  linear.linear_factor = 4;
  for (std::size_t pair = 0; pair < unscaled.size(); ++pair) {
    EXPECT_EQ(rope_frequencies(64, linear).values[pair], unscaled[pair] / 4);
  }

  config::RopeConfig yarn = plain();
  yarn.yarn = {.factor = 16, .original_context = 65536, .beta_fast = 32, .beta_slow = 1};
  const ops::YarnParameters parameters{16, 65536, 32, 1};
  EXPECT_EQ(rope_frequencies(64, yarn).values,
            ops::rope_frequencies(64, 10000, &parameters).values);

  config::RopeConfig llama3 = plain();
  llama3.llama3 = {
      .factor = 8, .low_frequency_factor = 1, .high_frequency_factor = 4, .original_context = 8192};
  ops::RopeFrequencies expected{unscaled};
  ops::scale_llama3(expected,
                    {.factor = 8, .low_factor = 1, .high_factor = 4, .original_context = 8192});
  EXPECT_EQ(rope_frequencies(64, llama3).values, expected.values);
}

TEST(LayerRope, PairsAreThoseOfTheConfig) {
  config::RopeConfig rope = plain();
  EXPECT_EQ(rope_pairs(rope), ops::RopePairs::Neighbours);
  rope.pairs = config::RopePairs::Halves;
  EXPECT_EQ(rope_pairs(rope), ops::RopePairs::Halves);
}

}  // namespace
}  // namespace fathom::layers
