#include "fathom/model/weights/store.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"
#include "fathom/compute/numeric/int8_blocks.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/deepseek_v4/weight_names.h"

#include "tests/support/same_numbers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/model/weights/tiny_checkpoint.h"

namespace fathom::weights {
namespace {

using config::Block;
using config::WeightKey;
using config::WeightRole;
using formats::SafetensorsDType;
using formats::SafetensorsEntry;
using numeric::ScaleFormat;
using numeric::WeightFormat;
using testing::expect_same_numbers;

const std::string kData = std::string(FATHOM_SOURCE_DIR "/tests/data/");

config::ModelConfig config_of(const Checkpoint& checkpoint) {
  return config::parse_config_json(checkpoint.config_text(), checkpoint.config_file()).model;
}

Store open_store(const std::filesystem::path& folder) {
  const auto checkpoint = Checkpoint::open(folder);
  return Store(checkpoint, config_of(*checkpoint), deepseek_v4::weight_names());
}

// flash-tiny with a changed list of tensors; every number in it is zero.
class EditedCheckpoint {
 public:
  EditedCheckpoint() {
    const auto original = Checkpoint::open(kData + "golden/checkpoints/flash-tiny");
    config = config_of(*original);
    for (const auto& [name, tensor] : original->tensors()) {
      entries.push_back(entry(name, std::get<SafetensorsDType>(tensor.dtype), tensor.shape));
    }
  }

  SafetensorsEntry& at(const std::string& name) {
    for (SafetensorsEntry& candidate : entries) {
      if (candidate.name == name) {
        return candidate;
      }
    }
    throw std::runtime_error("no tensor " + name);
  }

  void erase(const std::string& name) {
    std::erase_if(entries, [&](const SafetensorsEntry& each) { return each.name == name; });
  }

  Store open() {
    test::write_file(folder / "model.safetensors", safetensors_bytes(entries));
    return Store(Checkpoint::open(folder.path()), config, deepseek_v4::weight_names());
  }

  std::string error() {
    try {
      open();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::InvalidCheckpoint);
      return error.what();
    }
    return "no error";
  }

  std::string file() const { return (folder / "model.safetensors").string(); }

