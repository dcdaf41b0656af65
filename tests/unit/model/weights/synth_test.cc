#include "fathom/model/weights/synth.h"

#include <cmath>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"
#include "fathom/model/config/footprint.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/deepseek_v4/weight_names.h"
#include "fathom/model/weights/store.h"
#include "fathom/model/weights/synth_presets.h"

#include "tests/support/temp_dir.h"

namespace fathom::weights {
namespace {

namespace fs = std::filesystem;
using config::Block;
using config::WeightRole;
using numeric::WeightFormat;

void synth(const fs::path& out,
           const SynthOptions& options = {},
           int num_threads = 2,
           std::string_view storage = "") {
  const SynthPreset preset = *find_synth_preset("tiny");
  platform::ThreadPool pool({.num_threads = num_threads});
  write_synthetic(preset.config,
                  storage.empty() ? preset.storage : config::storage_plan_from_name(storage),
                  deepseek_v4::weight_names(), out, options, pool);
}

config::ModelConfig config_of(const Checkpoint& checkpoint) {
  return checkpoint.container() == Container::Gguf
             ? config::parse_gguf_config(checkpoint.gguf(), checkpoint.files().front().string())
                   .model
             : config::parse_config_json(checkpoint.config_text(), checkpoint.config_file()).model;
}

Store open_store(const fs::path& path) {
  const auto checkpoint = Checkpoint::open(path);
  return Store(checkpoint, config_of(*checkpoint), deepseek_v4::weight_names());
}

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    files[entry.path().filename().string()] = test::read_file(entry.path());
  }
  return files;
}

TEST(Synth, TheSameSeedGivesTheSameBytesWhateverTheNumberOfThreads) {
  test::TempDir folder;
  for (const std::string suffix : {"", ".gguf"}) {
    std::vector<std::string> written;
    for (const int num_threads : {1, 2, 3}) {
      const fs::path out = folder / ("out" + std::to_string(num_threads) + suffix);
      synth(out, {}, num_threads);
      written.push_back(test::read_file(suffix.empty() ? out / "model.safetensors" : out));
    }
    EXPECT_TRUE(written[0] == written[1]) << suffix;
    EXPECT_TRUE(written[0] == written[2]) << suffix;
    const fs::path other = folder / ("other" + suffix);
    synth(other, {.seed = 8});
    EXPECT_FALSE(written[0] ==
                 test::read_file(suffix.empty() ? other / "model.safetensors" : other));
  }
}

TEST(Synth, NothingIsMissingOrUnexpectedInEitherContainerAndStorage) {
  test::TempDir folder;
  for (const std::string storage : {"fp4", "fp8", "bf16", "f32"}) {
    for (const std::string suffix : {"", ".gguf"}) {
      const fs::path out = folder / (storage + suffix);
      synth(out, {}, 2, storage);
      const Store store = open_store(out);
      EXPECT_EQ(store.missing(), std::vector<std::string>{}) << out;
      EXPECT_EQ(store.unexpected(), std::vector<std::string>{}) << out;
    }
  }
}

TEST(Synth, TheConfigComesBackAsItWas) {
  test::TempDir folder;
  const SynthPreset preset = *find_synth_preset("tiny");
  const std::string expected = config::make_config_json(preset.config, preset.storage);
  synth(folder / "st");
  const auto checkpoint = Checkpoint::open(folder / "st");
  EXPECT_EQ(config::make_config_json(config_of(*checkpoint), preset.storage), expected);

  config::ModelConfig without_mtp = preset.config;
  without_mtp.mtp_layers.clear();
  synth(folder / "m.gguf");
  const auto gguf = Checkpoint::open(folder / "m.gguf");
  EXPECT_EQ(config::make_config_json(config_of(*gguf), preset.storage),
            config::make_config_json(without_mtp, preset.storage));
}

