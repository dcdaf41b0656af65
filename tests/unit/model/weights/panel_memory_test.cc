#include "fathom/model/weights/panel_memory.h"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"
#include "fathom/compute/numeric/weight_panels.h"

#include "tests/support/expect_error.h"

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
  PanelMemory memory(numeric::bytes_in_panels(wide.view) + numeric::bytes_in_panels(narrow.view));
  const std::vector<std::pair<numeric::WeightView, numeric::WeightView>> pairs = {
      {wide.view, memory.pack(wide.view, pool)}, {narrow.view, memory.pack(narrow.view, pool)}};
  for (const auto& [rows, panels] : pairs) {
    ASSERT_EQ(panels.layout, numeric::WeightLayout::Panels);
    std::vector<float> expected(to_size(rows.columns));
    std::vector<float> found(to_size(rows.columns));
    for (Index row = 0; row < rows.rows; ++row) {
      numeric::decode_row(rows, row, 0, rows.columns, expected.data());
      numeric::decode_row(panels, row, 0, rows.columns, found.data());
      ASSERT_EQ(found, expected) << "row " << row;
    }
  }
}

TEST(PanelMemory, MoreThanTheSystemGrantsIsAnErrorThatSaysHowMuch) {
  constexpr Index kTooMuch = Index{1} << 56;
  EXPECT_TRUE(testing::fails_with(ErrorCode::OutOfMemory, std::to_string(kTooMuch),
                                  [&] { PanelMemory memory(kTooMuch); }));
}

}  // namespace
}  // namespace fathom::weights