  test::TempDir folder;
  config::ModelConfig config;
  std::vector<SafetensorsEntry> entries;
};

TEST(Store, BindsEveryTensorOfTheGoldenCheckpoints) {
  for (const std::string folder :
       {"flash-tiny", "pro-tiny", "bf16-tiny", "base-fp8-tiny", "trained-bytes"}) {
    const Store store = open_store(kData + "golden/checkpoints/" + folder);
    EXPECT_EQ(store.missing(), std::vector<std::string>{}) << folder;
    EXPECT_EQ(store.unexpected(), std::vector<std::string>{}) << folder;
  }
}

TEST(Store, BindsWhatTransformersSaves) {
  const Store store = open_store(kData + "transformers-tiny");
  EXPECT_EQ(store.missing(), std::vector<std::string>{});
  EXPECT_EQ(store.unexpected(), std::vector<std::string>{});
  EXPECT_EQ(store.matrix({WeightRole::KeyValueNorm, Block::Layer, 1}).name,
            "model.layers.1.attn.norm.weight");
}

TEST(Store, FormatsComeFromTheHeaders) {
  const Store flash = open_store(kData + "golden/checkpoints/flash-tiny");
  const auto& fp4 = flash.matrix({WeightRole::ExpertDown, Block::Layer, 3}, 5).view;
  EXPECT_EQ(fp4.format, WeightFormat::Fp4);
  EXPECT_EQ(fp4.scale_format, ScaleFormat::E8M0);
  EXPECT_EQ(fp4.rows, 256);
  EXPECT_EQ(fp4.columns, 128);
  EXPECT_EQ(fp4.row_stride_bytes, 64);
  EXPECT_EQ(fp4.scale_row_stride_bytes, 4);
  const auto& fp8 = flash.matrix({WeightRole::QueryUp, Block::Layer, 0}).view;
  EXPECT_EQ(fp8.format, WeightFormat::Fp8);
  EXPECT_EQ(fp8.scale_row_stride_bytes, 1);
  EXPECT_EQ(flash.matrix({WeightRole::Embedding}).view.format, WeightFormat::BF16);
  const Store bf16 = open_store(kData + "golden/checkpoints/bf16-tiny");
  EXPECT_EQ(bf16.matrix({WeightRole::ExpertGate, Block::Mtp, 0}, 1).view.format,
            WeightFormat::BF16);
  const Store base = open_store(kData + "golden/checkpoints/base-fp8-tiny");
  EXPECT_EQ(base.matrix({WeightRole::ExpertGate, Block::Layer, 0}, 0).view.format,
            WeightFormat::Fp8);
}

TEST(Store, ScalesOfF32AreTakenForFp8AndRefusedForFp4) {
  EditedCheckpoint edited;
  edited.at("layers.0.attn.wkv.scale").dtype = SafetensorsDType::F32;
  const Store store = edited.open();
  const auto& view = store.matrix({WeightRole::KeyValue, Block::Layer, 0}).view;
  EXPECT_EQ(view.scale_format, ScaleFormat::F32);
  EXPECT_EQ(view.scale_row_stride_bytes, 8);
  edited.at("layers.0.ffn.experts.0.w1.scale").dtype = SafetensorsDType::F32;
  EXPECT_EQ(edited.error(),
            edited.file() + ": layers.0.ffn.experts.0.w1.scale: dtype F32, expected F8_E8M0");
}

TEST(Store, AWrongShapeIsAnErrorThatNamesTheConfigsField) {
  EditedCheckpoint edited;
  edited.at("layers.2.attn.compressor.wkv.weight").shape = {256, 255};
  EXPECT_EQ(edited.error(), edited.file() +
                                ": layers.2.attn.compressor.wkv.weight: shape [256, 255], expected "
                                "[256, 256] (config.json says hidden_size 256)");
  EditedCheckpoint scales;
  scales.at("layers.0.attn.wq_b.scale").shape = {4, 2};
  EXPECT_EQ(scales.error(),
            scales.file() + ": layers.0.attn.wq_b.scale: shape [4, 2], expected [4, 1]");
}

TEST(Store, AWrongDtypeIsAnError) {
  EditedCheckpoint edited;
  edited.at("layers.1.attn_norm.weight").dtype = SafetensorsDType::F8E4M3;
  EXPECT_EQ(edited.error(), edited.file() +
                                ": layers.1.attn_norm.weight: dtype F8_E4M3, expected "
                                "F32, F16 or BF16");
  EditedCheckpoint ids;
  ids.at("layers.0.ffn.gate.tid2eid").dtype = SafetensorsDType::F32;
  EXPECT_EQ(ids.error(),
            ids.file() + ": layers.0.ffn.gate.tid2eid: dtype F32, expected I64 or I32");
}

TEST(Store, MissingAndUnexpectedTensorsAreAReportAndUsingAMissingOneIsAnError) {
  EditedCheckpoint edited;
  edited.erase("layers.3.attn.wo_a.weight");
  edited.erase("layers.1.ffn.experts.6.w3.scale");
  edited.entries.push_back(entry("layers.0.attn.extra.weight", SafetensorsDType::F32, {1}));
  edited.entries.push_back(entry("layers.9.attn.wkv.weight", SafetensorsDType::BF16, {128, 256}));
  edited.entries.push_back(entry("mtp.0.emb.tok_emb.weight", SafetensorsDType::F32, {1}));
  const Store store = edited.open();
  EXPECT_EQ(store.missing(), (std::vector<std::string>{"layers.1.ffn.experts.6.w3.scale",
                                                       "layers.3.attn.wo_a.weight"}));
  EXPECT_EQ(store.unexpected(),
            (std::vector<std::string>{"layers.0.attn.extra.weight", "layers.3.attn.wo_a.scale",
                                      "layers.9.attn.wkv.weight"}));
  const WeightKey missing{WeightRole::OutputDown, Block::Layer, 3};
  EXPECT_FALSE(store.has(missing));
  EXPECT_TRUE(store.has({WeightRole::OutputUp, Block::Layer, 3}));
  try {
    store.matrix(missing);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.what(),
              edited.folder.path().string() + ": tensor layers.3.attn.wo_a.weight is missing");
  }
}

TEST(Store, OneTensorUnderTwoNamesIsAnError) {
  EditedCheckpoint edited;
  edited.entries.push_back(
      entry("model.layers.0.self_attn.kv_proj.weight", SafetensorsDType::BF16, {128, 256}));
  EXPECT_EQ(edited.error(),
            edited.file() +
                ": layers.0.attn.wkv.weight and "
                "model.layers.0.self_attn.kv_proj.weight are two names of one tensor");
}

