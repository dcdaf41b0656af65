#include "fathom/train/loop/quantisation_aware.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "fathom/compute/numeric/small_floats.h"
#include "fathom/model/config/read_config.h"

#include "tests/support/expect_error.h"
#include "tests/unit/train/loop/trainable_model.h"

namespace fathom::train {
namespace {

using config::Block;
using config::WeightKey;
using config::WeightRole;

const WeightKey kUp = {WeightRole::ExpertUp, Block::Layer, 1};
const WeightKey kQuery = {WeightRole::QueryDown, Block::Layer, 1};
const WeightKey kNorm = {WeightRole::AttentionNorm, Block::Layer, 1};
const WeightKey kFn = {WeightRole::AttentionMixFn, Block::Layer, 1};

std::vector<float> copy_of(std::span<const float> numbers) {
  return {numbers.begin(), numbers.end()};
}

const optim::Parameter& find(const ParameterList& list, const std::string& name) {
  const auto found = std::find_if(list.parameters().begin(), list.parameters().end(),
                                  [&](const auto& parameter) { return parameter.name == name; });
  FATHOM_CHECK(found != list.parameters().end());
  return *found;
}

struct Trained {
  explicit Trained(int num_threads,
                   const ParameterOptions& options = {.matrices = optim::Method::AdamW})
      : pool({.num_threads = num_threads}),
        list(model.list(options)),
        quantisation(model.config(),
                     config::storage_plan_from_name("fp4"),
                     model.names(),
                     model.store(),
                     list,
                     pool) {}

  TrainableModel model;
  platform::ThreadPool pool;
  ParameterList list;
  QuantisationAware quantisation;
};

TEST(QuantisationAware, LayersHaveTheNumbersOfTheFormatsAndMastersAllBits) {
  Trained trained(2);
  step_by_random_gradients(trained.list, trained.pool);
  trained.quantisation.update_layers(trained.pool);
  const std::span<float> up = trained.model.store().trainable(kUp, 2);
  std::set<float> magnitudes;
  for (std::size_t i = 0; i < 32; ++i) {
    magnitudes.insert(std::abs(up[i]));
  }
  EXPECT_LE(magnitudes.size(), 8U);
  EXPECT_GE(magnitudes.size(), 3U);
  const optim::Parameter& master = find(trained.list, "layers.1.ffn.experts.2.w3.weight");
  EXPECT_NE(copy_of(master.values), copy_of(up));
  for (const float number : trained.model.store().trainable(kNorm)) {
    EXPECT_EQ(number, numeric::round_bf16(number));
  }
  // F32 tensors are the layers' own numbers.
  EXPECT_EQ(find(trained.list, "layers.1.hc_attn_fn").values.data(),
            trained.model.store().trainable(kFn).data());
}

TEST(QuantisationAware, RoundsTheMasterAndNotWhatWasRoundedBefore) {
  Trained trained(1, {.trained = {"layers.1.ffn.experts.2.w3.weight"}});
  const optim::Parameter& master = find(trained.list, "layers.1.ffn.experts.2.w3.weight");
  const std::vector<float> before = copy_of(trained.model.store().trainable(kUp, 2));
  // Steps that are too small to show in FP4 one by one.
  for (int step = 0; step < 20; ++step) {
    for (float& number : master.values) {
      number *= 1.04F;
    }
    trained.quantisation.update_layers(trained.pool);
  }
  const std::vector<float> after = copy_of(trained.model.store().trainable(kUp, 2));
  double sums[2] = {};
  for (std::size_t i = 0; i < after.size(); ++i) {
    sums[0] += static_cast<double>(std::abs(before[i]));
    sums[1] += static_cast<double>(std::abs(after[i]));
  }
  EXPECT_GT(sums[1], 1.8 * sums[0]);  // 1.04^20 is 2.19
}

TEST(QuantisationAware, ResultDoesNotDependOnThreadCount) {
  Trained one(1);
  Trained three(3);
  for (Trained* trained : {&one, &three}) {
    step_by_random_gradients(trained->list, trained->pool);
    trained->quantisation.update_layers(trained->pool);
  }
  for (const WeightKey& key : {kUp, kQuery, kNorm}) {
    EXPECT_EQ(copy_of(one.model.store().trainable(key)),
              copy_of(three.model.store().trainable(key)));
  }
}

TEST(QuantisationAware, WhatIsNotTrainedIsRoundedOnce) {
  TrainableModel model("bf16-tiny");
  platform::ThreadPool pool({.num_threads = 2});
  ParameterList list = model.list({.trained = {"norm.weight"}});
  const std::vector<float> before = copy_of(model.store().trainable(kQuery));
  const QuantisationAware quantisation(model.config(), config::storage_plan_from_name("fp4"),
                                       model.names(), model.store(), list, pool);
  EXPECT_NE(copy_of(model.store().trainable(kQuery)), before);
  EXPECT_EQ(quantisation.master_bytes(), 4 * model.config().hidden_size);
}

}  // namespace
}  // namespace fathom::train
