#include "fathom/train/loop/router_bias.h"

#include "fathom/train/loop/language_objective.h"

#include "tests/support/expect_error.h"
#include "tests/unit/train/loop/objective_testing.h"

namespace fathom::train {
namespace {

using config::Block;
using config::WeightKey;
using config::WeightRole;

TEST(RouterBias, MovesTowardsExpertsWithLessThanTheMean) {
  GradedModel model("flash-tiny");
  const config::ModelConfig& config = model.lm().config();
  const Index layer = config.num_layers() - 1;
  ASSERT_EQ(config.layers.back().router, config::RouterKind::TopK);
  const WeightKey key{WeightRole::RouterBias, Block::Layer, layer};
  const WeightKey mtp_key{WeightRole::RouterBias, Block::Mtp, 0};
  const std::span<float> bias = model.store().trainable(key);
  const std::vector<float> before(bias.begin(), bias.end());
  const std::span<float> mtp_bias = model.store().trainable(mtp_key);
  const std::vector<float> mtp_before(mtp_bias.begin(), mtp_bias.end());
  std::vector<std::vector<double>> loads(to_size(layer + 2));
  loads[to_size(layer)].assign(bias.size(), 10);
  loads[to_size(layer)][0] = 12;
  loads[to_size(layer)][1] = 8;
  loads[to_size(layer + 1)].assign(bias.size(), 0);
  loads[to_size(layer + 1)][2] = 1;
  update_router_biases(model.store(), config, loads, 0.25);
  for (std::size_t expert = 0; expert < bias.size(); ++expert) {
    const float move = expert == 0 ? -0.25F : expert == 1 ? 0.25F : 0;
    EXPECT_EQ(bias[expert], before[expert] + move) << expert;
    EXPECT_EQ(mtp_bias[expert], mtp_before[expert] + (expert == 2 ? -0.25F : 0.25F)) << expert;
  }
}

// Layers see what moved, and in the end everything is even.
TEST(RouterBias, EvensTheLoadsOfAModel) {
  GradedModel model("flash-tiny", "cpu");
  const config::ModelConfig& config = model.lm().config();
  const data::Batch batch = random_batch({60, 90}, config.vocab_size, 3);
  LanguageObjective objective(model.lm(), {});
  const std::size_t layer = config.layers.size() - 1;
  const auto spread_of = [&] {
    const LossSums sums = objective.evaluate(model.context(), batch);
    EXPECT_EQ(sums.expert_tokens.size(), config.layers.size() + 1);
    double total = 0;
    double most = 0;
    for (const double load : sums.expert_tokens[layer]) {
      total += load;
      most = std::max(most, load);
    }
    EXPECT_EQ(total, static_cast<double>(batch.num_tokens() * config.num_experts_per_token));
    update_router_biases(model.store(), config, sums.expert_tokens, 0.01);
    return most / (total / static_cast<double>(config.num_experts));
  };
  const double before = spread_of();
  double after = before;
  for (int step = 0; step < 40; ++step) {
    after = spread_of();
  }
  EXPECT_GT(before, 1.3);
  EXPECT_LT(after, 1.2);
}

TEST(RouterBias, RefusesASpeedThatIsNone) {
  GradedModel model("flash-tiny");
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "bias speed: -1", [&] {
    update_router_biases(model.store(), model.lm().config(), {}, -1);
  }));
}

}  // namespace
}  // namespace fathom::train
