// Models with a low-rank adapter beside their weights: the same bits however a sequence is cut and
// whatever is computed with it, the logits of the matrices that it stands for, and its gradients.
#include <cmath>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "fathom/adapters.h"
#include "fathom/compute/autograd/tape.h"
#include "fathom/fathom.h"
#include "fathom/model/kv/whole_sequence_kv.h"

#include "tests/golden/golden_model.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/random_adapter.h"
#include "tests/support/temp_dir.h"

namespace fathom::testing {
namespace {

using config::WeightRole;
using Logits = std::vector<float>;

std::vector<std::int32_t> some_tokens(Index count, Index vocab, unsigned seed = 5) {
  std::mt19937 engine(seed);
  std::vector<std::int32_t> tokens(to_size(count));
  for (std::int32_t& token : tokens) {
    token = static_cast<std::int32_t>(engine() % static_cast<unsigned>(vocab));
  }
  return tokens;
}

// The folder of an adapter on everything that a golden checkpoint has.
class AdapterFolder {
 public:
  explicit AdapterFolder(const std::string& checkpoint, unsigned seed = 1) {
    const OpenedModel opened = open_model(golden_folder(checkpoint));
    const config::ModelConfig& config = opened.config.model;
    weights::write_adapter(folder_.path(), *random_adapter(config, all_targets(config), seed),
                           adapter_base(opened), false);
  }
  std::string path() const { return folder_.path().string(); }

 private:
  test::TempDir folder_;
};

struct Case {
  std::string checkpoint;
  std::string numerics;
};

class AdaptedModel : public ::testing::TestWithParam<Case> {
 protected:
  std::shared_ptr<Model> open(const std::string& adapter, int num_threads = 2) const {
    return Model::open(
        golden_folder(GetParam().checkpoint).string(),
        {.num_threads = num_threads, .numerics = GetParam().numerics, .adapter = adapter});
  }
  Logits append(Session& session, std::span<const TokenId> tokens) const {
    Logits all;
    session.append(tokens, [&](Index /*first*/, Index count, const float* logits) {
      all.insert(all.end(), logits, logits + count * vocab_);
    });
    return all;
  }
  Index vocab_ = 0;
};

TEST_P(AdaptedModel, ChunksAndThreadsAndNeighboursChangeNoBit) {
  const AdapterFolder adapter(GetParam().checkpoint);
  const auto model = open(adapter.path());
  vocab_ = model->facts().vocab_size;
  const auto tokens = some_tokens(140, vocab_);
  Session whole = model->start();
  const Logits expected = append(whole, tokens);

  const auto threaded = open(adapter.path(), 3);
  Session chunked = threaded->start();
  Logits found;
  for (Index first = 0; first < 140; first += 23) {
    const auto count = std::min<Index>(23, 140 - first);
    const Logits part = append(chunked, std::span(tokens).subspan(to_size(first), to_size(count)));
    found.insert(found.end(), part.begin(), part.end());
  }
  EXPECT_EQ(found, expected);

  // Token by token beside another sequence.
  Session one = model->start();
  Session other = model->start();
  append(one, std::span(tokens).first(100));
  append(other, std::span(tokens).last(7));
  Session* sessions[] = {&other, &one};
  Logits rows;
  for (std::size_t token = 100; token < 140; ++token) {
    const TokenId next[] = {tokens[token - 50], tokens[token]};
    Session::append_each(sessions, next, [&](Index first, Index count, const float* logits) {
      if (first <= 1 && first + count > 1) {
        const float* row = logits + (1 - first) * vocab_;
        rows.insert(rows.end(), row, row + vocab_);
      }
    });
  }
  EXPECT_EQ(rows, Logits(expected.begin() + 100 * vocab_, expected.end()));

  const auto bare = open("");
  Session unadapted = bare->start();
  EXPECT_NE(append(unadapted, tokens), expected);
}

INSTANTIATE_TEST_SUITE_P(Golden,
                         AdaptedModel,
                         ::testing::Values(Case{"flash-tiny", "high"},
                                           Case{"flash-tiny", "official"},
                                           Case{"flash-tiny", "fast"},
                                           Case{"pro-tiny", "fast"},
                                           Case{"bf16-tiny", "official"},
                                           Case{"llama-tiny", "high"},
                                           Case{"llama-tiny.gguf", "fast"}),
                         [](const auto& item) {
                           std::string name = item.param.checkpoint + "_" + item.param.numerics;
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char letter) { return std::isalnum(letter) == 0; }, '_');
                           return name;
                         });

