#include "fathom/model/weights/merge.h"

#include <cmath>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/deepseek_v4/weight_names.h"

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::weights {
namespace {

using config::Block;
using config::WeightKey;
using config::WeightRole;

class Merge : public ::testing::Test {
 protected:
  void open(const std::string& checkpoint) {
    files_ = Checkpoint::open(FATHOM_SOURCE_DIR "/tests/data/golden/checkpoints/" + checkpoint);
    config_ = config::parse_config_json(files_->config_text(), files_->config_file()).model;
    store_ = std::make_unique<Store>(files_, config_, deepseek_v4::weight_names());
  }
  std::unique_ptr<Store> open_merged() const {
    return std::make_unique<Store>(Checkpoint::open(out()), config_, deepseek_v4::weight_names());
  }
  std::filesystem::path out() const { return folder_ / "merged"; }

  // B counts 1, -1, 1, ... times `size`.
  std::shared_ptr<Adapter> adapter(const std::vector<config::AdapterRank>& ranks, float size) {
    auto made = make_adapter(config_, {.ranks = ranks});
    for (auto& [key, target] : made->targets()) {
      float next = size;
      for (float& number : target.b) {
        number = next = -next;
      }
    }
    return made;
  }

  static std::vector<double> decoded(const Store& store, const WeightKey& key, Index expert) {
    const numeric::WeightView& view = store.matrix(key, expert).view;
    std::vector<double> numbers(to_size(view.rows * view.columns));
    for (Index row = 0; row < view.rows; ++row) {
      numeric::decode_row(view, row, 0, view.columns, numbers.data() + row * view.columns);
    }
    return numbers;
  }

  std::shared_ptr<const Checkpoint> files_;
  config::ModelConfig config_;
  std::unique_ptr<Store> store_;
  test::TempDir folder_;
  platform::ThreadPool pool_{{.num_threads = 2}};
};

TEST_F(Merge, WritesTheSumRoundedToTheFormatAndSaysWhatThatLoses) {
  for (const char* checkpoint : {"flash-tiny", "base-fp8-tiny", "bf16-tiny"}) {
    open(checkpoint);
    const auto made = adapter({{WeightRole::ExpertGate, 2}, {WeightRole::QueryUp, 3}}, 0.02F);
    const auto merged = merge_adapter(*store_, *made, out(), pool_);
    ASSERT_EQ(merged.size(), made->targets().size());
    const auto reopened = open_merged();
    std::size_t idx = 0;
    for (const auto& [key, target] : made->targets()) {
      const auto before = decoded(*store_, key.first, key.second);
      const auto after = decoded(*reopened, key.first, key.second);
      double error = 0;
      double sum = 0;
      double update = 0;
      for (Index row = 0; row < target.rows; ++row) {
        for (Index column = 0; column < target.columns; ++column) {
          double added = 0;
          for (Index k = 0; k < target.rank; ++k) {
            added += static_cast<double>(target.b[to_size(row * target.rank + k)]) *
                     static_cast<double>(target.a[to_size(k * target.columns + column)]);
          }
          added *= target.scale;
          const auto at = to_size(row * target.columns + column);
          error += std::pow(after[at] - before[at] - added, 2);
          sum += std::pow(before[at] + added, 2);
          update += added * added;
        }
      }
      const MergedTensor& reported = merged[idx++];
      EXPECT_NEAR(reported.sums.relative_error(), std::sqrt(error / sum), 1e-9);
      EXPECT_NEAR(reported.sums.error_of_update(), std::sqrt(error / update), 1e-6);
      const double limit = reported.format == numeric::WeightFormat::BF16  ? 0x1p-8
                           : reported.format == numeric::WeightFormat::Fp8 ? 0x1p-4
                                                                           : 0.2;
      EXPECT_LT(reported.sums.relative_error(), limit) << reported.name;
      EXPECT_GT(reported.sums.relative_error(), 0) << reported.name;
    }
    std::filesystem::remove_all(out());
  }
}

TEST_F(Merge, EverythingElseIsCopied) {
  open("flash-tiny");
  const auto made = adapter({{WeightRole::KeyValue, 1}}, 0.1F);
  merge_adapter(*store_, *made, out(), pool_);
  const auto copied = Checkpoint::open(out());
  ASSERT_EQ(copied->tensors().size(), files_->tensors().size());
  Index num_changed = 0;
  for (const auto& [name, tensor] : files_->tensors()) {
    const StoredTensor* const other = copied->find(name);
    ASSERT_NE(other, nullptr) << name;
    EXPECT_EQ(other->shape, tensor.shape);
    EXPECT_EQ(other->dtype, tensor.dtype);
    num_changed += std::equal(tensor.data, tensor.data + tensor.num_bytes, other->data) ? 0 : 1;
  }
  EXPECT_GE(num_changed, config_.num_layers());
  EXPECT_LE(num_changed, 2 * config_.num_layers());  // weights and scales
  EXPECT_EQ(copied->config_text(), files_->config_text());
}

TEST_F(Merge, AnAdapterOfZerosChangesNoNumber) {
  open("flash-tiny");
  const std::vector<config::AdapterRank> ranks = {{WeightRole::ExpertDown, 2},
                                                  {WeightRole::OutputDown, 2}};
  const auto zeros = adapter(ranks, 0);
  const auto merged = merge_adapter(*store_, *zeros, out(), pool_);
  const auto reopened = open_merged();
  for (const auto& [key, target] : zeros->targets()) {
    EXPECT_EQ(decoded(*reopened, key.first, key.second), decoded(*store_, key.first, key.second));
  }
  EXPECT_EQ(merged.front().sums.relative_error(), 0);
}

TEST_F(Merge, NothingIsLeftBehindWhenItFails) {
  open("flash-tiny");
  const auto made = adapter({{WeightRole::KeyValue, 1}}, 0.1F);
  EXPECT_TRUE(testing::fails_with(ErrorCode::Io, "enough", [&] {
    merge_adapter(*store_, *made, out(), pool_,
                  [](Index /*done*/, Index /*total*/) { fail(ErrorCode::Io, "enough"); });
  }));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(Merge, AFolderWithSomethingInItIsRefused) {
  open("flash-tiny");
  std::filesystem::create_directory(out());
  test::write_file(out() / "mine.txt", "mine");
  const auto made = adapter({{WeightRole::KeyValue, 1}}, 0.1F);
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "expected a new or an empty folder",
                                  [&] { merge_adapter(*store_, *made, out(), pool_); }));
}

}  // namespace
}  // namespace fathom::weights
