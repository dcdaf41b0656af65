#include "fathom/model/layers/low_rank.h"

#include <gtest/gtest.h>

#include "fathom/compute/runtime/runtime.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/deepseek_v4/weight_names.h"

#include "tests/support/expect_error.h"

namespace fathom::layers {
namespace {

using config::Block;
using config::WeightKey;
using config::WeightRole;
using weights::Adapter;

class LowRanks : public ::testing::Test {
 protected:
  LowRanks() {
    const auto files = weights::Checkpoint::open(
        std::string(FATHOM_SOURCE_DIR "/tests/data/golden/checkpoints/flash-tiny"));
    config_ = config::parse_config_json(files->config_text(), files->config_file()).model;
    store_ = std::make_shared<weights::Store>(files, config_, deepseek_v4::weight_names());
  }

  // Of all ones, for some experts of a layer's ups.
  static void add(Adapter& adapter, const config::ModelConfig& config, Index expert, Index rank) {
    adapter.add({kUp, expert},
                {.rows = config.expert_hidden,
                 .columns = config.hidden_size,
                 .rank = rank,
                 .alpha = 1,
                 .scale = 1,
                 .a = std::vector<float>(to_size(rank * config.hidden_size), 1.0F),
                 .b = std::vector<float>(to_size(rank * config.expert_hidden), 1.0F)});
  }

  // What is added to zeros for one row of ones that goes to experts 0 and 1.
  std::vector<float> added(const weights::Store& store) {
    ops::Context& context = runtime_.context();
    const auto filled = [&](Index rows, Index columns, float number) {
      const tensor::Tensor tensor = context.allocate({rows, columns});
      std::fill_n(tensor.data<float>(), tensor.num_elements(), number);
      return tensor;
    };
    const tensor::Tensor y = filled(2, config_.expert_hidden, 0);
    const std::vector<std::int32_t> source = {0, 0};
    std::vector<std::int32_t> offsets(to_size(config_.num_experts) + 1, 2);
    offsets[0] = 0;
    offsets[1] = 1;
    const ExpertLowRanks low_ranks(store, kUp, config_.num_experts);
    low_ranks.add(context, {filled(1, config_.hidden_size, 1), source, offsets}, {.y = y});
    return {y.data<float>()[0], y.data<float>()[config_.expert_hidden]};
  }

  static constexpr WeightKey kUp = {WeightRole::ExpertUp, Block::Layer, 0};
  config::ModelConfig config_;
  std::shared_ptr<weights::Store> store_;
  runtime::Runtime runtime_{{.num_threads = 1}};
};

TEST_F(LowRanks, ExpertsWithoutATargetAreLeftAsTheyAre) {
  auto adapter = std::make_shared<Adapter>();
  add(*adapter, config_, 1, 2);
  const auto hidden = static_cast<float>(config_.hidden_size);
  EXPECT_EQ(added(*store_->with_adapter(adapter)), (std::vector<float>{0, 2 * hidden}));
  EXPECT_EQ(added(*store_), (std::vector<float>{0, 0}));
}

TEST_F(LowRanks, ExpertsOfOneLayerHaveOneRank) {
  auto adapter = std::make_shared<Adapter>();
  add(*adapter, config_, 0, 2);
  add(*adapter, config_, 1, 3);
  EXPECT_TRUE(testing::fails_with(
      ErrorCode::Unsupported, "expert_up of layer 0, expert 1: rank 3 and scale 1, expected rank 2",
      [&] { added(*store_->with_adapter(adapter)); }));
}

TEST_F(LowRanks, TargetsThatTheModelHasNotAreRefused) {
  const auto refuses = [&](const std::string& part, const Adapter::Key& key, Index rows) {
    auto adapter = std::make_shared<Adapter>();
    adapter->add(key, {.rows = rows,
                       .columns = 1,
                       .rank = 1,
                       .alpha = 1,
                       .scale = 1,
                       .a = {1},
                       .b = std::vector<float>(to_size(rows), 1.0F)});
    return testing::fails_with(ErrorCode::InvalidArgument, part,
                               [&] { store_->with_adapter(adapter); });
  };
  EXPECT_TRUE(refuses("the model has no expert_up of layer 99", {{kUp.role, kUp.block, 99}, 0}, 1));
  EXPECT_TRUE(refuses("expert_up of layer 0, expert 99", {kUp, 99}, 1));
  EXPECT_TRUE(refuses("the model has no head", {{WeightRole::Head}, 0}, 1));
  EXPECT_TRUE(refuses("expert_up of layer 0: made for a matrix [3, 1]", {kUp, 0}, 3));
}

}  // namespace
}  // namespace fathom::layers
