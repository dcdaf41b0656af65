#include "fathom/train/loop/trainer.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/train/loop/fake_training.h"

namespace fathom::train {
namespace {

using testing::FakeTraining;

TEST(Trainer, StepsLowerTheLoss) {
  FakeTraining fake;
  Trainer trainer(fake.parts(), {.batches_per_step = 3});
  const double first = trainer.step().loss;
  double last = first;
  for (int step = 0; step < 200; ++step) {
    last = trainer.step().loss;
  }
  EXPECT_LT(last, 0.3 * first);
  EXPECT_EQ(trainer.state().step, 201);
  EXPECT_EQ(trainer.state().tokens, 201 * 12);
  EXPECT_EQ(fake.model.bias[0], 201 * 3 * 3.5F) << "the model follows every update";
}

TEST(Trainer, BatchesOfAStepCountByTheirWeightsAsOneBatchWould) {
  // The mean over two batches of four tokens: computed here from the definition.
  FakeTraining fake;
  const std::vector<float> values = fake.model.values;
  double loss = 0;
  double weight = 0;
  std::vector<double> gradient(3);
  for (int place = 0; place < 8; ++place) {
    const int token = place % 7;
    const double each = place % 4 == 3 ? 0.5 : 1;
    const double error = static_cast<double>(values[static_cast<std::size_t>(token % 3)]) - token;
    loss += each * error * error / 2;
    gradient[static_cast<std::size_t>(token % 3)] += each * error;
    weight += each;
  }
  double norm = 0;
  for (const double each : gradient) {
    norm += each * each / (weight * weight);
  }
  Trainer trainer(fake.parts(), {.batches_per_step = 2});
  const StepResult result = trainer.step();
  EXPECT_NEAR(result.loss, loss / weight, 1e-9);
  EXPECT_NEAR(result.gradient_norm, std::sqrt(norm), 1e-5);
  EXPECT_EQ(result.num_tokens, 8);
}

TEST(Trainer, ALossThatIsNoNumberLeavesEverythingAsItWas) {
  FakeTraining fake;
  fake.source.set_bad(1, 2);
  Trainer trainer(fake.parts(), {});
  ASSERT_TRUE(trainer.step().is_good());
  const std::vector<float> before = fake.model.values;
  const std::vector<float> bias = fake.model.bias;
  const StepResult refused = trainer.step();
  EXPECT_EQ(refused.verdict, Verdict::NotFinite);
  EXPECT_EQ(refused.step, 1);
  EXPECT_EQ(fake.model.values, before);
  EXPECT_EQ(fake.model.bias, bias);
  EXPECT_EQ(fake.optimizer->num_steps(), 1);
  EXPECT_EQ(trainer.state().refused_steps, 1);
  EXPECT_EQ(trainer.state().refused_in_a_row, 1);
  const StepResult next = trainer.step();
  EXPECT_TRUE(next.is_good());
  EXPECT_EQ(next.step, 2);
  EXPECT_EQ(trainer.state().refused_in_a_row, 0);
  EXPECT_EQ(trainer.state().tokens, 12) << "refused data counts as read";
}

TEST(Trainer, AGradientThatIsNoNumberIsRefusedAndSaidWhere) {
  FakeTraining fake;
  fake.model.values[1] = std::numeric_limits<float>::quiet_NaN();
  fake.objective.bad_loss = 0;
  Trainer trainer(fake.parts(), {});
  const StepResult refused = trainer.step();
  EXPECT_EQ(refused.verdict, Verdict::NotFinite);
  EXPECT_NE(refused.detail.find('x'), std::string::npos) << refused.detail;
}

TEST(Trainer, ASpikeIsRefused) {
  FakeTraining fake;
  fake.source.set_bad(40, 41);
  fake.objective.bad_loss = 1e6;
  Trainer trainer(fake.parts(), {});
  Index num_refused = 0;
  for (int step = 0; step < 60; ++step) {
    const StepResult result = trainer.step();
    if (!result.is_good()) {
      ++num_refused;
      EXPECT_EQ(result.verdict, Verdict::LossSpike);
      EXPECT_EQ(step, 40);
      EXPECT_GT(result.loss, result.loss_limit);
    }
  }
  EXPECT_EQ(num_refused, 1);
}

TEST(Trainer, StateAndTensorsPutBackGiveTheSameBits) {
  FakeTraining one;
  Trainer first(one.parts(), {.batches_per_step = 2});
  for (int step = 0; step < 10; ++step) {
    first.step();
  }
  FakeTraining two;
  Trainer second(two.parts(), {.batches_per_step = 2});
  two.model.values.assign(one.model.values.begin(), one.model.values.end());
  auto from = one.optimizer->state();
  auto to = two.optimizer->state();
  ASSERT_EQ(from.size(), to.size());
  for (std::size_t idx = 0; idx < from.size(); ++idx) {
    std::copy(from[idx].values.begin(), from[idx].values.end(), to[idx].values.begin());
  }
  two.optimizer->set_num_steps(one.optimizer->num_steps());
  two.source.restore(one.source.state());
  second.restore(first.state());
  for (int step = 0; step < 10; ++step) {
    const StepResult a = first.step();
    const StepResult b = second.step();
    EXPECT_EQ(a.loss, b.loss);
    EXPECT_EQ(a.step, b.step);
  }
  EXPECT_EQ(one.model.values, two.model.values);
  EXPECT_EQ(first.state(), second.state());
}

TEST(Trainer, ValidationIsAMeanWithTheErrorOfItsBatches) {
  FakeTraining fake;
  fake.model.values = {0, 0, 0};
  Trainer trainer(fake.parts(), {});
  testing::CountingSource source;
  const Validation validation = trainer.validate(source, 7);  // every token as often
  // Weights 1, 1, 1, 1/2 of four tokens in turn, over four periods of 0 to 6.
  double loss = 0;
  double weight = 0;
  std::vector<double> losses(7);
  for (int place = 0; place < 28; ++place) {
    const double each = place % 4 == 3 ? 0.5 : 1;
    const double token = place % 7;
    losses[static_cast<std::size_t>(place / 4)] += each * token * token / 2;
    weight += each;
  }
  double squares = 0;
  for (const double each : losses) {
    loss += each;
  }
  for (const double each : losses) {
    squares += (each - loss / 7) * (each - loss / 7);
  }
  EXPECT_NEAR(validation.loss, loss / weight, 1e-12);
  EXPECT_NEAR(validation.standard_error.value(), std::sqrt(squares / 7 / 6) / 3.5, 1e-12);
  EXPECT_EQ(validation.num_tokens, 28);
  EXPECT_EQ(fake.model.values, (std::vector<float>{0, 0, 0}));
  EXPECT_FALSE(trainer.validate(source, 1).standard_error.has_value());
}

TEST(Trainer, ClippingShortensLongGradientsOnly) {
  // AdamW's first step is as long whatever the gradient; what it keeps of it tells.
  const auto kept = [](double clip_norm) {
    FakeTraining fake;
    Trainer trainer(fake.parts(), {.clip_norm = clip_norm});
    const StepResult result = trainer.step();
    for (const optim::StateTensor& tensor : fake.optimizer->state()) {
      if (tensor.name.find(".m.") != std::string::npos) {
        return std::pair(static_cast<double>(tensor.values[0]), result.gradient_norm);
      }
    }
    return std::pair(0.0, 0.0);
  };
  const auto [whole, norm] = kept(0);
  EXPECT_NE(whole, 0);
  EXPECT_NEAR(kept(norm / 4).first, whole / 4, 1e-6);
  EXPECT_EQ(kept(norm * 4).first, whole);
}

TEST(Trainer, WrongOptionsAreNamed) {
  FakeTraining fake;
  EXPECT_TRUE(fathom::testing::fails_with(ErrorCode::InvalidArgument, "batches_per_step",
                                          [&] { Trainer(fake.parts(), {.batches_per_step = 0}); }));
  EXPECT_TRUE(fathom::testing::fails_with(ErrorCode::InvalidArgument, "clip_norm",
                                          [&] { Trainer(fake.parts(), {.clip_norm = -1}); }));
}

}  // namespace
}  // namespace fathom::train
