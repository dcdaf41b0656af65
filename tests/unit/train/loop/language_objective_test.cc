#include "fathom/train/loop/language_objective.h"

#include "fathom/model/kv/whole_sequence_kv.h"

#include "tests/support/expect_error.h"
#include "tests/unit/train/loop/objective_testing.h"

namespace fathom::train {
namespace {

using config::Block;
using config::WeightKey;
using config::WeightRole;
using config::WeightSpec;

// Losses of sequences by what serves them: logits row by row, the log of a softmax.
double loss_of_row(const tensor::Tensor& logits, Index row, std::int32_t target) {
  const Index vocab = logits.shape().last();
  const double* numbers = logits.data<double>() + row * vocab;
  double sum = 0;
  for (Index i = 0; i < vocab; ++i) {
    sum += std::exp(numbers[i] - numbers[target]);
  }
  return std::log(sum);
}

// Every piece by itself, and the MTP block without its last row.
LossSums losses_piece_by_piece(GradedModel& model, const data::Batch& batch) {
  ops::Context& context = model.context();
  LossSums sums;
  Index first = 0;
  for (const Index count : batch.piece_tokens) {
    const tensor::Arena::Scope scope(context.arena);
    const auto tokens = std::span(batch.tokens).subspan(to_size(first), to_size(count));
    kv::WholeSequenceKv cache(model.lm().cache_layout(), context.real);
    const auto step = layers::TokenBatch::single(context.arena, tokens, cache);
    const tensor::Tensor hidden = model.lm().forward(context, step);
    const tensor::Tensor logits = model.lm().logits(context, hidden);
    for (Index row = 0; row < count; ++row) {
      const auto weight = static_cast<double>(batch.loss_weights[to_size(first + row)]);
      sums.weight += weight;
      if (weight > 0) {
        sums.loss += weight * loss_of_row(logits, row, batch.targets[to_size(first + row)]);
      }
    }
    if (model.lm().draft() != nullptr && count > 1) {
      kv::WholeSequenceKv draft_cache(model.lm().draft()->cache_layout(), context.real);
      const auto next = layers::TokenBatch::single(context.arena, tokens.subspan(1), draft_cache);
      const tensor::Tensor drafted = model.lm().draft()->logits(
          context, model.lm().draft()->forward(context, next, hidden.slice(0, count - 1)));
      for (Index row = 0; row + 1 < count; ++row) {
        const auto weight = static_cast<double>(batch.loss_weights[to_size(first + row + 1)]);
        if (weight > 0) {
          sums.mtp_loss +=
              weight * loss_of_row(drafted, row, batch.targets[to_size(first + row + 1)]);
        }
      }
    }
    first += count;
  }
  return sums;
}

class LanguageLoss : public ::testing::TestWithParam<const char*> {};

TEST_P(LanguageLoss, IsTheWeightedSumOfWhatEveryPieceLosesAlone) {
  GradedModel model(GetParam());
  const data::Batch batch = random_batch({37, 1, 130, 5}, model.lm().config().vocab_size, 5);
  LanguageObjective objective(model.lm(), {});
  const LossSums found = objective.evaluate(model.context(), batch);
  const LossSums expected = losses_piece_by_piece(model, batch);
  EXPECT_EQ(found.weight, expected.weight);
  EXPECT_NEAR(found.loss, expected.loss, 1e-10 * expected.loss);
  EXPECT_NEAR(found.mtp_loss, expected.mtp_loss, 1e-10 * expected.mtp_loss);
  EXPECT_EQ(expected.mtp_loss > 0, model.lm().draft() != nullptr);
  autograd::ParameterGradients gradients = model.make_gradients();
  const LossSums recorded = objective.accumulate(model.context(), batch, 7, gradients);
  EXPECT_EQ(recorded.loss, found.loss);
  EXPECT_EQ(recorded.mtp_loss, found.mtp_loss);
}

TEST_P(LanguageLoss, HasTheGradientsOfCentralDifferences) {
  GradedModel model(GetParam());
  const data::Batch batch = random_batch({9, 131}, model.lm().config().vocab_size, 3);
  const LanguageOptions options{
      .mtp_coefficient = 0.4, .balance_coefficient = 3, .indexer_coefficient = 0};
  LanguageObjective objective(model.lm(), options);
  autograd::ParameterGradients gradients = model.make_gradients();
  objective.accumulate(model.context(), batch, 1, gradients);
  LossSlope slope(model, gradients);
  std::map<std::pair<WeightRole, Block>, std::vector<const WeightSpec*>> by_role;
  for (const WeightSpec& spec : model.specs()) {
    by_role[{spec.key.role, spec.key.block}].push_back(&spec);
  }
  const auto loss = [&] {
    const LossSums sums = objective.evaluate(model.context(), batch);
    return sums.loss + options.mtp_coefficient * sums.mtp_loss +
           options.balance_coefficient * sums.balance_loss;
  };
  std::string names;
  Index num_roles = 0;
  for (const auto& [key, specs] : by_role) {
    names += " " + std::string(to_string(key.first));
    for (const WeightSpec* spec : specs) {
      slope.move(*spec);
    }
    ++num_roles;
    if (num_roles % 12 == 0 || num_roles == to_index(by_role.size())) {
      EXPECT_TRUE(slope.meets(loss)) << names;
      names.clear();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens,
                         LanguageLoss,
                         ::testing::Values("flash-tiny", "pro-tiny", "llama-tied"),
                         [](const auto& item) {
                           std::string name = item.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(LanguageObjective, ReachesEveryParameterOfTheMtpBlock) {
  GradedModel model("flash-tiny");
  const data::Batch batch = random_batch({20}, model.lm().config().vocab_size, 3);
  LanguageObjective objective(model.lm(), {});
  autograd::ParameterGradients gradients = model.make_gradients();
  objective.accumulate(model.context(), batch, 1, gradients);
  Index num_reached = 0;
  for (const WeightSpec& spec : model.specs()) {
    if (spec.key.block == Block::Mtp) {
      EXPECT_FALSE(model.gradient(gradients, spec.key).empty()) << to_string(spec.key.role);
      ++num_reached;
    }
  }
  EXPECT_GT(num_reached, 20);
  gradients = model.make_gradients();
  objective.set_mtp_coefficient(0);
  objective.accumulate(model.context(), batch, 1, gradients);
  for (const WeightSpec& spec : model.specs()) {
    if (spec.key.block == Block::Mtp) {
      EXPECT_TRUE(model.gradient(gradients, spec.key).empty()) << to_string(spec.key.role);
    }
  }
}

bool is_indexers(const WeightKey& key) {
  return key.role >= WeightRole::IndexerQueryUp && key.role <= WeightRole::IndexerNorm;
}

// Indexers are moved by their own loss and nothing else; nothing else is moved by it.
TEST(IndexerLoss, ReachesIndexersAndNothingElse) {
  for (const bool is_warm_up : {false, true}) {
    GradedModel model("flash-tiny");
    const data::Batch batch = random_batch({3, 80}, model.lm().config().vocab_size, 3);
    LanguageOptions options{.indexer_coefficient = 0.5, .indexer_warm_up = is_warm_up};
    LanguageObjective objective(model.lm(), options);
    autograd::ParameterGradients gradients = model.make_gradients();
    const LossSums sums = objective.accumulate(model.context(), batch, 2, gradients);
    EXPECT_GT(sums.indexer_loss, 0);
    EXPECT_EQ(sums.indexer_loss, objective.evaluate(model.context(), batch).indexer_loss);
    options.indexer_coefficient = 0;
    autograd::ParameterGradients without = model.make_gradients();
    LanguageObjective(model.lm(), options).accumulate(model.context(), batch, 2, without);
    LossSlope slope(model, gradients);
    Index num_indexers = 0;
    for (const WeightSpec& spec : model.specs()) {
      if (is_indexers(spec.key)) {
        EXPECT_TRUE(model.gradient(without, spec.key).empty()) << to_string(spec.key.role);
        slope.move(spec);
        ++num_indexers;
      } else {
        EXPECT_EQ(model.gradient(without, spec.key), model.gradient(gradients, spec.key))
            << to_string(spec.key.role);
      }
    }
    EXPECT_EQ(num_indexers, 6);
    EXPECT_TRUE(slope.meets(
        [&] { return 0.25 * objective.evaluate(model.context(), batch).indexer_loss; }));
  }
}

TEST(IndexerLoss, OfTheWarmUpComparesEveryVisibleBlock) {
  GradedModel model("flash-tiny");
  const Index vocab = model.lm().config().vocab_size;
  const auto loss_of = [&](Index num_tokens, bool is_warm_up) {
    LanguageObjective objective(model.lm(), {.indexer_warm_up = is_warm_up});
    return objective.evaluate(model.context(), random_batch({num_tokens}, vocab, 3)).indexer_loss;
  };
  const Index all_chosen = 4 * model.lm().config().index_top_k;  // tokens
  EXPECT_EQ(loss_of(all_chosen, false), loss_of(all_chosen, true));
  EXPECT_NE(loss_of(2 * all_chosen, false), loss_of(2 * all_chosen, true));
}

TEST(LanguageObjective, AccumulatesTheStepWhateverItsBatches) {
  GradedModel model("flash-tiny");
  const Index vocab = model.lm().config().vocab_size;
  const data::Batch whole = random_batch({20, 30, 9}, vocab, 3);
  data::Batch parts[2];
  Index row = 0;
  for (std::size_t piece = 0; piece < 3; ++piece) {
    data::Batch& part = parts[piece == 0 ? 0 : 1];
    const Index count = whole.piece_tokens[piece];
    part.piece_tokens.push_back(count);
    const auto append = [&](auto& to, const auto& from) {
      to.insert(to.end(), from.begin() + row, from.begin() + row + count);
    };
    append(part.tokens, whole.tokens);
    append(part.targets, whole.targets);
    append(part.loss_weights, whole.loss_weights);
    row += count;
  }
  LanguageObjective objective(model.lm(), {});
  const double total = weight_of(whole);
  autograd::ParameterGradients together = model.make_gradients();
  const LossSums sums = objective.accumulate(model.context(), whole, total, together);
  autograd::ParameterGradients one_by_one = model.make_gradients();
  LossSums added;
  for (const data::Batch& part : parts) {
    added.add(objective.accumulate(model.context(), part, total, one_by_one));
  }
  EXPECT_NEAR(added.loss, sums.loss, 1e-10 * sums.loss);
  EXPECT_NEAR(added.mtp_loss, sums.mtp_loss, 1e-10 * sums.mtp_loss);
  for (const WeightSpec& spec : model.specs()) {
    const auto expected = model.gradient(together, spec.key);
    const auto found = model.gradient(one_by_one, spec.key);
    ASSERT_EQ(found.size(), expected.size());
    double largest = 0;
    double error = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      error = std::max(error, std::abs(found[i] - expected[i]));
    }
    EXPECT_TRUE(error <= 1e-10 * largest) << to_string(spec.key.role) << " " << error;
  }
}

TEST(LanguageObjective, DoesNotDependOnRecomputation) {
  for (const char* backend : {"reference:f64", "cpu"}) {
    GradedModel model("flash-tiny", backend);
    const data::Batch batch = random_batch({9, 70}, model.lm().config().vocab_size, 3);
    std::vector<std::vector<double>> found[2];
    for (const auto recomputation :
         {autograd::Recomputation::Segments, autograd::Recomputation::Off}) {
      LanguageObjective objective(model.lm(), {.recomputation = recomputation});
      autograd::ParameterGradients gradients = model.make_gradients();
      objective.accumulate(model.context(), batch, 100, gradients);
      for (const WeightSpec& spec : model.specs()) {
        found[recomputation == autograd::Recomputation::Off ? 1 : 0].push_back(
            model.gradient(gradients, spec.key));
      }
    }
    EXPECT_EQ(found[0], found[1]) << backend;
  }
}

TEST(LanguageObjective, ABatchWithoutWeightCostsNothing) {
  GradedModel model("flash-tiny");
  data::Batch batch = random_batch({20}, model.lm().config().vocab_size, 3);
  std::fill(batch.loss_weights.begin(), batch.loss_weights.end(), 0.0F);
  LanguageObjective objective(model.lm(), {});
  autograd::ParameterGradients gradients = model.make_gradients();
  const LossSums sums = objective.accumulate(model.context(), batch, 1, gradients);
  EXPECT_EQ(sums.loss, 0);
  EXPECT_EQ(sums.weight, 0);
  EXPECT_TRUE(model.gradient(gradients, {WeightRole::Head}).empty());
}

TEST(LanguageObjective, RefusesWhatCannotBeMeant) {
  GradedModel model("flash-tiny");
  data::Batch batch = random_batch({20}, model.lm().config().vocab_size, 3);
  autograd::ParameterGradients gradients = model.make_gradients();
  LanguageObjective objective(model.lm(), {});
  const auto refuse = [&](const char* part, const std::function<void()>& call) {
    EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, part, call));
  };
  refuse("mtp_coefficient: -1", [&] { LanguageObjective(model.lm(), {.mtp_coefficient = -1}); });
  refuse("mtp_coefficient: nan", [&] { objective.set_mtp_coefficient(std::nan("")); });
  refuse("total_weight: 0", [&] { objective.accumulate(model.context(), batch, 0, gradients); });
  batch.tokens[3] = -1;
  refuse("row 3: token id -1", [&] { objective.accumulate(model.context(), batch, 1, gradients); });
  refuse("row 3: token id -1", [&] { objective.evaluate(model.context(), batch); });
}

}  // namespace
}  // namespace fathom::train