TEST(Synth, FormatsFollowThePlan) {
  test::TempDir folder;
  synth(folder / "st");
  const Store official = open_store(folder / "st");
  EXPECT_EQ(official.matrix({WeightRole::ExpertUp, Block::Layer, 1}, 7).view.format,
            WeightFormat::Fp4);
  EXPECT_EQ(official.matrix({WeightRole::OutputUp, Block::Mtp, 0}).view.format, WeightFormat::Fp8);
  EXPECT_EQ(official.matrix({WeightRole::Head}).view.format, WeightFormat::BF16);
  synth(folder / "m.gguf");
  const Store gguf = open_store(folder / "m.gguf");
  EXPECT_EQ(gguf.matrix({WeightRole::ExpertUp, Block::Layer, 1}, 7).view.format,
            WeightFormat::Mxfp4);
  EXPECT_EQ(gguf.matrix({WeightRole::Embedding}).view.format, WeightFormat::Q8_0);
  EXPECT_EQ(gguf.matrix({WeightRole::IndexerQueryUp, Block::Layer, 1}).view.format,
            WeightFormat::F16);
  EXPECT_EQ(gguf.matrix({WeightRole::HeadMixFn}).view.format, WeightFormat::F32);
}

// Mean and deviation of every matrix, decoded: what distribution_of promises, in every format.
void expect_conditioned(const Store& store, const config::ModelConfig& config) {
  for (const config::WeightSpec& spec : config::weight_table(config)) {
    if (spec.storage == config::StorageClass::TokenIds || spec.shape.size() < 2) {
      continue;
    }
    const NamedView& named = store.matrix(spec.key, spec.num_experts > 0 ? 3 : 0);
    std::vector<float> row(to_size(named.view.columns));
    double sum = 0;
    double squares = 0;
    for (Index row_idx = 0; row_idx < named.view.rows; ++row_idx) {
      numeric::decode_row(named.view, row_idx, 0, named.view.columns, row.data());
      for (const float value : row) {
        sum += static_cast<double>(value);
        squares += static_cast<double>(value) * static_cast<double>(value);
      }
    }
    const auto count = static_cast<double>(named.view.rows * named.view.columns);
    const bool is_bias = spec.key.role == WeightRole::CompressorPositionBias ||
                         spec.key.role == WeightRole::IndexerPositionBias;
    const double expected = spec.key.role == WeightRole::Embedding ? 1.0
                            : is_bias                              ? 0.3
                                      : 1 / std::sqrt(static_cast<double>(spec.shape.back()));
    const double ratio = std::sqrt(squares / count) / expected;
    // A matrix of few FP8 tiles draws few scales, which vary by factors of two.
    const bool has_few_scales = named.view.format == WeightFormat::Fp8;
    EXPECT_GT(ratio, has_few_scales ? 0.4 : 0.85) << named.name;
    EXPECT_LT(ratio, has_few_scales ? 2.1 : 1.15) << named.name;
    EXPECT_TRUE(std::abs(sum / count) < 6 * expected / std::sqrt(count)) << named.name;
    EXPECT_FALSE(numeric::find_bad_scale(named.view).has_value()) << named.name;
  }
}

TEST(Synth, EveryMatrixHasTheSizeThatKeepsHiddenStatesInBounds) {
  test::TempDir folder;
  for (const std::string storage : {"fp4", "fp8", "bf16", "f32"}) {
    for (const std::string suffix : {"", ".gguf"}) {
      const fs::path out = folder / (storage + suffix);
      synth(out, {}, 2, storage);
      const auto checkpoint = Checkpoint::open(out);
      const config::ModelConfig config = config_of(*checkpoint);
      expect_conditioned(Store(checkpoint, config, deepseek_v4::weight_names()), config);
    }
  }
}

TEST(Synth, VectorsAreNotTrivialAndTablesHoldDistinctExperts) {
  test::TempDir folder;
  synth(folder / "st");
  const Store store = open_store(folder / "st");
  for (const WeightRole role : {WeightRole::AttentionNorm, WeightRole::Sink,
                                WeightRole::AttentionMixBase, WeightRole::AttentionMixScale}) {
    const auto numbers = store.floats({role, Block::Layer, 0});
    EXPECT_EQ(std::set<float>(numbers.begin(), numbers.end()).count(numbers[0]), 1U);
    EXPECT_GT(std::set<float>(numbers.begin(), numbers.end()).size(), numbers.size() / 4);
  }
  const std::vector<std::int32_t> ids = store.ids({WeightRole::RouterTable, Block::Layer, 1}, 8);
  std::set<std::int32_t> seen;
  for (std::size_t i = 0; i < ids.size(); i += 2) {
    EXPECT_NE(ids[i], ids[i + 1]);
    seen.insert(ids[i]);
  }
  EXPECT_EQ(seen.size(), 8U);
}

