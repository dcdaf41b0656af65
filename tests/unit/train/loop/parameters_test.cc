#include "fathom/train/loop/parameters.h"

#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/train/loop/trainable_model.h"

namespace fathom::train {
namespace {

using optim::Method;
using optim::Parameter;
using testing::fails_with;

using Model = TrainableModel;

std::map<std::string, Parameter> by_name(const ParameterList& list) {
  std::map<std::string, Parameter> parameters;
  for (const Parameter& parameter : list.parameters()) {
    EXPECT_TRUE(parameters.emplace(parameter.name, parameter).second) << parameter.name;
  }
  return parameters;
}

TEST(ParameterList, HasEveryTrainableNumberOnce) {
  for (const std::string checkpoint : {"flash-tiny", "base-fp8-tiny", "llama-tied"}) {
    Model model(checkpoint);
    const ParameterList list = model.list();
    Index expected = 0;
    std::set<const float*> places;
    for (const config::WeightSpec& spec : config::weight_table(model.opened.config.model)) {
      expected += spec.is_trainable ? spec.num_elements() : 0;
    }
    for (const Parameter& parameter : list.parameters()) {
      EXPECT_EQ(parameter.rows * parameter.columns, to_index(parameter.values.size()));
      EXPECT_TRUE(places.insert(parameter.values.data()).second) << parameter.name;
    }
    EXPECT_EQ(list.num_numbers(), expected) << checkpoint;
  }
}

TEST(ParameterList, MethodsAreThoseOfTheSpecification) {
  Model model;
  const auto parameters = by_name(model.list());
  const auto method = [&](const std::string& name) { return parameters.at(name).method; };
  for (const char* name :
       {"embed.weight", "head.weight", "norm.weight", "hc_head_base", "hc_head_scale",
        "layers.1.hc_attn_base", "layers.1.hc_ffn_scale", "layers.1.attn_norm.weight",
        "layers.1.attn.q_norm.weight", "layers.1.attn.attn_sink", "layers.2.attn.compressor.ape",
        "layers.2.attn.indexer.compressor.ape"}) {
    EXPECT_EQ(method(name), Method::AdamW) << name;
  }
  for (const char* name :
       {"hc_head_fn", "layers.1.hc_attn_fn", "layers.1.attn.wq_a.weight",
        "layers.1.ffn.gate.weight", "layers.2.attn.compressor.wgate.weight",
        "layers.2.attn.indexer.weights_proj.weight", "layers.0.ffn.experts.1.w2.weight",
        "layers.0.ffn.shared_experts.w1.weight"}) {
    EXPECT_EQ(method(name), Method::Muon) << name;
  }
  for (const auto& [name, parameter] : by_name(model.list({.matrices = Method::AdamW}))) {
    EXPECT_EQ(parameter.method, Method::AdamW) << name;
  }
}

TEST(ParameterList, WhatARuleOrNothingChangesIsNotInIt) {
  Model model;
  for (const auto& [name, parameter] : by_name(model.list())) {
    EXPECT_EQ(name.find("gate.bias"), std::string::npos) << name;
    EXPECT_EQ(name.find("tid2eid"), std::string::npos) << name;
  }
}

TEST(ParameterList, VectorsDecayUnlessAskedNotTo) {
  Model model;
  EXPECT_TRUE(by_name(model.list()).at("norm.weight").decays);
  const auto parameters = by_name(model.list({.vectors_decay = false}));
  EXPECT_FALSE(parameters.at("norm.weight").decays);
  EXPECT_FALSE(parameters.at("layers.1.attn.attn_sink").decays);
  EXPECT_TRUE(parameters.at("embed.weight").decays);
  EXPECT_TRUE(parameters.at("layers.1.attn.wq_a.weight").decays);
}

TEST(ParameterList, PatternsChooseWhatIsTrained) {
  Model model;
  const auto indexer = by_name(model.list({.trained = {"*.indexer.*"}}));
  EXPECT_GE(indexer.size(), 6U);
  for (const auto& [name, parameter] : indexer) {
    EXPECT_NE(name.find(".indexer."), std::string::npos) << name;
  }
  const auto rest = by_name(model.list({.frozen = {"*.indexer.*"}}));
  EXPECT_EQ(rest.size() + indexer.size(), model.list().parameters().size());
  const auto one =
      by_name(model.list({.trained = {"layers.1.*", "norm.weight"}, .frozen = {"layers.1.ffn.*"}}));
  EXPECT_EQ(one.count("norm.weight"), 1U);
  EXPECT_EQ(one.count("layers.1.attn.wq_a.weight"), 1U);
  EXPECT_EQ(one.count("layers.1.ffn.gate.weight"), 0U);
  EXPECT_EQ(one.count("layers.2.attn.wq_a.weight"), 0U);
}

TEST(ParameterList, APatternThatFitsNothingIsNamed) {
  Model model;
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         "trained: no parameter is called like \"*.wq_c.*\"", [&] {
                           model.list({.trained = {"layers.*", "*.wq_c.*"}});
                         }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "frozen: no parameter is called like \"\"",
                         [&] { model.list({.frozen = {""}}); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "no parameter is left",
                         [&] { model.list({.frozen = {"*"}}); }));
}

TEST(ParameterList, GradientsArriveWhereTheLayersReadTheNumbers) {
  Model model;
  const ParameterList list = model.list({.trained = {"*.attn_norm.weight"}});
  autograd::ParameterGradients gradients(tensor::DType::F32);
  list.declare(gradients);
  const config::WeightKey first = {config::WeightRole::AttentionNorm, config::Block::Layer, 0};
  const config::WeightKey final = {config::WeightRole::FinalNorm, config::Block::Model, -1};
  EXPECT_TRUE(gradients.at(model.opened.store->floats(final).data()).is_empty());
  gradients.at(model.opened.store->floats(first).data()).data<float>()[3] = 5;
  const auto spans = list.gradients(gradients);
  ASSERT_EQ(to_index(spans.size()), to_index(list.parameters().size()));
  EXPECT_EQ(list.parameters()[0].name, "layers.0.attn_norm.weight");
  EXPECT_EQ(spans[0][3], 5);
  EXPECT_EQ(spans[0].size(), list.parameters()[0].values.size());
  EXPECT_TRUE(spans[1].empty());
}

// Whether an expert has no gradient must not depend on the steps before.
TEST(ParameterList, AnExpertWithoutTokensHasZerosBesideOneThatHasSome) {
  Model model;
  const ParameterList list = model.list({.trained = {"layers.*.ffn.experts.*.w1.weight"}});
  autograd::ParameterGradients gradients(tensor::DType::F32);
  list.declare(gradients);
  const Index num_experts = model.opened.config.model.num_experts;
  const auto reach_second = [&] {
    gradients.at(list.origin(1).numbers.data()).data<float>()[7] = 2;
    const auto spans = list.gradients(gradients);
    EXPECT_EQ(spans[1][7], 2);
    for (Index expert = 0; expert < num_experts; ++expert) {
      const auto& span = spans[to_size(expert)];
      ASSERT_EQ(span.size(), list.parameters()[0].values.size());
      EXPECT_EQ(std::count(span.begin(), span.end(), 0.0F),
                to_index(span.size()) - (expert == 1 ? 1 : 0));
    }
    EXPECT_TRUE(spans[to_size(num_experts)].empty());  // the next layer's
  };
  reach_second();
  gradients.at(list.origin(0).numbers.data()).data<float>()[0] = 1;
  gradients.clear();
  reach_second();
}

TEST(ParameterList, OptimisersMayUpdateOtherNumbers) {
  Model model;
  ParameterList list = model.list({.trained = {"norm.weight"}});
  std::vector<float> master(list.parameters()[0].values.size());
  list.set_values(0, master);
  EXPECT_EQ(list.parameters()[0].values.data(), master.data());
  EXPECT_NE(list.origin(0).numbers.data(), master.data());
}

}  // namespace
}  // namespace fathom::train
