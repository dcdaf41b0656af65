#include "fathom/model/weights/adapter_file.h"

#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "fathom/base/formats/safetensors.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/deepseek_v4/weight_names.h"

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::weights {
namespace {

using config::Block;
using config::WeightRole;
using formats::SafetensorsDType;
using formats::SafetensorsEntry;

config::ModelConfig small() {
  config::ModelConfig config = config::find_builtin_config("v4-flash").value().model;
  config.layers.resize(2);
  config.num_experts = 2;
  config.hidden_size = 8;
  config.expert_hidden = 4;
  config.query_rank = 6;
  return config;
}

class AdapterFile : public ::testing::Test {
 protected:
  AdapterBase base() const { return {config_, deepseek_v4::weight_names()}; }
  std::shared_ptr<Adapter> read() const { return read_adapter(folder_.path(), base()); }

  // Files as somebody else writes them: F32 tensors that count up from 1.
  void write(const std::vector<SafetensorsEntry>& entries,
             const std::string& config = R"({"peft_type": "LORA", "r": 2, "lora_alpha": 4})") {
    std::string bytes = formats::make_safetensors_header(entries, {{"format", "pt"}});
    for (const SafetensorsEntry& entry : entries) {
      Index count = 1;
      for (const Index extent : entry.shape) {
        count *= extent;
      }
      for (Index i = 0; i < count; ++i) {
        const float number = number_ != 0 ? number_ : static_cast<float>(i + 1);
        std::string four(4, '\0');
        std::memcpy(four.data(), &number, 4);
        bytes += four.substr(0, to_size(formats::element_bytes(entry.dtype)));
      }
    }
    test::write_file(folder_ / "adapter_model.safetensors", bytes);
    test::write_file(folder_ / "adapter_config.json", config);
  }
  static SafetensorsEntry entry(const std::string& module,
                                const std::string& half,
                                std::vector<Index> shape,
                                SafetensorsDType dtype = SafetensorsDType::F32) {
    return {"base_model.model." + module + ".lora_" + half + ".weight", dtype, std::move(shape), 0,
            0};
  }
  static std::vector<SafetensorsEntry> pair(const std::string& module, Index rows, Index columns) {
    return {entry(module, "A", {2, columns}), entry(module, "B", {rows, 2})};
  }
  ::testing::AssertionResult refuses(ErrorCode code, const std::string& part) {
    return testing::fails_with(code, part, [&] { read(); });
  }

  const config::ModelConfig config_ = small();
  test::TempDir folder_;
  float number_ = 0;
};

TEST_F(AdapterFile, WhatIsWrittenReadsBack) {
  auto adapter = make_adapter(config_, {.ranks = {{WeightRole::QueryDown, 2},
                                                  {WeightRole::ExpertGate, 3},
                                                  {WeightRole::SharedUp, 2}},
                                        .scale = 0.7,
                                        .seed = 9});
  float next = 0;
  for (auto& [key, target] : adapter->targets()) {
    for (float& number : target.b) {
      number = ++next;
    }
  }
  adapter->base_fingerprint = "0123";
  adapter->base_model = "somewhere/model";
  write_adapter(folder_.path(), *adapter, base(), false);
  const auto found = read();
  EXPECT_EQ(found->base_fingerprint, "0123");
  EXPECT_EQ(found->base_model, "somewhere/model");
  ASSERT_EQ(found->targets().size(), adapter->targets().size());
  for (const auto& [key, target] : adapter->targets()) {
    const Adapter::Target* const other = found->find(key);
    ASSERT_NE(other, nullptr);
    EXPECT_EQ(other->a, target.a);
    EXPECT_EQ(other->b, target.b);
    EXPECT_EQ(other->rank, target.rank);
    EXPECT_DOUBLE_EQ(other->scale, target.scale);
  }
}

TEST_F(AdapterFile, OverwritingHasToBeAskedFor) {
  const auto adapter = make_adapter(config_, {.ranks = {{WeightRole::QueryDown, 2}}});
  write_adapter(folder_.path(), *adapter, base(), false);
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "overwriting was not asked for",
                                  [&] { write_adapter(folder_.path(), *adapter, base(), false); }));
  write_adapter(folder_.path(), *adapter, base(), true);
}