// A model in double over changed weights, or with an adapter beside them.
class DoubleModel {
 public:
  explicit DoubleModel(OpenedModel opened) : opened_(std::move(opened)) {}

  weights::Store& store() { return *opened_.store; }
  ops::Context& context() { return runtime_.context(); }

  std::vector<double> logits(const std::vector<std::int32_t>& tokens) {
    const tensor::Arena::Scope scope(context().arena);
    const tensor::Tensor rows = lm().logits(context(), forward(tokens));
    return {rows.data<double>(), rows.data<double>() + rows.num_elements()};
  }

  // Sum of the losses of all tokens but the first.
  double loss(const std::vector<std::int32_t>& tokens) {
    const tensor::Arena::Scope scope(context().arena);
    const tensor::Tensor all = losses(tokens);
    double sum = 0;
    for (Index i = 0; i < all.num_elements(); ++i) {
      sum += all.data<double>()[i];
    }
    return sum;
  }

  void compute_gradients(const std::vector<std::int32_t>& tokens,
                         autograd::ParameterGradients& gradients) {
    const tensor::Arena::Scope scope(context().arena);
    autograd::Tape tape(context(), gradients);
    const tensor::Tensor all = losses(tokens);
    std::fill_n(tape.of(all).data<double>(), all.num_elements(), 1.0);
    tape.run_backward();
  }

 private:
  const layers::CausalLm& lm() {
    if (lm_ == nullptr) {
      lm_ = build_model(opened_);
    }
    return *lm_;
  }
  tensor::Tensor forward(const std::vector<std::int32_t>& tokens) {
    kv_.emplace(lm().cache_layout(), context().real);
    batch_ = layers::TokenBatch::single(context().arena, tokens, *kv_);
    return lm().forward(context(), batch_);
  }
  tensor::Tensor losses(const std::vector<std::int32_t>& tokens) {
    const tensor::Tensor hidden = forward(tokens);
    return lm().token_losses(context(), hidden.slice(0, hidden.dim(0) - 1),
                             std::span(tokens).subspan(1));
  }

  runtime::Runtime runtime_{{.num_threads = 1, .backend = "reference:f64"}};
  OpenedModel opened_;
  std::unique_ptr<layers::CausalLm> lm_;
  std::optional<kv::WholeSequenceKv> kv_;
  layers::TokenBatch batch_;
};

// W + scale B A in the place of W.
void fold(weights::Store& store, const weights::Adapter& adapter) {
  store.make_trainable();
  for (const auto& [key, target] : adapter.targets()) {
    const std::span<float> weight = store.trainable(key.first, key.second);
    for (Index row = 0; row < target.rows; ++row) {
      for (Index column = 0; column < target.columns; ++column) {
        double sum = 0;
        for (Index k = 0; k < target.rank; ++k) {
          sum += static_cast<double>(target.b[to_size(row * target.rank + k)]) *
                 static_cast<double>(target.a[to_size(k * target.columns + column)]);
        }
        weight[to_size(row * target.columns + column)] += static_cast<float>(target.scale * sum);
      }
    }
  }
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    // Written as "not within", because every comparison with a NaN is false.
    if (!(std::abs(a[i] - b[i]) <= largest)) {
      largest = std::abs(a[i] - b[i]);
    }
  }
  return largest;
}

class EveryTarget : public ::testing::TestWithParam<std::string> {
 protected:
  OpenedModel open() const { return open_model(golden_folder(GetParam())); }
};

// Role by role, so that one that is left out shows.
TEST_P(EveryTarget, ComputesWithTheMatrixItStandsFor) {
  const OpenedModel opened = open();
  const config::ModelConfig& config = opened.config.model;
  const auto tokens = some_tokens(131, config.vocab_size);
  const std::vector<double> bare = DoubleModel(opened).logits(tokens);
  for (const config::AdapterRank& each :
       config::parse_adapter_targets(all_targets(config), config, 3)) {
    // So little that no token is routed elsewhere.
    const auto adapter = random_adapter(config, std::string(to_string(each.role)), 3, 1e-3F);
    const auto found = DoubleModel(adapted(opened, adapter)).logits(tokens);
    DoubleModel folded(open());
    fold(folded.store(), *adapter);
    const auto expected = folded.logits(tokens);
    const double change = largest_difference(found, bare);
    EXPECT_GT(change, 1e-5) << to_string(each.role);
    // Folded sums are rounded to fp32.
    EXPECT_LT(largest_difference(found, expected), 1e-2 * change) << to_string(each.role);
  }
}

