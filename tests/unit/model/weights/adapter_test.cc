#include "fathom/model/weights/adapter.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "fathom/model/config/read_config.h"

namespace fathom::weights {
namespace {

using config::Block;
using config::WeightRole;

config::ModelConfig flash() {
  config::ModelConfig config = config::find_builtin_config("v4-flash").value().model;
  config.layers.resize(2);
  return config;
}

TEST(Adapter, ANewOneStandsBesideEveryMatrixOfItsRolesAndChangesNothing) {
  const config::ModelConfig config = flash();
  const auto adapter =
      make_adapter(config, {.ranks = {{WeightRole::KeyValue, 3}, {WeightRole::OutputDown, 2}}});
  ASSERT_EQ(adapter->targets().size(), 4U);
  const Adapter::Target* const found = adapter->find({{WeightRole::KeyValue, Block::Layer, 1}, 0});
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->rows, config.head_dim);
  EXPECT_EQ(found->columns, config.hidden_size);
  EXPECT_EQ(found->rank, 3);
  EXPECT_EQ(found->scale, 2);
  EXPECT_EQ(found->alpha, 6);
  EXPECT_TRUE(std::all_of(found->b.begin(), found->b.end(), [](float x) { return x == 0; }));
  const double bound = 1 / std::sqrt(static_cast<double>(config.hidden_size));
  const auto [least, most] = std::minmax_element(found->a.begin(), found->a.end());
  EXPECT_NEAR(*least, -bound, 0.01 * bound);
  EXPECT_NEAR(*most, bound, 0.01 * bound);
  EXPECT_EQ(adapter->find({{WeightRole::KeyValue, Block::Mtp, 0}, 0}), nullptr);
}

TEST(Adapter, ItsNumbersFollowTheSeed) {
  const auto numbers = [](std::uint64_t seed, Index layer_idx) {
    return make_adapter(flash(), {.ranks = {{WeightRole::KeyValue, 1}}, .seed = seed})
        ->find({{WeightRole::KeyValue, Block::Layer, layer_idx}, 0})
        ->a;
  };
  EXPECT_EQ(numbers(1, 0), numbers(1, 0));
  EXPECT_NE(numbers(1, 0), numbers(2, 0));
  EXPECT_NE(numbers(1, 0), numbers(1, 1));
}

TEST(Adapter, ExpertsHaveMatricesOfTheirOwn) {
  config::ModelConfig config = flash();
  config.num_experts = 3;
  const auto adapter = make_adapter(config, {.ranks = {{WeightRole::ExpertUp, 1}}});
  EXPECT_EQ(adapter->targets().size(), 6U);
  const config::WeightKey key = {WeightRole::ExpertUp, Block::Layer, 0};
  EXPECT_NE(adapter->find({key, 0})->a, adapter->find({key, 2})->a);
  EXPECT_EQ(adapter->find({key, 3}), nullptr);
  EXPECT_EQ(adapter->num_parameters(), 6 * (config.hidden_size + config.expert_hidden));
}

}  // namespace
}  // namespace fathom::weights
