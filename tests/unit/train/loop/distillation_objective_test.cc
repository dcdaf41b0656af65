#include "fathom/train/loop/distillation_objective.h"

#include <numeric>

#include "fathom/model/kv/whole_sequence_kv.h"

#include "tests/support/expect_error.h"
#include "tests/unit/train/loop/objective_testing.h"

namespace fathom::train {
namespace {

// log softmax(logits / temperature) of every row of every piece, each piece alone.
std::vector<std::vector<double>> log_probs(GradedModel& model,
                                           ops::Context& context,
                                           const data::Batch& batch,
                                           double temperature) {
  std::vector<std::vector<double>> rows;
  Index first = 0;
  for (const Index count : batch.piece_tokens) {
    const tensor::Arena::Scope scope(context.arena);
    kv::WholeSequenceKv cache(model.lm().cache_layout(), context.real);
    const auto step = layers::TokenBatch::single(
        context.arena, std::span(batch.tokens).subspan(to_size(first), to_size(count)), cache);
    const tensor::Tensor logits = model.lm().logits(context, model.lm().forward(context, step));
    const Index vocab = logits.shape().last();
    for (Index row = 0; row < count; ++row) {
      const double* numbers = logits.data<double>() + row * vocab;
      std::vector<double> scaled(numbers, numbers + vocab);
      double sum = 0;
      for (double& number : scaled) {
        number /= temperature;
        sum += std::exp(number);
      }
      for (double& number : scaled) {
        number -= std::log(sum);
      }
      rows.push_back(scaled);
    }
    first += count;
  }
  return rows;
}

double loss_by_formula(const std::vector<std::vector<double>>& student,
                       const std::vector<std::vector<double>>& teacher,
                       const data::Batch& batch,
                       const DistillationOptions& options) {
  double loss = 0;
  for (std::size_t row = 0; row < student.size(); ++row) {
    std::vector<std::size_t> order(teacher[row].size());
    std::iota(order.begin(), order.end(), 0U);
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return teacher[row][a] > teacher[row][b]; });
    double of_row = 0;
    double p_rest = 1;
    double q_rest = 1;
    for (std::size_t idx = 0; idx < to_size(options.top_k); ++idx) {
      const double p = teacher[row][order[idx]];
      const double q = student[row][order[idx]];
      of_row += std::exp(p) * (p - q);
      p_rest -= std::exp(p);
      q_rest -= std::exp(q);
    }
    of_row += p_rest * std::log(p_rest / q_rest);
    loss += static_cast<double>(batch.loss_weights[row]) * options.temperature *
            options.temperature * of_row;
  }
  return loss;
}

TEST(DistillationObjective, IsTheDivergenceFromATeacherBesideTheTokens) {
  GradedModel student("flash-tiny");
  GradedModel teacher("pro-tiny");
  const data::Batch batch = random_batch({37, 1, 9}, 512, 5);
  const DistillationOptions options{
      .language = {.mtp_coefficient = 0}, .weight = 0.7, .top_k = 5, .temperature = 1.5};
  DistillationObjective objective(student.lm(), teacher.lm(), options);
  const LossSums found = objective.evaluate(student.context(), batch);
  const double expected =
      loss_by_formula(log_probs(student, student.context(), batch, 1.5),
                      log_probs(teacher, student.context(), batch, 1.5), batch, options);
  EXPECT_NEAR(found.distillation_loss, expected, 1e-9 * expected);
  LanguageObjective alone(student.lm(), options.language);
  EXPECT_EQ(found.loss, alone.evaluate(student.context(), batch).loss);
}

TEST(DistillationObjective, HasTheGradientsOfCentralDifferences) {
  GradedModel student("flash-tiny");
  GradedModel teacher("pro-tiny");
  const data::Batch batch = random_batch({9, 21}, 512, 3);
  const DistillationOptions options{
      .language = {.mtp_coefficient = 0.2, .balance_coefficient = 0, .indexer_coefficient = 0},
      .weight = 0.7,
      .top_k = 5,
      .temperature = 1.5};
  DistillationObjective objective(student.lm(), teacher.lm(), options);
  autograd::ParameterGradients gradients = student.make_gradients();
  const LossSums recorded = objective.accumulate(student.context(), batch, 1, gradients);
  EXPECT_EQ(recorded.distillation_loss,
            objective.evaluate(student.context(), batch).distillation_loss);
  LossSlope slope(student, gradients);
  for (const config::WeightSpec& spec : student.specs()) {
    slope.move(spec);
  }
  EXPECT_TRUE(slope.meets([&] {
    const LossSums sums = objective.evaluate(student.context(), batch);
    return 0.3 * sums.loss + 0.7 * sums.distillation_loss + 0.2 * sums.mtp_loss;
  }));
}

TEST(DistillationObjective, OfATeacherAloneHasNoGradientFromTargets) {
  GradedModel student("flash-tiny");
  data::Batch batch = random_batch({21}, 512, 3);
  const DistillationOptions options{
      .language = {.mtp_coefficient = 0, .balance_coefficient = 0}, .weight = 1, .top_k = 512};
  DistillationObjective objective(student.lm(), student.lm(), options);
  autograd::ParameterGradients gradients = student.make_gradients();
  const LossSums sums = objective.accumulate(student.context(), batch, 1, gradients);
  EXPECT_GT(sums.loss, 0);
  EXPECT_NEAR(sums.distillation_loss, 0, 1e-9);  // its own teacher
  for (const double number : student.gradient(gradients, {config::WeightRole::Head})) {
    ASSERT_NEAR(number, 0, 1e-12);
  }
}

TEST(DistillationObjective, RefusesWhatCannotBeMeant) {
  GradedModel student("flash-tiny");
  GradedModel other("trained-bytes");
  const auto refuse = [&](const char* part, const layers::CausalLm& teacher,
                          const DistillationOptions& options) {
    EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, part, [&] {
      DistillationObjective(student.lm(), teacher, options);
    }));
  };
  refuse("teacher: a vocabulary of 320 tokens, expected 512", other.lm(), {});
  refuse("distillation weight: 1.5", student.lm(), {.weight = 1.5});
  refuse("distillation top_k: 513, expected 1 to 512", student.lm(), {.top_k = 513});
  refuse("distillation temperature: 0", student.lm(), {.temperature = 0});
  refuse("mtp_coefficient: -1", student.lm(), {.language = {.mtp_coefficient = -1}});
}

}  // namespace
}  // namespace fathom::train