TEST_F(AdapterFile, NamesOfAnyDialectAreRead) {
  write(pair("model.layers.1.self_attn.q_a_proj", 6, 8));
  const auto adapter = read();
  const auto* const found = adapter->find({{WeightRole::QueryDown, Block::Layer, 1}, 0});
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->scale, 2);
  EXPECT_EQ(found->a[15], 16);
  EXPECT_EQ(found->b[11], 12);
  write(pair("layers.0.ffn.experts.1.w2", 8, 4));
  EXPECT_NE(read()->find({{WeightRole::ExpertDown, Block::Layer, 0}, 1}), nullptr);
}

TEST_F(AdapterFile, TensorsThatDoNotFitAreRefusedByName) {
  write({entry("layers.0.attn.wq_a", "A", {2, 8})});
  EXPECT_TRUE(refuses(ErrorCode::InvalidCheckpoint, "wq_a\": found one of lora_A and lora_B"));
  write({entry("layers.0.attn.wq_a", "A", {3, 8}), entry("layers.0.attn.wq_a", "B", {6, 3})});
  EXPECT_TRUE(refuses(ErrorCode::InvalidCheckpoint, "lora_A has 3 rows"));
  write({entry("layers.0.attn.wq_a", "A", {2, 8}), entry("layers.0.attn.wq_a", "B", {6})});
  EXPECT_TRUE(refuses(ErrorCode::InvalidCheckpoint, "expected a matrix"));
  write(pair("layers.2.attn.wq_a", 6, 8));
  EXPECT_TRUE(refuses(ErrorCode::InvalidCheckpoint, "the model has no such module"));
  write(pair("layers.0.attn.what", 6, 8));
  EXPECT_TRUE(refuses(ErrorCode::InvalidCheckpoint, "the model has no such module"));
  write(pair("head", 6, 8));
  EXPECT_TRUE(refuses(ErrorCode::Unsupported, "no adapter for this module"));
  write(pair("layers.0.ffn.experts.w1", 4, 8));
  EXPECT_TRUE(refuses(ErrorCode::InvalidCheckpoint, "the model has no such module"));
  write({entry("layers.0.attn.wq_a", "magnitude_vector", {2, 8})});
  EXPECT_TRUE(refuses(ErrorCode::Unsupported, "lora_A.weight or .lora_B.weight"));
  auto twice = pair("layers.0.attn.wq_a", 6, 8);
  twice.push_back(entry("model.layers.0.self_attn.q_a_proj", "A", {2, 8}));
  write(twice);
  EXPECT_TRUE(refuses(ErrorCode::InvalidCheckpoint, "a second name of"));
  write({entry("layers.0.attn.wq_a", "A", {2, 8}, SafetensorsDType::I32),
         entry("layers.0.attn.wq_a", "B", {6, 2})});
  EXPECT_TRUE(refuses(ErrorCode::Unsupported, "dtype I32, expected F32, F16 or BF16"));
  number_ = std::numeric_limits<float>::quiet_NaN();
  write(pair("layers.0.attn.wq_a", 6, 8));
  EXPECT_TRUE(refuses(ErrorCode::InvalidCheckpoint, "not finite"));
  write({});
  EXPECT_TRUE(refuses(ErrorCode::InvalidCheckpoint, "no tensors"));
}

TEST_F(AdapterFile, AFolderWithoutFilesNamesWhatIsMissing) {
  EXPECT_TRUE(refuses(ErrorCode::Io, "adapter_model.safetensors"));
  write(pair("layers.0.attn.wq_a", 6, 8));
  std::filesystem::remove(folder_ / "adapter_config.json");
  EXPECT_TRUE(refuses(ErrorCode::Io, "adapter_config.json"));
}

}  // namespace
}  // namespace fathom::weights
