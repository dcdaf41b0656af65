#include "fathom/train/tune/adapter_model.h"

#include <gtest/gtest.h>

#include "fathom/model/config/read_config.h"
#include "fathom/model/deepseek_v4/weight_names.h"

namespace fathom::tune {
namespace {

TEST(AdapterModel, ItsParametersAreTheMatricesByTheirNamesInFiles) {
  config::ModelConfig config = config::find_builtin_config("v4-flash").value().model;
  config.layers.resize(1);
  config.num_experts = 2;
  const auto adapter = weights::make_adapter(
      config, {.ranks = {{config::WeightRole::ExpertUp, 2}, {config::WeightRole::KeyValue, 1}}});
  AdapterModel model(*adapter, deepseek_v4::weight_names());
  std::vector<std::string> names;
  for (const optim::Parameter& parameter : model.parameters()) {
    names.push_back(parameter.name);
    EXPECT_EQ(parameter.rows * parameter.columns, to_index(parameter.values.size()));
    EXPECT_EQ(parameter.method, optim::Method::AdamW);
  }
  EXPECT_EQ(names, (std::vector<std::string>{
                       "layers.0.attn.wkv.lora_A", "layers.0.attn.wkv.lora_B",
                       "layers.0.ffn.experts.0.w3.lora_A", "layers.0.ffn.experts.0.w3.lora_B",
                       "layers.0.ffn.experts.1.w3.lora_A", "layers.0.ffn.experts.1.w3.lora_B"}));
  // What is changed there is changed in the adapter.
  model.parameters()[1].values[0] = 7;
  EXPECT_EQ(adapter->targets().begin()->second.b[0], 7);
}

TEST(AdapterModel, HasGradientsOfWhatWasReached) {
  config::ModelConfig config = config::find_builtin_config("v4-flash").value().model;
  config.layers.resize(1);
  const auto adapter =
      weights::make_adapter(config, {.ranks = {{config::WeightRole::KeyValue, 1}}});
  AdapterModel model(*adapter, deepseek_v4::weight_names());
  EXPECT_TRUE(model.gradient_values()[0].empty());
  const void* const b = model.parameters()[1].values.data();
  model.gradients().at(b).data<float>()[2] = 5;
  EXPECT_TRUE(model.gradient_values()[0].empty());
  ASSERT_EQ(to_index(model.gradient_values()[1].size()), config.head_dim);
  EXPECT_EQ(model.gradient_values()[1][2], 5);
}

}  // namespace
}  // namespace fathom::tune
