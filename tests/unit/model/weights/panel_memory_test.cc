#include "fathom/model/weights/panel_memory.h"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"
#include "fathom/compute/numeric/weight_panels.h"

#include "tests/support/expect_error.h"
#include "tests/support/same_numbers.h"

namespace fathom::weights {
namespace {

// Q8_0 rows of small numbers that differ.
struct Rows {
  Rows(Index rows, Index columns) : bytes(to_size(rows * columns / 32 * 34)) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<std::byte>(i * 7 % 60);
    }
    view.format = numeric::WeightFormat::Q8_0;
    view.rows = rows;
    view.columns = columns;
    view.data = bytes.data();
    view.row_stride_bytes = columns / 32 * 34;
  }
  std::vector<std::byte> bytes;
  numeric::WeightView view;
};

TEST(PanelMemory, HoldsMatricesOneBehindTheOther) {
  platform::ThreadPool pool({.num_threads = 2});
  const Rows wide(700, 2048);  // more than one tile
  const Rows narrow(5, 32);
  const Index narrow_bytes = numeric::bytes_in_panels(narrow.view);
  PanelMemory memory(numeric::bytes_in_panels(wide.view) + narrow_bytes, pool);
  const std::vector<std::pair<numeric::WeightView, numeric::WeightView>> pairs = {
      {wide.view, memory.place("wide", wide.view)},
      {narrow.view, memory.place("narrow", narrow.view)}};
  EXPECT_EQ(*pairs[0].second.data, std::byte{0});  // not filled yet
  EXPECT_EQ(memory.fill(pairs[0].second)->data, wide.view.data);
  EXPECT_EQ(memory.num_waiting_bytes(), narrow_bytes);
  EXPECT_FALSE(memory.fill(pairs[0].second));  // a second time there is nothing to do
  EXPECT_EQ(memory.num_waiting_bytes(), narrow_bytes);
  EXPECT_EQ(memory.fill_next()->data, narrow.view.data);
  EXPECT_EQ(memory.num_waiting_bytes(), 0);
  EXPECT_FALSE(memory.fill_next());
  for (const auto& [rows, panels] : pairs) {
    ASSERT_EQ(panels.layout, numeric::WeightLayout::Panels);
    testing::expect_same_numbers(panels, rows);
  }
}

TEST(PanelMemory, MoreThanTheSystemGrantsIsAnErrorThatSaysHowMuch) {
  platform::ThreadPool pool({.num_threads = 1});
  constexpr Index kTooMuch = Index{1} << 56;
  EXPECT_TRUE(testing::fails_with(ErrorCode::OutOfMemory, std::to_string(kTooMuch),
                                  [&] { PanelMemory memory(kTooMuch, pool); }));
}

TEST(PanelMemory, AScaleThatIsNoNumberIsAnErrorThatNamesTheMatrixEveryTime) {
  platform::ThreadPool pool({.num_threads = 1});
  constexpr Index kRowBytes = 16;  // of 32 codes
  const std::vector<std::byte> codes(5 * kRowBytes);
  std::vector<std::byte> scales(5, std::byte{127});
  scales[3] = std::byte{0xff};
  numeric::WeightView rows;
  rows.format = numeric::WeightFormat::Fp4;
  rows.rows = 5;
  rows.columns = 32;
  rows.data = codes.data();
  rows.row_stride_bytes = kRowBytes;
  rows.scale_format = numeric::ScaleFormat::E8M0;
  rows.scales = scales.data();
  rows.scale_row_stride_bytes = 1;
  PanelMemory memory(numeric::bytes_in_panels(rows), pool);
  const numeric::WeightView panels = memory.place("blk.0.up", rows);
  for (int attempt = 0; attempt < 2; ++attempt) {
    EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidCheckpoint,
                                    "blk.0.up: the scale of row 3, block 0",
                                    [&] { memory.fill(panels); }));
  }
}

}  // namespace
}  // namespace fathom::weights