struct Moved {
  float* number;
  float before;
  double gradient;
};

// Numbers of every A and B of a role move the way their gradients point, forth and back.
TEST_P(EveryTarget, GradientsMeetCentralDifferences) {
  const OpenedModel opened = open();
  const config::ModelConfig& config = opened.config.model;
  const auto tokens = some_tokens(131, config.vocab_size);
  const auto adapter = random_adapter(config, all_targets(config), 4);
  DoubleModel model(adapted(opened, adapter));
  autograd::ParameterGradients gradients(tensor::DType::F64);
  for (auto& [key, target] : adapter->targets()) {
    gradients.add(target.a.data(), target.rank, target.columns);
    gradients.add(target.b.data(), target.rows, target.rank);
  }
  model.compute_gradients(tokens, gradients);
  std::map<WeightRole, std::vector<Moved>> by_role;
  std::mt19937 engine(7);
  const auto choose = [&](WeightRole role, std::vector<float>& numbers) {
    const tensor::Tensor gradient = gradients.find(numbers.data());
    ASSERT_FALSE(gradient.is_empty()) << to_string(role);
    std::set<std::size_t> places;
    while (places.size() < 4) {
      places.insert(engine() % numbers.size());
    }
    for (const std::size_t at : places) {
      by_role[role].push_back({&numbers[at], numbers[at], gradient.data<double>()[at]});
    }
  };
  for (auto& [key, target] : adapter->targets()) {
    choose(key.first.role, target.a);
    choose(key.first.role, target.b);
  }
  for (const auto& [role, moved] : by_role) {
    constexpr double kStep = 0x1p-17;
    double expected = 0;
    const auto loss_at = [&](double direction) {
      for (const Moved& each : moved) {
        *each.number = static_cast<float>(static_cast<double>(each.before) +
                                          std::copysign(kStep, direction * each.gradient));
        expected += direction * each.gradient * static_cast<double>(*each.number);
      }
      return model.loss(tokens);
    };
    const double after = loss_at(1);
    const double found = after - loss_at(-1);
    for (const Moved& each : moved) {
      *each.number = each.before;
    }
    EXPECT_NE(expected, 0) << to_string(role);
    // Written as "not within", because every comparison with a NaN is false.
    EXPECT_FALSE(!(std::abs(found - expected) <= 1e-6 * std::abs(expected) + 4e-14 * after))
        << to_string(role) << ": the loss changes by " << found << ", expected " << expected;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden,
                         EveryTarget,
                         ::testing::Values("flash-tiny", "llama-tiny"),
                         [](const auto& item) {
                           std::string name = item.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// GGUF files have rows of queries and keys in another order.
TEST(AdapterOfTransformers, ChangesAGgufFileAlike) {
  const AdapterFolder adapter("llama-tiny");
  const auto logits = [&](const char* checkpoint) {
    const auto model = Model::open(golden_folder(checkpoint).string(), {.adapter = adapter.path()});
    Session session = model->start();
    Logits all;
    session.append(some_tokens(40, 256), [&](Index /*first*/, Index count, const float* rows) {
      all.insert(all.end(), rows, rows + count * 256);
    });
    return all;
  };
  EXPECT_TRUE(all_within(logits("llama-tiny.gguf"), logits("llama-tiny"), 2e-4));
}

TEST(AdapterOfAnotherModel, IsRefused) {
  const AdapterFolder adapter("flash-tiny");
  EXPECT_TRUE(fails_with(ErrorCode::InvalidCheckpoint, "the model has no such module", [&] {
    Model::open(golden_folder("llama-tiny").string(), {.adapter = adapter.path()});
  }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "made for a matrix", [&] {
    Model::open(golden_folder("pro-tiny").string(), {.adapter = adapter.path()});
  }));
}

}  // namespace
}  // namespace fathom::testing