TEST(Store, FusedExpertsAreSlicesOfOneTensorGateFirst) {
  EditedCheckpoint edited;
  std::erase_if(edited.entries, [](const SafetensorsEntry& each) {
    return each.name.starts_with("layers.1.ffn.experts.");
  });
  edited.entries.push_back(
      entry("model.layers.1.mlp.experts.gate_up_proj", SafetensorsDType::BF16, {8, 256, 256}));
  edited.entries.push_back(
      entry("model.layers.1.mlp.experts.down_proj", SafetensorsDType::BF16, {8, 256, 128}));
  const Store store = edited.open();
  EXPECT_EQ(store.missing(), std::vector<std::string>{});
  EXPECT_EQ(store.unexpected(), std::vector<std::string>{});
  const auto* tensor = store.checkpoint().find("model.layers.1.mlp.experts.gate_up_proj");
  const auto& gate = store.matrix({WeightRole::ExpertGate, Block::Layer, 1}, 3).view;
  const auto& up = store.matrix({WeightRole::ExpertUp, Block::Layer, 1}, 3).view;
  EXPECT_EQ(gate.rows, 128);
  EXPECT_EQ(up.rows, 128);
  EXPECT_EQ(gate.data - tensor->data, 3 * 256 * 256 * 2);
  EXPECT_EQ(up.data - gate.data, 128 * 256 * 2);
}

TEST(Store, FusedExpertsOfFp8HaveStackedScales) {
  EditedCheckpoint edited;
  std::erase_if(edited.entries, [](const SafetensorsEntry& each) {
    return each.name.starts_with("layers.1.ffn.experts.") &&
           each.name.find("w2") == std::string::npos;
  });
  const std::string fused = "model.layers.1.mlp.experts.gate_up_proj";
  edited.entries.push_back(entry(fused, SafetensorsDType::F8E4M3, {8, 256, 256}));
  edited.entries.push_back(entry(fused + "_scale_inv", SafetensorsDType::F32, {8, 2, 2}));
  const Store store = edited.open();
  EXPECT_EQ(store.missing(), std::vector<std::string>{});
  const auto* scales = store.checkpoint().find(fused + "_scale_inv");
  const NamedView& gate = store.matrix({WeightRole::ExpertGate, Block::Layer, 1}, 3);
  const NamedView& up = store.matrix({WeightRole::ExpertUp, Block::Layer, 1}, 3);
  EXPECT_EQ(gate.name, fused + "[3]");
  EXPECT_EQ(gate.view.scales - scales->data, 3 * 2 * 2 * 4);
  EXPECT_EQ(gate.view.scale_row_stride_bytes, 2 * 4);
  // The second half begins at the second row of tiles, whichever way the slice says so.
  const std::ptrdiff_t first_tile_row =
      (up.view.scales - gate.view.scales) / up.view.scale_row_stride_bytes +
      up.view.first_row / numeric::kFp8TileRows;
  EXPECT_EQ(first_tile_row, 1);
}

TEST(Store, FloatsAreKeptAndHandedOutAgain) {
  const Store store = open_store(kData + "golden/checkpoints/flash-tiny");
  const WeightKey sink = {WeightRole::Sink, Block::Layer, 2};
  EXPECT_TRUE(store.find_floats(sink).empty());
  const auto numbers = store.floats(sink);
  EXPECT_EQ(store.floats(sink).data(), numbers.data());
  EXPECT_EQ(store.find_floats(sink).data(), numbers.data());
}

TEST(Store, TrainableNumbersAreTheDecodedOnesAndMayBeChanged) {
  Store store = open_store(kData + "golden/checkpoints/flash-tiny");
  const Store before = open_store(kData + "golden/checkpoints/flash-tiny");
  store.make_trainable();
  const WeightKey up = {WeightRole::ExpertUp, Block::Layer, 1};
  const numeric::WeightView& stored = before.matrix(up, 2).view;
  std::vector<float> expected(to_size(stored.columns));
  numeric::decode_row(stored, 3, 0, stored.columns, expected.data());
  const numeric::WeightView& view = store.matrix(up, 2).view;
  EXPECT_EQ(view.format, numeric::WeightFormat::F32);
  EXPECT_EQ(view.rows, stored.rows);
  const std::span<float> numbers = store.trainable(up, 2);
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), numbers.begin() + 3 * stored.columns));
  numbers[to_size(3 * stored.columns)] = 7;
  numeric::decode_row(view, 3, 0, stored.columns, expected.data());
  EXPECT_EQ(expected[0], 7);
  // Small ones that layers want as numbers are the same numbers.
  const WeightKey sink = {WeightRole::Sink, Block::Layer, 2};
  EXPECT_EQ(store.floats(sink).data(), store.trainable(sink).data());
}

