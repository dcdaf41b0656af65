#include "fathom/compute/ops/indexer_loss.h"

#include <cmath>
#include <numeric>

#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/terms_testing.h"

namespace fathom::ops {
namespace {

// Two sequences of 5 and 3 tokens that see a block more with every token; the second sequence's
// blocks begin at row 16 of the tables.
class IndexerLoss : public TermsTest {
 protected:
  static constexpr Index kTokens = 8;
  static constexpr Index kHeads = 3;
  static constexpr Index kWidth = 4;
  static constexpr Index kIndexHeads = 2;
  static constexpr Index kIndexWidth = 3;
  static constexpr Index kRows = 19;  // a page, and some more

  IndexerLoss() {
    add({kTokens, kHeads * kWidth});            // query
    add({kTokens, kWidth});                     // window
    add({kRows, kWidth});                       // compressed
    add({kTokens, kIndexHeads * kIndexWidth});  // query of the indexer
    add({kTokens, kIndexHeads});                // its weights
    add({kRows, kIndexWidth});                  // its keys
    for (Index token = 0; token < kTokens; ++token) {
      const bool is_second = token >= 5;
      const Index position = is_second ? token - 5 : token;
      visible_.push_back({.first_window_row = std::max<Index>(is_second ? 5 : 0, token - 1),
                          .num_window_rows = std::min<Index>(2, position + 1),
                          .num_compressed_rows = position,
                          .first_compressed_row = is_second ? 16 : 0});
      first_keys_.push_back(is_second ? 16 : 0);
    }
  }

  SinkAttention attention(Context& context, const std::vector<tensor::Tensor>& operands) {
    window_.emplace(context.arena, operands[1]);
    compressed_.emplace(context.arena, operands[2]);
    tensor::Tensor selected;
    if (selects_) {
      selected = tensor::Tensor::allocate(context.arena, tensor::DType::I32, {kTokens, 4});
      for (Index i = 0; i < 4 * kTokens; ++i) {
        // Every other block of the first sequence.
        selected.data<std::int32_t>()[i] = static_cast<std::int32_t>(i % 4 * (i < 20 ? 2 : 1));
      }
    }
    return {.query = operands[0],
            .window = window_->view(),
            .compressed = compressed_->view(),
            .selected = selected,
            .visible = visible_,
            .sink = sink_,
            .scale = 0.7,
            .out = context.allocate({kTokens, kHeads * kWidth})};
  }

  Step step() {
    return [this](Context& context, const std::vector<tensor::Tensor>& operands) {
      const SinkAttention attended = attention(context, operands);
      sink_attention(context, attended);
      keys_.emplace(context.arena, operands[5]);
      teach_indexer(context, attended, {operands[3], operands[4], keys_->view(), first_keys_}, 0);
      return attended.out;
    };
  }

  double number(std::size_t operand, Index row, Index column, Index columns) {
    return numbers(operand)[to_size(row * columns + column)];
  }

  // The formula of the header, written again.
  double loss_of(Index token) {
    const VisibleRows& seen = visible_[to_size(token)];
    const Index count = seen.num_compressed_rows;
    std::vector<double> attended(to_size(count));
    for (Index head = 0; head < kHeads; ++head) {
      const auto power = [&](std::size_t operand, Index row) {
        double score = 0;
        for (Index i = 0; i < kWidth; ++i) {
          score += number(0, token, head * kWidth + i, kHeads * kWidth) *
                   number(operand, row, i, kWidth);
        }
        return std::exp(0.7 * score);
      };
      double sum = std::exp(static_cast<double>(sink_[to_size(head)]));
      for (Index row = 0; row < seen.num_window_rows; ++row) {
        sum += power(1, seen.first_window_row + row);
      }
      for (Index idx = 0; idx < count; ++idx) {
        sum += power(2, block(token, idx));
      }
      for (Index idx = 0; idx < count; ++idx) {
        attended[to_size(idx)] += power(2, block(token, idx)) / sum;
      }
    }
    std::vector<double> scores;
    for (Index idx = 0; idx < count; ++idx) {
      double score = 0;
      for (Index head = 0; head < kIndexHeads; ++head) {
        double product = 0;
        for (Index i = 0; i < kIndexWidth; ++i) {
          product += number(3, token, head * kIndexWidth + i, kIndexHeads * kIndexWidth) *
                     number(5, block(token, idx), i, kIndexWidth);
        }
        score += number(4, token, head, kIndexHeads) * std::max(product, 0.0);
      }
      scores.push_back(score);
    }
    const double total = std::accumulate(attended.begin(), attended.end(), 0.0);
    double powers = 0;
    for (const double score : scores) {
      powers += std::exp(score);
    }
    double loss = 0;
    for (std::size_t idx = 0; idx < scores.size(); ++idx) {
      const double p = attended[idx] / total;
      loss += p * std::log(p / (std::exp(scores[idx]) / powers));
    }
    return loss;
  }

