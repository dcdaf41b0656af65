#include "fathom/train/loop/export.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "fathom/compute/runtime/runtime.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/kv/sequence_cache.h"
#include "fathom/train/loop/quantisation_aware.h"

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/train/loop/trainable_model.h"

namespace fathom::train {
namespace {

using testing::fails_with;

std::vector<float> decoded(const numeric::WeightView& view) {
  std::vector<float> numbers(to_size(view.rows * view.columns));
  for (Index row = 0; row < view.rows; ++row) {
    numeric::decode_row(view, row, 0, view.columns, numbers.data() + row * view.columns);
  }
  return numbers;
}

std::vector<float> logits_of(const OpenedModel& opened, ops::Numerics numerics) {
  runtime::Runtime runtime({.num_threads = 2, .backend = "cpu", .numerics = numerics});
  ops::Context& context = runtime.context();
  const auto lm = build_model(opened);
  kv::SequenceCache cache(lm->cache_layout(), context.real, {});
  std::vector<std::int32_t> tokens;
  for (std::int32_t i = 0; i < 140; ++i) {
    tokens.push_back(i * 37 % static_cast<std::int32_t>(lm->config().vocab_size));
  }
  const auto batch = layers::TokenBatch::single(context.arena, tokens, cache);
  const tensor::Tensor logits = lm->logits(context, layers::run_step(*lm, context, batch));
  return {logits.data<float>(), logits.data<float>() + logits.num_elements()};
}

void write(TrainableModel& model,
           const config::StoragePlan& plan,
           const std::filesystem::path& to,
           const ExportOptions& options = {}) {
  platform::ThreadPool pool({.num_threads = 2});
  export_model({model.config(), model.names(), model.store()}, plan, to, options, pool);
}

class ExportedModel : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

// Serving sees what training computed with, to the last bit.
TEST_P(ExportedModel, HasTheBitsThatItWasTrainedWith) {
  const auto& [checkpoint, storage] = GetParam();
  const config::StoragePlan plan = config::storage_plan_from_name(storage);
  TrainableModel model(checkpoint);
  platform::ThreadPool pool({.num_threads = 2});
  ParameterList list = model.list({.matrices = optim::Method::AdamW});
  QuantisationAware quantisation(model.config(), plan, model.names(), model.store(), list, pool);
  step_by_random_gradients(list, pool);
  quantisation.update_layers(pool);
  const test::TempDir folder;
  write(model, plan, folder / "out");
  const OpenedModel written = open_model(folder / "out");
  EXPECT_EQ(written.store->missing(), std::vector<std::string>{});
  EXPECT_EQ(written.store->unexpected(), std::vector<std::string>{});
  EXPECT_EQ(written.config.storage, plan);
  Index num_compared = 0;
  for (const config::WeightSpec& spec : config::weight_table(written.config.model)) {
    if (spec.storage == config::StorageClass::TokenIds) {
      EXPECT_EQ(written.store->ids(spec.key, model.config().num_experts),
                model.store().ids(spec.key, model.config().num_experts));
      continue;
    }
    for (Index expert = 0; expert < std::max<Index>(spec.num_experts, 1); ++expert) {
      const std::span<float> trained = model.store().trainable(spec.key, expert);
      const std::vector<float> read = decoded(written.store->matrix(spec.key, expert).view);
      ASSERT_TRUE(std::equal(read.begin(), read.end(), trained.begin(), trained.end()))
          << to_string(spec.key.role);
      ++num_compared;
    }
  }
  EXPECT_GT(num_compared, 20);
  for (const auto numerics : {ops::Numerics::High, ops::Numerics::Official}) {
    if (numerics == ops::Numerics::High || written.config.model.family != config::Family::Llama) {
      EXPECT_EQ(logits_of(written, numerics), logits_of(model.opened, numerics));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Plans,
                         ExportedModel,
                         ::testing::Values(std::pair{"flash-tiny", "fp4"},
                                           std::pair{"flash-tiny", "fp8"},
                                           std::pair{"pro-tiny", "bf16"},
                                           std::pair{"llama-tied", "bf16"}));

TEST(Export, WithoutAnMtpBlockTheConfigHasNone) {
  TrainableModel model;
  ASSERT_FALSE(model.config().mtp_layers.empty());
  const test::TempDir folder;
  write(model, config::storage_plan_from_name("bf16"), folder / "with");
  EXPECT_EQ(open_model(folder / "with").config.model.mtp_layers.size(), 1U);
  // A file without the block, whose config promises one.
  config::ModelConfig without = model.config();
  without.mtp_layers.clear();
  platform::ThreadPool pool({.num_threads = 1});
  const weights::Store store(model.opened.checkpoint, without, model.names());
  export_model({model.config(), model.names(), store}, config::storage_plan_from_name("bf16"),
               folder / "without", {}, pool);
  EXPECT_TRUE(open_model(folder / "without").config.model.mtp_layers.empty());
}

TEST(Export, TextFilesAreCopied) {
  TrainableModel model;
  const test::TempDir folder;
  std::filesystem::create_directory(folder / "text");
  test::write_file(folder / "text/tokenizer.json", "{\"x\": 1}");
  test::write_file(folder / "text/unrelated.json", "{}");
  write(model, config::storage_plan_from_name("bf16"), folder / "out",
        {.max_shard_bytes = 200'000, .text_files = folder / "text"});
  EXPECT_EQ(test::read_file(folder / "out/tokenizer.json"), "{\"x\": 1}");
  EXPECT_FALSE(std::filesystem::exists(folder / "out/unrelated.json"));
  EXPECT_TRUE(std::filesystem::exists(folder / "out/model.safetensors.index.json"));
  EXPECT_EQ(open_model(folder / "out").store->missing(), std::vector<std::string>{});
}

TEST(Export, ANumberThatIsNotFiniteIsNamedAndNothingIsWritten) {
  TrainableModel model;
  model.store().trainable({config::WeightRole::QueryDown, config::Block::Layer, 1})[70] = NAN;
  const test::TempDir folder;
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "layers.1.attn.wq_a.weight: element [", [&] {
    write(model, config::storage_plan_from_name("fp4"), folder / "out");
  }));
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

TEST(Export, AFolderWithFilesIsOnlyOverwrittenWhenAsked) {
  TrainableModel model;
  const test::TempDir folder;
  const config::StoragePlan plan = config::storage_plan_from_name("bf16");
  write(model, plan, folder / "out");
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "not empty",
                         [&] { write(model, plan, folder / "out"); }));
  write(model, plan, folder / "out", {.overwrite = true});
}

}  // namespace
}  // namespace fathom::train
