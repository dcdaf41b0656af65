#include "fathom/train/tune/dpo_objective.h"

#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "fathom/compute/runtime/runtime.h"
#include "fathom/train/loop/language_objective.h"
#include "fathom/train/tune/adapter_model.h"
#include "fathom/train/tune/example_source.h"

#include "tests/support/expect_error.h"
#include "tests/support/random_adapter.h"

namespace fathom::tune {
namespace {

// A golden model in double, bare and with an adapter.
class Pairs : public ::testing::TestWithParam<const char*> {
 protected:
  Pairs()
      : opened_(open_model(std::filesystem::path(FATHOM_SOURCE_DIR) /
                           "tests/data/golden/checkpoints" / GetParam())),
        adapter_(testing::random_adapter(opened_.config.model, "attention", 3)),
        reference_(build_model(opened_)),
        policy_(build_model(adapted(opened_, adapter_))) {}

  // A pair of random conversations: of the last tokens of each, the last but one counts not.
  Example pair(unsigned seed) {
    std::mt19937 engine(seed);
    Example example;
    for (const Index length : {14, 9}) {
      Piece piece;
      for (Index i = 0; i < length; ++i) {
        piece.tokens.push_back(static_cast<std::int32_t>(
            engine() % static_cast<unsigned>(opened_.config.model.vocab_size)));
        piece.weights.push_back(i < 5 || i + 2 == length ? 0.0F : 0.25F);
      }
      example.pieces.push_back(std::move(piece));
    }
    return example;
  }
  data::Batch batch() {
    Example both = pair(1);
    for (Piece& piece : pair(2).pieces) {
      both.pieces.push_back(std::move(piece));
    }
    return batch_of(both);
  }

  // The sum of -log p of a piece's targets that count, by another objective.
  double loss_of(const layers::CausalLm& lm, Piece piece) {
    for (float& weight : piece.weights) {
      weight = weight > 0 ? 1.0F : 0.0F;
    }
    return train::LanguageObjective(lm, {.mtp_coefficient = 0, .balance_coefficient = 0})
        .evaluate(context(), batch_of({{std::move(piece)}}))
        .loss;
  }

  ops::Context& context() { return runtime_.context(); }

  runtime::Runtime runtime_{{.num_threads = 1, .backend = "reference:f64"}};
  OpenedModel opened_;
  std::shared_ptr<weights::Adapter> adapter_;
  std::unique_ptr<layers::CausalLm> reference_;
  std::unique_ptr<layers::CausalLm> policy_;
};

TEST_P(Pairs, LoseWhatTheFormulaSays) {
  DpoObjective objective(*policy_, *reference_, {.beta = 0.7});
  double expected = 0;
  double weight = 0;
  for (const unsigned seed : {1U, 2U}) {
    const Example example = pair(seed);
    const auto gain = [&](const Piece& piece) {
      return loss_of(*reference_, piece) - loss_of(*policy_, piece);
    };
    const double margin = 0.7 * (gain(example.pieces[0]) - gain(example.pieces[1]));
    const double pair_weight = 0.25 * (8 + 3);
    expected += pair_weight * std::log(1 + std::exp(-margin));
    weight += pair_weight;
  }
  const train::LossSums found = objective.evaluate(context(), batch());
  EXPECT_NEAR(found.loss, expected, 1e-9 * expected);
  EXPECT_NEAR(found.weight, weight, 1e-9);
  EXPECT_NE(std::abs(objective.margins(context(), batch()).front()), 0);
}

TEST_P(Pairs, HaveTheGradientsOfCentralDifferences) {
  DpoObjective objective(*policy_, *reference_, {.beta = 0.7});
  autograd::ParameterGradients gradients(tensor::DType::F64);
  for (auto& [key, target] : adapter_->targets()) {
    gradients.add(target.b.data(), target.rows, target.rank);
  }
  constexpr double kTotalWeight = 3;
  const auto recorded = objective.accumulate(context(), batch(), kTotalWeight, gradients);
  EXPECT_EQ(recorded.loss, objective.evaluate(context(), batch()).loss);
  std::mt19937 engine(5);
  // Steps are so small that no token is routed elsewhere.
  std::size_t idx = 0;
  for (auto& [key, target] : adapter_->targets()) {
    if (idx++ % 5 != 0) {
      continue;
    }
    const std::size_t at = engine() % target.b.size();
    const double gradient = gradients.find(target.b.data()).data<double>()[at];
    const float before = target.b[at];
    const auto loss_at = [&](float step) {
      target.b[at] = before + step;
      const double loss = objective.evaluate(context(), batch()).loss;
      target.b[at] = before;
      return loss / kTotalWeight;
    };
    constexpr float kStep = 0x1p-18F;
    const double distance =
        static_cast<double>(before + kStep) - static_cast<double>(before - kStep);
    const double found = (loss_at(kStep) - loss_at(-kStep)) / distance;
    // Written as "not within", because every comparison with a NaN is false.
    EXPECT_FALSE(!(std::abs(found - gradient) <= 1e-6 * std::abs(gradient) + 1e-7))
        << found << " expected " << gradient;
  }
}

TEST_P(Pairs, OfTheModelItselfLoseLog2) {
  DpoObjective objective(*reference_, *reference_, {});
  const train::LossSums sums = objective.evaluate(context(), batch());
  EXPECT_NEAR(sums.loss / sums.weight, std::log(2.0), 1e-12);
}

TEST_P(Pairs, WhatIsNoPairIsRefused) {
  DpoObjective objective(*policy_, *reference_, {});
  Example example = pair(1);
  example.pieces.pop_back();
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "1 pieces in a batch",
                                  [&] { objective.evaluate(context(), batch_of(example)); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "beta",
                                  [&] { DpoObjective(*policy_, *reference_, {.beta = 0}); }));
}

INSTANTIATE_TEST_SUITE_P(Goldens,
                         Pairs,
                         ::testing::Values("flash-tiny", "llama-tiny"),
                         [](const auto& item) {
                           std::string name = item.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace fathom::tune
