#include "fathom/train/loop/language_pass.h"

#include "fathom/base/platform/thread_pool.h"
#include "fathom/model/config/training_footprint.h"
#include "fathom/model/deepseek_v4/weight_names.h"
#include "fathom/model/kv/sequence_cache.h"
#include "fathom/model/weights/synth.h"
#include "fathom/model/weights/synth_presets.h"
#include "fathom/train/loop/parameters.h"
#include "fathom/train/optim/optimizer.h"

#include "tests/support/temp_dir.h"
#include "tests/unit/train/loop/objective_testing.h"

namespace fathom::train {
namespace {

// What is trained is what is served: the same bits.

// The losses of a batch as a server computes them: piece by piece, some tokens a step, through
// paged caches; weighed and summed as a pass does.
LossSums served_losses(GradedModel& model, const data::Batch& batch, Index step_tokens) {
  ops::Context& context = model.context();
  LossSums sums;
  Index first_row = 0;
  for (const Index count : batch.piece_tokens) {
    kv::SequenceCache cache(model.lm().cache_layout(), context.real);
    const layers::DraftModule* draft = model.lm().draft();
    std::optional<kv::SequenceCache> draft_cache;
    if (draft != nullptr) {
      draft_cache.emplace(draft->cache_layout(), context.real);
    }
    for (Index first = 0; first < count; first += step_tokens) {
      const tensor::Arena::Scope scope(context.arena);
      const Index row = first_row + first;
      const Index rows = std::min(step_tokens, count - first);
      const auto part = [&](const auto& list, Index from, Index length) {
        return std::span(list).subspan(to_size(from), to_size(length));
      };
      const tensor::Tensor hidden =
          run_step(model.lm(), context,
                   layers::TokenBatch::single(context.arena, part(batch.tokens, row, rows), cache));
      const auto add = [&](double& sum, const tensor::Tensor& losses, Index from) {
        for (Index i = 0; i < losses.num_elements(); ++i) {
          sum += static_cast<double>(batch.loss_weights[to_size(from + i)]) *
                 static_cast<double>(losses.data<float>()[i]);
        }
      };
      add(sums.loss, model.lm().token_losses(context, hidden, part(batch.targets, row, rows)), row);
      const Index drafted = std::min(rows, count - 1 - first);
      if (draft != nullptr && drafted > 0) {
        const auto next = layers::TokenBatch::single(
            context.arena, part(batch.tokens, row + 1, drafted), *draft_cache);
        const tensor::Tensor states = run_step(*draft, context, next, hidden.slice(0, drafted));
        add(sums.mtp_loss,
            draft->token_losses(context, states, part(batch.targets, row + 1, drafted)), row + 1);
      }
    }
    first_row += count;
  }
  return sums;
}

// Every target counts, so sums have the order of rows.
data::Batch full_batch(const std::vector<Index>& piece_tokens, Index vocab_size) {
  data::Batch batch = random_batch(piece_tokens, vocab_size, 4);
  for (std::size_t row = 0; row < batch.targets.size(); ++row) {
    batch.targets[row] = std::max(batch.targets[row], 0);
    batch.loss_weights[row] = 0.125F * static_cast<float>(1 + row % 9);
  }
  return batch;
}

struct Case {
  const char* checkpoint;
  const char* backend;
  ops::Numerics numerics;
};

class TrainedAsServed : public ::testing::TestWithParam<Case> {};

TEST_P(TrainedAsServed, LossesHaveTheSameBitsWithEveryLossSwitchedOn) {
  GradedModel model(GetParam().checkpoint, GetParam().backend, GetParam().numerics);
  const LanguageOptions every{
      .mtp_coefficient = 0.3, .balance_coefficient = 0.1, .indexer_coefficient = 1};
  const LanguageOptions only_tokens{
      .mtp_coefficient = 0, .balance_coefficient = 0, .indexer_coefficient = 0};
  const bool is_slow = std::string(GetParam().backend) == "reference";
  for (const std::vector<Index>& pieces : {std::vector<Index>{3, 1, 140, 20}, {150}}) {
    const data::Batch batch = full_batch(pieces, model.lm().config().vocab_size);
    const LossSums served = served_losses(model, batch, 31);
    for (const LanguageOptions& options : {every, only_tokens}) {
      for (const auto recomputation :
           {autograd::Recomputation::Segments, autograd::Recomputation::Off}) {
        LanguageOptions chosen = options;
        chosen.recomputation = recomputation;
        autograd::ParameterGradients gradients = model.make_gradients();
        LanguageObjective objective(model.lm(), chosen);
        const LossSums trained = objective.accumulate(model.context(), batch, 9, gradients);
        EXPECT_EQ(trained.loss, served.loss);
        EXPECT_EQ(trained.mtp_loss, chosen.mtp_coefficient > 0 ? served.mtp_loss : 0);
        EXPECT_EQ(objective.evaluate(model.context(), batch).loss, served.loss);
        if (is_slow) {
          return;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens,
                         TrainedAsServed,
                         ::testing::Values(Case{"flash-tiny", "cpu", ops::Numerics::High},
                                           Case{"flash-tiny", "cpu", ops::Numerics::Official},
                                           Case{"flash-tiny", "reference", ops::Numerics::High},
                                           Case{"flash-tiny", "reference", ops::Numerics::Official},
                                           Case{"pro-tiny", "cpu", ops::Numerics::High},
                                           Case{"trained-bytes", "cpu", ops::Numerics::Official},
                                           Case{"llama-tiny", "cpu", ops::Numerics::High}),
                         [](const auto& item) {
                           std::string name = std::string(item.param.checkpoint) + "_" +
                                              item.param.backend + "_" +
                                              std::string(ops::to_string(item.param.numerics));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// What config/training_footprint.h predicts is what a step takes.
void expect_near(const char* what, Index found, Index predicted) {
  const double quotient = static_cast<double>(predicted) / static_cast<double>(found);
  EXPECT_TRUE(quotient >= 0.9 && quotient <= 1.1)
      << what << ": " << found << " bytes, predicted " << predicted;
  ::testing::Test::RecordProperty(what, std::to_string(quotient));
}

void compare(const std::string& checkpoint,
             const std::vector<Index>& pieces,
             const LanguageOptions& options,
             ops::Numerics numerics = ops::Numerics::High) {
  GradedModel model(checkpoint, "cpu", numerics);
  const config::ModelConfig& config = model.lm().config();
  const data::Batch batch = random_batch(pieces, config.vocab_size, 3);
  autograd::ParameterGradients gradients = model.make_gradients();
  LanguagePass pass(model.lm(), options, model.context(), batch);
  pass.run_with_gradients(1, gradients);
  config::TrainingStep step;
  step.num_tokens = batch.num_tokens();
  step.recomputes_layers = options.recomputation == autograd::Recomputation::Segments;
  step.has_mtp = options.mtp_coefficient > 0;
  step.teaches_indexers = options.indexer_coefficient > 0;
  step.is_official = numerics == ops::Numerics::Official;
  step.is_quantised = true;  // as these checkpoints are stored
  const config::TrainingBytes predicted = config::training_bytes(config, step);
  const std::string what = checkpoint + " of " + std::to_string(batch.num_tokens()) + " tokens";
  expect_near((what + ", activations").c_str(), model.context().arena.peak_bytes(),
              predicted.activations);
  expect_near((what + ", their gradients").c_str(), pass.gradient_bytes(),
              predicted.activation_gradients);
  Index trained = 0;
  for (const config::WeightSpec& spec : model.specs()) {
    trained += 4 * spec.num_elements();
  }
  EXPECT_EQ(predicted.weight_gradients, trained);
}

TEST(StepMemory, OfGoldenModelsIsAsPredicted) {
  for (const char* checkpoint : {"flash-tiny", "pro-tiny", "trained-bytes", "llama-tiny"}) {
    for (const auto recomputation :
         {autograd::Recomputation::Segments, autograd::Recomputation::Off}) {
      compare(checkpoint, {150}, {.recomputation = recomputation});
    }
  }
}

TEST(StepMemory, FollowsTheTokensAndTheLossesThatAreSwitchedOn) {
  compare("flash-tiny", {40}, {});
  compare("flash-tiny", {300}, {});
  compare("flash-tiny", {100, 3, 60}, {});
  compare("flash-tiny", {200}, {.mtp_coefficient = 0, .indexer_coefficient = 0});
  compare("flash-tiny", {200}, {}, ops::Numerics::Official);
  compare("trained-bytes", {200}, {}, ops::Numerics::Official);
}

TEST(StepMemory, OfOptimizersIsAsPredicted) {
  for (const char* checkpoint : {"flash-tiny", "llama-tiny"}) {
    GradedModel model(checkpoint, "cpu");
    const config::ModelConfig& config = model.lm().config();
    platform::ThreadPool pool;
    const ParameterList list(config, model.store(), names_of(config.family), {});
    Index num_bytes = 0;
    for (const optim::StateTensor& tensor :
         optim::make_optimizer(list.parameters(), {}, pool)->state()) {
      num_bytes += to_index(tensor.values.size_bytes());
    }
    // Besides, optimisers keep a count of steps here and there.
    const Index predicted = config::training_bytes(config, {.num_tokens = 1}).optimizer_state;
    EXPECT_TRUE(num_bytes >= predicted && num_bytes <= predicted + predicted / 1000)
        << num_bytes << " bytes, predicted " << predicted << ", " << checkpoint;
  }
}

TEST(StepMemory, OfTheMiniPresetIsAsPredicted) {
  const test::TempDir folder;
  const auto preset = weights::find_synth_preset("mini");
  ASSERT_TRUE(preset.has_value());
  platform::ThreadPool pool;
  const std::string path = (folder.path() / "mini").string();
  weights::write_synthetic(preset->config, preset->storage, deepseek_v4::weight_names(), path, {},
                           pool);
  for (const auto recomputation :
       {autograd::Recomputation::Segments, autograd::Recomputation::Off}) {
    compare(path, {140}, {.recomputation = recomputation});
  }
}

}  // namespace
}  // namespace fathom::train
