// Gradients of whole models: against central differences in double, and against themselves.
#include "fathom/gradients.h"

#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "fathom/compute/autograd/tape.h"
#include "fathom/model/kv/whole_sequence_kv.h"

#include "tests/golden/golden_model.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"

namespace fathom::testing {
namespace {

using config::Block;
using config::WeightKey;
using config::WeightRole;
using config::WeightSpec;

std::vector<std::int64_t> random_ids(Index count, Index vocab, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_int_distribution<std::int64_t> any(0, vocab - 1);
  std::vector<std::int64_t> ids(to_size(count));
  for (std::int64_t& id : ids) {
    id = any(engine);
  }
  return ids;
}

// A model in double whose parameters can be changed.
class TrainableModel {
 public:
  TrainableModel(const std::string& checkpoint, Index num_tokens)
      : opened_(open_model(golden_folder(checkpoint))) {
    opened_.store->make_trainable();
    lm_ = build_model(opened_);
    for (const std::int64_t id : random_ids(num_tokens, lm_->config().vocab_size, 3)) {
      tokens_.push_back(static_cast<std::int32_t>(id));
    }
    specs_ = config::weight_table(lm_->config());
    std::erase_if(specs_, [&](const WeightSpec& spec) {
      return !spec.is_trainable || !opened_.store->has(spec.key);
    });
  }

  const std::vector<WeightSpec>& specs() const { return specs_; }
  std::span<float> numbers(const WeightKey& key, Index expert) {
    return opened_.store->trainable(key, expert);
  }

  // Sum of the losses, which is as sharp as their mean and needs no division.
  double loss() {
    const tensor::Arena::Scope scope(context().arena);
    return sum_of(losses());
  }

  void compute_gradients() {
    for (const WeightSpec& spec : specs_) {
      for (Index expert = 0; expert < std::max<Index>(spec.num_experts, 1); ++expert) {
        const numeric::WeightView& view = opened_.store->matrix(spec.key, expert).view;
        gradients_.add(view.data, view.rows, view.columns);
      }
    }
    const tensor::Arena::Scope scope(context().arena);
    autograd::Tape tape(context(), gradients_);
    const tensor::Tensor all = losses();
    std::fill_n(tape.of(all).data<double>(), all.num_elements(), 1.0);
    tape.run_backward();
  }
  // Empty where there is none.
  std::span<const double> gradient(const WeightKey& key, Index expert) {
    const tensor::Tensor found = gradients_.find(numbers(key, expert).data());
    return found.is_empty()
               ? std::span<const double>()
               : std::span<const double>(found.data<double>(), to_size(found.num_elements()));
  }

 private:
  ops::Context& context() { return runtime_.context(); }
  tensor::Tensor losses() {
    // Until the tape ends: segments run again.
    kv_.emplace(lm_->cache_layout(), context().real);
    batch_ = layers::TokenBatch::single(context().arena, tokens_, *kv_);
    const tensor::Tensor hidden = lm_->forward(context(), batch_);
    return lm_->token_losses(context(), hidden.slice(0, hidden.dim(0) - 1),
                             std::span(tokens_).subspan(1));
  }
  static double sum_of(const tensor::Tensor& losses) {
    return std::accumulate(losses.data<double>(), losses.data<double>() + losses.num_elements(),
                           0.0);
  }

