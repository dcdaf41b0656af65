#include "fathom/compute/ops/sink_attention.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

constexpr Index kWidth = 16;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class SinkAttentions : public OpTest {
 protected:
  // One token, one head, seeing every row of the window and of the compressed rows.
  std::vector<float> attend(const std::vector<float>& query,
                            const std::vector<float>& window,
                            float sink,
                            const std::vector<float>& compressed = {}) {
    const PagedTestRows window_rows(kWidth, window);
    const PagedTestRows compressed_rows(kWidth, compressed);
    const VisibleRows visible[] = {
        {0, to_index(window.size()) / kWidth, to_index(compressed.size()) / kWidth}};
    const float sinks[] = {sink};
    const auto out = context().allocate({1, kWidth});
    sink_attention(context(), {.query = make({1, kWidth}, query),
                               .window = window_rows.rows(),
                               .compressed = compressed_rows.rows(),
                               .selected = {},
                               .visible = visible,
                               .sink = sinks,
                               .scale = 0.25,
                               .out = out});
    return numbers(out);
  }
  // The same by the textbook, in double, the sink as one more entry of value zero.
  static std::vector<double> textbook(const std::vector<float>& query,
                                      const std::vector<float>& rows,
                                      double sink) {
    std::vector<double> out(kWidth);
    double sum = std::exp(sink);
    for (std::size_t row = 0; row < rows.size() / kWidth; ++row) {
      double score = 0;
      for (std::size_t i = 0; i < kWidth; ++i) {
        score += 0.25 * static_cast<double>(query[i]) * static_cast<double>(rows[row * kWidth + i]);
      }
      sum += std::exp(score);
      for (std::size_t i = 0; i < kWidth; ++i) {
        out[i] += std::exp(score) * static_cast<double>(rows[row * kWidth + i]);
      }
    }
    for (double& value : out) {
      value /= sum;
    }
    return out;
  }
};

TEST_F(SinkAttentions, SinkOfMinusInfinityIsPlainSoftmax) {
  const auto query = random(kWidth);
  const auto rows = random(37 * kWidth);
  EXPECT_TRUE(
      testing::all_within(attend(query, rows, -kInfinity), textbook(query, rows, -INFINITY), 2e-6));
}

TEST_F(SinkAttentions, SinkOfPlusInfinityGivesZero) {
  EXPECT_EQ(attend(random(kWidth), random(5 * kWidth), kInfinity), std::vector<float>(kWidth));
}

TEST_F(SinkAttentions, SinkEqualToEveryScoreCountsAsOneMoreEntryWithZeroValue) {
  // All scores are 0: the mean over three rows and the sink.
  const auto rows = random(3 * kWidth);
  const auto out = attend(std::vector<float>(kWidth), rows, 0);
  for (std::size_t i = 0; i < kWidth; ++i) {
    EXPECT_NEAR(out[i], (rows[i] + rows[kWidth + i] + rows[2 * kWidth + i]) / 4, 1e-6F);
  }
}

TEST_F(SinkAttentions, AnySinkAgreesWithTheTextbook) {
  const auto query = random(kWidth);
  const auto rows = random(20 * kWidth);
  for (const float sink : {-30.0F, -1.0F, 0.5F, 4.0F, 30.0F}) {
    EXPECT_TRUE(testing::all_within(attend(query, rows, sink),
                                    textbook(query, rows, static_cast<double>(sink)), 2e-6));
  }
}

TEST_F(SinkAttentions, OneEntryWithoutSinkIsThatEntry) {
  const auto row = random(kWidth);
  EXPECT_TRUE(testing::all_within(attend(random(kWidth), row, -kInfinity), row, 1e-7));
}

TEST_F(SinkAttentions, WindowAndCompressedRowsAreOneSoftmax) {
  const auto query = random(kWidth);
  const auto rows = random(30 * kWidth);
  const std::vector<float> window(rows.begin(), rows.begin() + 12 * kWidth);
  const std::vector<float> compressed(rows.begin() + 12 * kWidth, rows.end());
  EXPECT_TRUE(testing::all_within(attend(query, window, 0.3F, compressed),
                                  textbook(query, rows, 0.3), 2e-6));
}

TEST_F(SinkAttentions, HugeScoresDoNotOverflow) {
  auto query = std::vector<float>(kWidth, 1e4F);
  auto rows = std::vector<float>(2 * kWidth, 1);
  rows[0] = 2;
  const auto out = attend(query, rows, 0);
  EXPECT_EQ(out[0], 2);
  EXPECT_EQ(out[1], 1);
}

