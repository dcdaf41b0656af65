#include "fathom/model/layers/linear.h"

#include <gtest/gtest.h>

#include "fathom/compute/runtime/runtime.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/deepseek_v4/weight_names.h"

namespace fathom::layers {
namespace {

class RoundedInput : public ::testing::Test {
 protected:
  tensor::Tensor input() {
    const tensor::Tensor x = runtime_.context().allocate({2, 192});
    for (Index i = 0; i < 384; ++i) {
      x.data<float>()[i] = 0.3F;
    }
    x.data<float>()[0] = 3;  // widens the first group of 128 of the first row
    return x;
  }
  static Weight weight(numeric::WeightFormat format) {
    numeric::WeightView view;
    view.format = format;
    return Weight({"w", view});
  }
  runtime::Runtime runtime_{{.num_threads = 1, .numerics = ops::Numerics::Official}};
};

TEST_F(RoundedInput, OfficialProductsWithFp8WeightsSeeGroupsOf128InFp8) {
  const tensor::Tensor x = input();
  const tensor::Tensor rounded =
      rounded_input(runtime_.context(), weight(numeric::WeightFormat::Fp8), x).x();
  const float* row = rounded.data<float>();
  EXPECT_EQ(row[0], 3);
  EXPECT_EQ(row[127], 0.3125F);  // specification 8
  EXPECT_EQ(row[191], 0.3125F);
  EXPECT_EQ(x.data<float>()[127], 0.3F);
}

TEST_F(RoundedInput, OtherWeightsAndHighNumericsSeeTheInputItself) {
  const tensor::Tensor x = input();
  EXPECT_EQ(rounded_input(runtime_.context(), weight(numeric::WeightFormat::BF16), x).x().raw(),
            x.raw());
  runtime_.context().numerics = ops::Numerics::High;
  EXPECT_EQ(rounded_input(runtime_.context(), weight(numeric::WeightFormat::Fp8), x).x().raw(),
            x.raw());
}

// What a layer gives alone, whatever the numerics, with and without an adapter beside it.
TEST(ForwardTogether, GivesTheBitsOfEachLayer) {
  const auto files = weights::Checkpoint::open(
      std::string(FATHOM_SOURCE_DIR "/tests/data/golden/checkpoints/flash-tiny"));
  const config::ModelConfig config =
      config::parse_config_json(files->config_text(), files->config_file()).model;
  const weights::Store plain(files, config, deepseek_v4::weight_names());
  constexpr config::WeightKey kDown = {config::WeightRole::QueryDown, config::Block::Layer, 0};
  constexpr config::WeightKey kKeyValue = {config::WeightRole::KeyValue, config::Block::Layer, 0};
  const Index rows = plain.matrix(kKeyValue).view.rows;
  const auto adapter = std::make_shared<weights::Adapter>();
  adapter->add({kKeyValue, 0}, {.rows = rows,
                                .columns = config.hidden_size,
                                .rank = 1,
                                .alpha = 1,
                                .scale = 1,
                                .a = std::vector<float>(to_size(config.hidden_size), 0.5F),
                                .b = std::vector<float>(to_size(rows), 0.25F)});
  const auto adapted = plain.with_adapter(adapter);
  const auto numbers = [](const tensor::Tensor& tensor) {
    return std::vector<float>(tensor.data<float>(), tensor.data<float>() + tensor.num_elements());
  };
  std::vector<float> first_key_value[2];
  for (const auto numerics : {ops::Numerics::High, ops::Numerics::Official, ops::Numerics::Fast}) {
    for (const bool is_adapted : {false, true}) {
      const weights::Store& store = is_adapted ? *adapted : plain;
      const Linear down(store, kDown);
      const Linear key_value(store, kKeyValue);
      for (const Index num_tokens : {1, 3}) {
        runtime::Runtime runtime({.num_threads = 2, .numerics = numerics});
        ops::Context& context = runtime.context();
        const tensor::Tensor x = context.allocate({num_tokens, config.hidden_size});
        for (Index i = 0; i < x.num_elements(); ++i) {
          x.data<float>()[i] = static_cast<float>(i % 23 - 11) / 8;
        }
        const ops::LinearInput input = down.input(context, x);
        const auto together = forward_together(context, input, down, key_value);
        EXPECT_EQ(numbers(together[0]), numbers(down.forward(context, input)));
        EXPECT_EQ(numbers(together[1]), numbers(key_value.forward(context, input)));
        EXPECT_EQ(together[1].dim(0), num_tokens);
        EXPECT_EQ(together[1].dim(1), rows);
        first_key_value[is_adapted ? 1 : 0] = numbers(together[1]);
      }
    }
    EXPECT_NE(first_key_value[0], first_key_value[1]);  // the adapter counts
  }
}

}  // namespace
}  // namespace fathom::layers