TEST(Store, FloatsAreFiniteOrAnError) {
  const Store store = open_store(kData + "golden/checkpoints/flash-tiny");
  const auto sinks = store.floats({WeightRole::Sink, Block::Layer, 2});
  EXPECT_EQ(sinks.size(), 4U);
  EXPECT_EQ(store.floats({WeightRole::CompressorPositionBias, Block::Layer, 3}).size(),
            128U * 128U);

  EditedCheckpoint edited;
  std::string bytes = safetensors_bytes(edited.entries);
  test::write_file(edited.folder / "model.safetensors", bytes);
  const auto header = formats::parse_safetensors_header(std::as_bytes(std::span(bytes)), "x");
  for (const SafetensorsEntry& each : header.entries) {
    if (each.name == "layers.2.attn.attn_sink") {
      const float bad = std::nanf("");
      std::memcpy(bytes.data() + each.begin + 8, &bad, 4);
    }
  }
  test::write_file(edited.folder / "model.safetensors", bytes);
  const Store broken(Checkpoint::open(edited.folder.path()), edited.config,
                     deepseek_v4::weight_names());
  try {
    broken.floats({WeightRole::Sink, Block::Layer, 2});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), edited.file() +
                                ": layers.2.attn.attn_sink: element [0, 2] is nan, "
                                "expected a finite number");
  }
}

TEST(Store, IdsAreInRangeOrAnError) {
  const Store store = open_store(kData + "golden/checkpoints/flash-tiny");
  const WeightKey key{WeightRole::RouterTable, Block::Layer, 0};
  EXPECT_EQ(store.ids(key, 8).size(), 512U * 2U);
  try {
    store.ids(key, 1);
    FAIL();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("layers.0.ffn.gate.tid2eid: element ["), std::string::npos) << message;
    EXPECT_NE(message.find("expected 0 to 0"), std::string::npos) << message;
  }
}

bool takes_int8_blocks(numeric::WeightFormat format) {
  return numeric::has_int8_blocks(format);
}

TEST(Store, PutsExpertsIntoPanelsWithTheSameNumbers) {
  platform::ThreadPool pool({.num_threads = 2});
  const Store rows = open_store(kData + "golden/checkpoints/flash-tiny");
  Store panels = open_store(kData + "golden/checkpoints/flash-tiny");
  EXPECT_GT(panels.bytes_in_panels(takes_int8_blocks), 0);
  panels.put_into_panels(pool, takes_int8_blocks);
  EXPECT_EQ(panels.bytes_in_panels(takes_int8_blocks), 0);  // nothing is left to place
  const WeightKey expert = {WeightRole::ExpertUp, Block::Layer, 1};
  const WeightKey dense = {WeightRole::QueryUp, Block::Layer, 1};
  EXPECT_EQ(panels.matrix(expert, 2).view.layout, numeric::WeightLayout::Panels);
  EXPECT_EQ(panels.matrix(dense).view.layout, numeric::WeightLayout::Rows);
  panels.matrix(expert, 2).make_ready();
  expect_same_numbers(panels.matrix(expert, 2).view, rows.matrix(expert, 2).view);
}

TEST(Store, PutsFp8IntoPanelsWithTheSameNumbers) {
  platform::ThreadPool pool({.num_threads = 2});
  const Store rows = open_store(kData + "golden/checkpoints/flash-tiny");
  Store panels = open_store(kData + "golden/checkpoints/flash-tiny");
  panels.put_into_panels(
      pool, [](numeric::WeightFormat format) { return format == numeric::WeightFormat::Fp8; });
  panels.fill_panels();
  const WeightKey dense = {WeightRole::QueryUp, Block::Layer, 1};
  const numeric::WeightView& before = rows.matrix(dense).view;
  const numeric::WeightView& after = panels.matrix(dense).view;
  ASSERT_EQ(before.format, numeric::WeightFormat::Fp8);
  ASSERT_EQ(after.layout, numeric::WeightLayout::Panels);
  expect_same_numbers(after, before);
}

TEST(Store, FillsThePanelsThatAreLeftAndGoesOnAfterAnInterruption) {
  platform::ThreadPool pool({.num_threads = 1});
  Store store = open_store(kData + "golden/checkpoints/flash-tiny");
  const Index all = store.bytes_in_panels(takes_int8_blocks);
  store.fill_panels([](Index, Index) { FAIL() << "nothing is placed"; });
  store.put_into_panels(pool, takes_int8_blocks);
  store.matrix({WeightRole::ExpertUp, Block::Layer, 1}, 2).make_ready();
  Index first_done = 0;
  Index first_total = 0;
  const auto interrupt = [&](Index done, Index total) {
    first_done = done;
    first_total = total;
    fail(ErrorCode::Interrupted, "enough");
  };
  EXPECT_THROW(store.fill_panels(interrupt), Error);
  EXPECT_GT(first_done, 0);
  EXPECT_LT(first_total, all);
  Index last = 0;
  store.fill_panels([&](Index done, Index total) {
    EXPECT_GT(done, last);
    EXPECT_EQ(total, first_total - first_done);
    last = done;
  });
  EXPECT_EQ(last, first_total - first_done);
}

}  // namespace
}  // namespace fathom::weights