TEST_F(SinkAttentions, OnlySelectedRowsAndTheTokensOwnWindowAreSeen) {
  const auto window = random(40 * kWidth);
  const auto compressed = random(20 * kWidth);
  const PagedTestRows window_rows(kWidth, window);
  const PagedTestRows compressed_rows(kWidth, compressed);
  const auto query = random(2 * 2 * kWidth);
  const std::int32_t chosen[] = {1, 17, -1, 0, 3, 19};
  auto selected = tensor::Tensor::allocate(context().arena, tensor::DType::I32, {2, 3});
  std::copy(std::begin(chosen), std::end(chosen), selected.data<std::int32_t>());
  const VisibleRows visible[] = {{20, 3, 2}, {21, 3, 3}};
  const float sinks[] = {0.25F, -kInfinity};
  const auto out = context().allocate({2, 2 * kWidth});
  sink_attention(context(), {.query = make({2, 2 * kWidth}, query),
                             .window = window_rows.rows(),
                             .compressed = compressed_rows.rows(),
                             .selected = selected,
                             .visible = visible,
                             .sink = sinks,
                             .scale = 0.25,
                             .out = out});
  for (std::size_t token = 0; token < 2; ++token) {
    std::vector<float> seen(window.begin() + static_cast<Index>(20 + token) * kWidth,
                            window.begin() + static_cast<Index>(23 + token) * kWidth);
    for (Index i = 0; i < visible[token].num_compressed_rows; ++i) {
      const auto* row = compressed.data() + chosen[3 * token + to_size(i)] * kWidth;
      seen.insert(seen.end(), row, row + kWidth);
    }
    for (std::size_t head = 0; head < 2; ++head) {
      const auto first = static_cast<Index>(token * 2 + head) * kWidth;
      const std::vector<float> one(query.begin() + first, query.begin() + first + kWidth);
      const std::vector<float> found(out.data<float>() + first, out.data<float>() + first + kWidth);
      EXPECT_TRUE(
          testing::all_within(found, textbook(one, seen, static_cast<double>(sinks[head])), 2e-6));
    }
  }
}

TEST_F(SinkAttentions, RowsBehindTheWindowAreABug) {
  const PagedTestRows rows(kWidth, random(3 * kWidth));
  const VisibleRows visible[] = {{2, 2, 0}};
  const float sinks[] = {0};
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "num_window_rows", [&] {
    sink_attention(context(), {.query = make({1, kWidth}, random(kWidth)),
                               .window = rows.rows(),
                               .compressed = {},
                               .selected = {},
                               .visible = visible,
                               .sink = sinks,
                               .scale = 1,
                               .out = context().allocate({1, kWidth})});
  }));
}

TEST(SinkAttentionGradient, MeetsCentralDifferencesForEveryOperand) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    testing::GradientCheck check(seed);
    const Index heads = check.between(1, 3);
    const Index width = check.between(1, 6);
    const Index tokens = check.between(1, 20);  // more than a page of rows
    const Index blocks = check.between(1, 5);
    const auto query = check.add_value("query", {tokens, heads * width});
    const auto window = check.add_value("window", {tokens, width});
    const auto compressed = check.add_value("compressed", {blocks, width});
    const auto& sink = check.add_parameter("sink", 1, heads);
    const bool is_selected = seed % 2 == 0;
    const Index top_k = check.between(1, blocks);
    std::vector<VisibleRows> visible;
    std::vector<std::int32_t> chosen;
    for (Index token = 0; token < tokens; ++token) {
      const Index first = std::max<Index>(0, token - 2);
      visible.push_back({.first_window_row = first,
                         .num_window_rows = token - first + 1,
                         .num_compressed_rows =
                             is_selected ? check.between(0, top_k) : check.between(0, blocks)});
      for (Index idx = 0; idx < top_k; ++idx) {
        chosen.push_back(static_cast<std::int32_t>(blocks - top_k + idx));
      }
    }
    EXPECT_TRUE(check.check([&](Context& context) {
      tensor::Tensor selected;
      if (is_selected) {
        selected = tensor::Tensor::allocate(context.arena, tensor::DType::I32, {tokens, top_k});
        std::copy(chosen.begin(), chosen.end(), selected.data<std::int32_t>());
      }
      const testing::RowsOf window_rows(context.arena, check.value(window));
      const testing::RowsOf compressed_rows(context.arena, check.value(compressed));
      const tensor::Tensor out = context.allocate({tokens, heads * width});
      sink_attention(context, {.query = check.value(query),
                               .window = window_rows.view(),
                               .compressed = compressed_rows.view(),
                               .selected = selected,
                               .visible = visible,
                               .sink = sink.numbers,
                               .scale = 0.7,
                               .out = out});
      return std::vector{out};
    })) << "seed "
        << seed;
  }
}

}  // namespace
}  // namespace fathom::ops
