// What a step really takes is compared in tests/unit/train/loop/language_pass_test.cc.
#include "fathom/model/config/training_footprint.h"

#include <gtest/gtest.h>

#include "fathom/model/config/footprint.h"

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

using testing::builtin;

TEST(TrainingFootprint, HoldsEveryParameterAndTheStateOfItsOptimizer) {
  const ModelConfig flash = builtin("v4-flash");
  const TrainingBytes bytes = training_bytes(flash, {.num_tokens = 128});
  const ParameterCount count = count_parameters(flash);
  EXPECT_EQ(bytes.weights, 4 * (count.total + count.mtp));
  // All but the biases of routers are trained; nearly all by Muon, with one number of state.
  EXPECT_LT(bytes.weight_gradients, bytes.weights);
  EXPECT_NEAR(static_cast<double>(bytes.weight_gradients), static_cast<double>(bytes.weights), 1e5);
  EXPECT_GT(bytes.optimizer_state, bytes.weight_gradients);
  EXPECT_LT(bytes.optimizer_state,
            bytes.weight_gradients + 4 * 2 * flash.vocab_size * flash.hidden_size * 11 / 10);
}

TEST(TrainingFootprint, ActivationsGrowWithTokensAndShrinkWithRecomputation) {
  const ModelConfig flash = builtin("v4-flash");
  const auto activations = [&](Index num_tokens, bool recomputes) {
    return training_bytes(flash, {.num_tokens = num_tokens, .recomputes_layers = recomputes})
        .activations;
  };
  const auto twice = static_cast<double>(activations(8192, true));
  EXPECT_NEAR(twice / static_cast<double>(activations(4096, true)), 2, 0.02);
  EXPECT_GT(activations(4096, false), 5 * activations(4096, true));
}

TEST(TrainingFootprint, LossesThatAreSwitchedOffTakeNothing) {
  const ModelConfig flash = builtin("v4-flash");
  const auto of = [&](bool has_mtp, bool teaches) {
    return training_bytes(flash,
                          {.num_tokens = 512, .has_mtp = has_mtp, .teaches_indexers = teaches});
  };
  EXPECT_LT(of(false, true).activations, of(true, true).activations);
  EXPECT_LT(of(true, false).activation_gradients, of(true, true).activation_gradients);
  EXPECT_EQ(of(false, false).weights, of(true, true).weights);
}

TEST(TrainingFootprint, TotalIsTheSumOfItsParts) {
  EXPECT_EQ((TrainingBytes{1, 2, 3, 4, 5}.total()), 15);
}

}  // namespace
}  // namespace fathom::config