  Index block(Index token, Index idx) const {
    return visible_[to_size(token)].first_compressed_row + (selects_ && token < 5 ? 2 * idx : idx);
  }

  TrainingTerms make_terms() {
    return {.pieces = {{0, 5, 2}, {5, 3, 0.5}}, .layers = {}, .d_indexer_loss = 0.3};
  }

  bool selects_ = false;
  std::vector<VisibleRows> visible_;
  std::vector<Index> first_keys_;
  std::vector<float> sink_ = {0.5F, -1, 0};
  std::optional<testing::RowsOf> window_;
  std::optional<testing::RowsOf> compressed_;
  std::optional<testing::RowsOf> keys_;
};

TEST_F(IndexerLoss, IsTheDivergenceOfAttentionFromTheScoresAsAMeanOverEachPiece) {
  for (const bool selects : {false, true}) {
    selects_ = selects;
    double expected = 0;
    for (Index token = 0; token < kTokens; ++token) {
      expected += (token < 5 ? 2.0 / 5 : 0.5 / 3) * loss_of(token);
    }
    EXPECT_GT(expected, 0.01);
    EXPECT_NEAR(forward(make_terms(), step()).indexer_loss, expected, 1e-12);
  }
}

TEST_F(IndexerLoss, MeetsCentralDifferencesAndReachesTheIndexerAlone) {
  for (const bool selects : {false, true}) {
    selects_ = selects;
    TrainingTerms terms = make_terms();
    const auto gradients = backward(terms, step());
    EXPECT_EQ(terms.layers[0].indexer_loss, forward(terms, step()).indexer_loss);
    for (const std::size_t operand : {3U, 4U, 5U}) {
      expect_slopes(operand, gradients[operand], 0.3,
                    [&] { return forward(terms, step()).indexer_loss; });
    }
    for (const std::size_t operand : {0U, 1U, 2U}) {
      EXPECT_EQ(gradients[operand], std::vector<double>(gradients[operand].size()));
    }
  }
}

TEST_F(IndexerLoss, IsZeroWhereTheIndexerScoresAsAttentionLooks) {
  // One head each; the indexer's scores are attention's, all positive.
  visible_.assign(1, {.first_window_row = 0,
                      .num_window_rows = 1,
                      .num_compressed_rows = 3,
                      .first_compressed_row = 0});
  visible_.resize(to_size(kTokens),
                  {.first_window_row = 0, .num_window_rows = 1, .num_compressed_rows = 1});
  for (Index i = 0; i < kHeads * kWidth; ++i) {
    numbers(0)[to_size(i)] = i % kWidth == 0 ? 1 / 0.7 : 0;  // all heads alike
  }
  std::fill(numbers(3).begin(), numbers(3).end(), 0);
  numbers(3)[0] = 1;
  numbers(4)[0] = 1;
  for (Index row = 0; row < 3; ++row) {
    const double score = 0.25 + static_cast<double>(row);
    numbers(2)[to_size(row * kWidth)] = score;
    numbers(5)[to_size(row * kIndexWidth)] = score;
  }
  TrainingTerms terms = make_terms();
  const auto gradients = backward(terms, step());
  EXPECT_NEAR(terms.layers[0].indexer_loss, 0, 1e-12);
  for (const double gradient : gradients[4]) {
    EXPECT_NEAR(gradient, 0, 1e-12);
  }
}

TEST_F(IndexerLoss, IsNotComputedWithoutACoefficient) {
  TrainingTerms terms = make_terms();
  terms.d_indexer_loss = 0;
  backward(terms, step());
  EXPECT_EQ(terms.layers[0].indexer_loss, 0);
  EXPECT_FALSE(is_indexer_taught(context()));
}

}  // namespace
}  // namespace fathom::ops