TEST(Synth, ShardsHoldTheSameTensorsAndReplaceAnOlderCheckpointWhole) {
  test::TempDir folder;
  synth(folder / "one");
  synth(folder / "many", {.max_shard_bytes = 1 << 20});
  const auto one = Checkpoint::open(folder / "one");
  const auto many = Checkpoint::open(folder / "many");
  EXPECT_GT(many->files().size(), 3U);
  ASSERT_EQ(one->tensors().size(), many->tensors().size());
  for (const auto& [name, tensor] : one->tensors()) {
    const StoredTensor* other = many->find(name);
    ASSERT_NE(other, nullptr) << name;
    ASSERT_EQ(tensor.num_bytes, other->num_bytes) << name;
    EXPECT_TRUE(std::equal(tensor.data, tensor.data + tensor.num_bytes, other->data)) << name;
  }
  test::write_file(folder / "many/tokenizer.json", "{}");
  synth(folder / "many", {.overwrite = true});
  EXPECT_EQ(contents(folder / "many").size(), 3U);
  EXPECT_TRUE(contents(folder / "many")["model.safetensors"] ==
              contents(folder / "one")["model.safetensors"]);
}

TEST(Synth, AnOutputThatIsThereIsRefusedAndStaysAsItWas) {
  test::TempDir folder;
  fs::create_directory(folder / "out");
  test::write_file(folder / "out/notes.txt", "mine");
  test::write_file(folder / "m.gguf", "mine");
  for (const char* name : {"out", "m.gguf"}) {
    try {
      synth(folder / name);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::InvalidArgument);
      EXPECT_NE(std::string(error.what()).find("overwriting was not asked for"), std::string::npos);
    }
  }
  EXPECT_EQ(contents(folder / "out"), (std::map<std::string, std::string>{{"notes.txt", "mine"}}));
  EXPECT_EQ(test::read_file(folder / "m.gguf"), "mine");
}

TEST(Synth, CancellingLeavesNothingBehind) {
  test::TempDir folder;
  for (const char* name : {"out", "m.gguf"}) {
    SynthOptions options;
    Index last_done = -1;
    options.progress = [&](Index done, Index total) {
      EXPECT_GT(done, last_done);
      EXPECT_LE(done, total);
      last_done = done;
      return done == 0;
    };
    try {
      synth(folder / name, options);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::Interrupted);
    }
    EXPECT_TRUE(fs::is_empty(folder.path())) << name;
  }
}

TEST(Synth, ProgressEndsAtTheTotal) {
  test::TempDir folder;
  Index last_done = 0;
  Index last_total = 1;
  SynthOptions options;
  options.progress = [&](Index done, Index total) {
    last_done = done;
    last_total = total;
    return true;
  };
  synth(folder / "out", options);
  EXPECT_EQ(last_done, last_total);
  EXPECT_LT(last_total, to_index(fs::file_size(folder / "out/model.safetensors")));
}

TEST(Synth, TheFileHoldsAsManyParametersAsTheConfigCounts) {
  test::TempDir folder;
  synth(folder / "out", {}, 2, "bf16");
  const auto checkpoint = Checkpoint::open(folder / "out");
  Index total = 0;
  Index mtp = 0;
  for (const auto& [name, tensor] : checkpoint->tensors()) {
    Index elements = 1;
    for (const Index extent : tensor.shape) {
      elements *= extent;
    }
    if (!name.ends_with("tid2eid")) {
      (name.starts_with("mtp.") ? mtp : total) += elements;
    }
  }
  const config::ParameterCount count = config::count_parameters(config_of(*checkpoint));
  EXPECT_EQ(total, count.total);
  EXPECT_EQ(mtp, count.mtp);
}

}  // namespace
}  // namespace fathom::weights