  runtime::Runtime runtime_{{.num_threads = 1, .backend = "reference:f64"}};
  OpenedModel opened_;
  std::unique_ptr<layers::CausalLm> lm_;
  std::vector<std::int32_t> tokens_;
  std::vector<WeightSpec> specs_;
  std::optional<kv::WholeSequenceKv> kv_;
  layers::TokenBatch batch_;
  autograd::ParameterGradients gradients_{tensor::DType::F64};
};

struct Case {
  const char* checkpoint;
  Index num_tokens;  // more than 128 where blocks are so long
  Index roles_at_once = 8;
};

class WholeModelGradients : public ::testing::TestWithParam<Case> {};

// Roles that the loss of the next token does not depend on.
bool has_no_gradient(const WeightKey& key) {
  switch (key.role) {
    case WeightRole::IndexerQueryUp:
    case WeightRole::IndexerHeadWeights:
    case WeightRole::IndexerValue:
    case WeightRole::IndexerGate:
    case WeightRole::IndexerPositionBias:
    case WeightRole::IndexerNorm:
      return true;
    default:
      return key.block == Block::Mtp;
  }
}

TEST_P(WholeModelGradients, ExistForWhatTheLossDependsOnAndNothingElse) {
  TrainableModel model(GetParam().checkpoint, GetParam().num_tokens);
  model.compute_gradients();
  for (const WeightSpec& spec : model.specs()) {
    EXPECT_EQ(model.gradient(spec.key, 0).empty(), has_no_gradient(spec.key))
        << to_string(spec.key.role) << " of layer " << spec.key.layer_idx;
  }
}

// A number of a parameter that is moved the way its gradient points.
struct Moved {
  float* number;
  float before;
  double gradient;
};

// Some numbers of a matrix.
void choose_numbers(std::span<float> numbers,
                    std::span<const double> gradient,
                    std::mt19937& engine,
                    std::vector<Moved>& moved) {
  constexpr std::size_t kNumbers = 8;
  std::set<std::size_t> places;
  while (places.size() < std::min(numbers.size(), kNumbers)) {
    places.insert(engine() % numbers.size());
  }
  for (const std::size_t place : places) {
    moved.push_back({&numbers[place], numbers[place], gradient[place]});
  }
}

// Moves the numbers forth and back. Steps are so small that no choice of experts or blocks changes,
// and exact in fp32; what the loss changes by is compared with what the gradients say.
::testing::AssertionResult loss_changes_as_said(TrainableModel& model,
                                                const std::vector<Moved>& moved) {
  constexpr double kStep = 0x1p-18;
  constexpr double kRounding = 4e-14;  // of a sum of losses of some hundred, twice
  double expected = 0;
  const auto loss_at = [&](double steps) {
    for (const Moved& each : moved) {
      const double step = std::copysign(steps * kStep, steps * each.gradient);
      *each.number = static_cast<float>(static_cast<double>(each.before) + step);
      expected += (steps > 0 ? 1 : -1) * each.gradient * static_cast<double>(*each.number);
    }
    return model.loss();
  };
  const double after = loss_at(1);
  const double found = after - loss_at(-1);
  for (const Moved& each : moved) {
    *each.number = each.before;
  }
  // Written as "not within", because every comparison with a NaN is false.
  if (expected == 0 ||
      !(std::abs(found - expected) <= 1e-6 * std::abs(expected) + kRounding * after)) {
    return ::testing::AssertionFailure()
           << "the loss changes by " << found << ", expected " << expected << ", relative error "
           << std::abs(found / expected - 1);
  }
  return ::testing::AssertionSuccess();
}

// Some numbers of every layer and expert of a role, or of several roles, at once.
TEST_P(WholeModelGradients, MeetCentralDifferences) {
  TrainableModel model(GetParam().checkpoint, GetParam().num_tokens);
  model.compute_gradients();
  std::mt19937 engine(11);
  std::map<WeightRole, std::vector<const WeightSpec*>> by_role;
  for (const WeightSpec& spec : model.specs()) {
    if (!has_no_gradient(spec.key)) {
      by_role[spec.key.role].push_back(&spec);
    }
  }
  std::vector<Moved> moved;
  std::string names;
  Index num_roles = 0;
  for (const auto& [role, specs] : by_role) {
    names += " " + std::string(to_string(role));
    for (const WeightSpec* spec : specs) {
      for (Index expert = 0; expert < std::max<Index>(spec->num_experts, 1); ++expert) {
        choose_numbers(model.numbers(spec->key, expert), model.gradient(spec->key, expert), engine,
                       moved);
      }
    }
    ++num_roles;
    if (num_roles % GetParam().roles_at_once == 0 || num_roles == to_index(by_role.size())) {
      EXPECT_TRUE(loss_changes_as_said(model, moved)) << names;
      moved.clear();
      names.clear();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens,
                         WholeModelGradients,
                         ::testing::Values(Case{"flash-tiny", 131, 1},
                                           Case{"pro-tiny", 131},
                                           Case{"bf16-tiny", 131},
                                           Case{"base-fp8-tiny", 131},
                                           Case{"trained-bytes", 131},
                                           Case{"llama-tiny", 20, 1},
                                           Case{"llama-tied", 20, 1}),
                         [](const auto& item) {
                           std::string name = item.param.checkpoint;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

class Recorded : public ::testing::TestWithParam<std::pair<const char*, ops::Numerics>> {};

// What is trained is what is served: a recorded pass gives the bits of one through the paged cache.
TEST_P(Recorded, ForwardPassHasTheBitsOfTheServedOne) {
  const auto& [checkpoint, numerics] = GetParam();
  GoldenModel golden(checkpoint, "cpu", numerics);
  ops::Context& context = golden.context();
  std::vector<std::int32_t> tokens;
  for (const std::int64_t id : random_ids(150, golden.config().vocab_size, 7)) {
    tokens.push_back(static_cast<std::int32_t>(id));
  }
  kv::SequenceCache cache = golden.cache();
  const std::vector<double> served = golden.logits(tokens, 31, cache);
  std::vector<double> recorded;
  kv::WholeSequenceKv kv(golden.lm().cache_layout(), context.real);
  autograd::ParameterGradients parameters(context.real);
  const auto batch = layers::TokenBatch::single(context.arena, tokens, kv);
  const autograd::Tape tape(context, parameters, autograd::Recomputation::Off);
  GoldenModel::append_values(golden.lm().logits(context, golden.lm().forward(context, batch)),
                             recorded);
  EXPECT_EQ(recorded, served);
}

INSTANTIATE_TEST_SUITE_P(Models,
                         Recorded,
                         ::testing::Values(std::pair{"flash-tiny", ops::Numerics::High},
                                           std::pair{"flash-tiny", ops::Numerics::Official},
                                           std::pair{"llama-tiny", ops::Numerics::High}));

// Gradients of a matrix by sequences that are computed together, each with a cache of its own.
std::vector<double> gradients_together(GoldenModel& golden,
                                       const WeightKey& key,
                                       const weights::Store& store,
                                       const std::vector<std::vector<std::int32_t>>& sequences) {
  ops::Context& context = golden.context();
  std::vector<kv::WholeSequenceKv> caches(
      sequences.size(), kv::WholeSequenceKv(golden.lm().cache_layout(), context.real));
  std::vector<kv::KvStore*> stores;
  std::vector<Index> counts;
  std::vector<std::int32_t> tokens;
  for (std::size_t idx = 0; idx < sequences.size(); ++idx) {
    stores.push_back(&caches[idx]);
    counts.push_back(to_index(sequences[idx].size()));
    tokens.insert(tokens.end(), sequences[idx].begin(), sequences[idx].end());
  }
  const numeric::WeightView& view = store.matrix(key).view;
  autograd::ParameterGradients parameters(tensor::DType::F64);
  parameters.add(view.data, view.rows, view.columns);
  const auto batch = layers::TokenBatch::of(context.arena, tokens, counts, stores);
  autograd::Tape tape(context, parameters);
  const tensor::Tensor hidden = golden.lm().forward(context, batch);
  Index row = 0;
  for (const Index count : counts) {
    const tensor::Tensor losses =
        golden.lm().token_losses(context, hidden.slice(row, count - 1),
                                 std::span(tokens).subspan(to_size(row + 1), to_size(count - 1)));
    std::fill_n(tape.of(losses).data<double>(), count - 1, 1.0);
    row += count;
  }
  tape.run_backward();
  std::vector<double> values;
  const tensor::Tensor found = parameters.find(view.data);
  if (!found.is_empty()) {
    GoldenModel::append_values(found, values);
  }
  return values;
}

TEST(Gradients, OfSequencesInOneStepAreTheSumOfThoseOfEach) {
  GoldenModel golden("flash-tiny", "reference:f64", ops::Numerics::High);
  std::vector<std::vector<std::int32_t>> sequences;
  for (const Index count : {Index{37}, Index{130}, Index{5}}) {
    const auto ids = random_ids(count, golden.config().vocab_size, 2);
    sequences.emplace_back(ids.begin(), ids.end());
  }
  for (const WeightKey& key : {WeightKey{WeightRole::KeyValue, Block::Layer, 1},
                               WeightKey{WeightRole::CompressorGate, Block::Layer, 2},
                               WeightKey{WeightRole::CompressorValue, Block::Layer, 3}}) {
    const std::vector<double> together = gradients_together(golden, key, golden.store(), sequences);
    std::vector<double> sum(together.size());
    for (const auto& sequence : sequences) {
      const auto alone = gradients_together(golden, key, golden.store(), {sequence});
      for (std::size_t i = 0; i < alone.size(); ++i) {  // empty: no block was closed
        sum[i] += alone[i];
      }
    }
    EXPECT_GT(*std::max_element(sum.begin(), sum.end()), 1e-3);
    EXPECT_TRUE(all_within(together, sum, 1e-10));
  }
}

TEST(Gradients, DoNotDependOnRecomputation) {
  for (const std::string checkpoint : {"flash-tiny", "llama-tied"}) {
    const std::string path = golden_folder(checkpoint).string();
    const std::vector<std::int64_t> ids = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9};
    const LossGradients once = compute_gradients(path, ids, {.recompute = false});
    const LossGradients again = compute_gradients(path, ids, {.recompute = true});
    EXPECT_EQ(once.loss, again.loss);
    ASSERT_EQ(once.tensors.size(), again.tensors.size());
    for (std::size_t i = 0; i < once.tensors.size(); ++i) {
      EXPECT_EQ(once.tensors[i].name, again.tensors[i].name);
      EXPECT_EQ(once.tensors[i].values, again.tensors[i].values) << once.tensors[i].name;
    }
  }
}

// In the published rounding gradients pass straight through, so they stay near those of `high`.
TEST(Gradients, OfTheOfficialNumericsPointWhereThoseOfHighPoint) {
  const std::string path = golden_folder("trained-bytes").string();
  const auto ids = random_ids(140, 256, 5);
  const LossGradients high = compute_gradients(path, ids, {});
  const LossGradients official = compute_gradients(path, ids, {.numerics = "official"});
  EXPECT_NEAR(official.loss, high.loss, 0.01 * high.loss);
  ASSERT_EQ(high.tensors.size(), official.tensors.size());
  double product = 0;
  double norms[2] = {};
  for (std::size_t i = 0; i < high.tensors.size(); ++i) {
    for (std::size_t k = 0; k < high.tensors[i].values.size(); ++k) {
      const auto a = static_cast<double>(high.tensors[i].values[k]);
      const auto b = static_cast<double>(official.tensors[i].values[k]);
      product += a * b;
      norms[0] += a * a;
      norms[1] += b * b;
    }
  }
  EXPECT_GT(product / std::sqrt(norms[0] * norms[1]), 0.75);  // 0.85; of others it is near zero
}

TEST(Gradients, WhatCannotBeDoneIsSaid) {
  const std::string path = golden_folder("llama-tiny").string();
  const auto refuse = [&](ErrorCode code, const std::string& part,
                          const std::vector<std::int64_t>& ids,
                          const GradientOptions& options = {}) {
    EXPECT_TRUE(fails_with(code, part, [&] { compute_gradients(path, ids, options); }));
  };
  refuse(ErrorCode::InvalidArgument, "tokens: 1, expected 2 to", {1});
  refuse(ErrorCode::InvalidArgument, "tokens: position 1: token id -1", {1, -1});
  refuse(ErrorCode::InvalidArgument, "numerics: found \"low\"", {1, 2}, {.numerics = "low"});
  refuse(ErrorCode::Unsupported, "fast multiplies int8 blocks", {1, 2}, {.numerics = "fast"});
  refuse(ErrorCode::Unsupported, "official is not defined", {1, 2}, {.numerics = "official"});
}

}  // namespace
}  // namespace fathom::testing
