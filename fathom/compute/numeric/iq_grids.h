// The code books of ggml's IQ formats: each row is a group of 8 (or 4) magnitudes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace fathom::numeric {

template <std::size_t kRows, std::size_t kElements>
using IqGrid = std::array<std::array<std::int8_t, kElements>, kRows>;

extern const IqGrid<256, 8> kIq2XxsGrid;
extern const IqGrid<512, 8> kIq2XsGrid;
extern const IqGrid<1024, 8> kIq2SGrid;
extern const IqGrid<256, 4> kIq3XxsGrid;
extern const IqGrid<512, 4> kIq3SGrid;
extern const IqGrid<2048, 8> kIq1SGrid;  // -1, 0, 1; IQ1_M has the same

}  // namespace fathom::numeric
