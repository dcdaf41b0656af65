#include "fathom/model/layers/causal_lm.h"

#include <gtest/gtest.h>

#include "fathom/compute/runtime/runtime.h"
#include "fathom/model/kv/sequence_cache.h"

#include "tests/support/expect_error.h"

namespace fathom::layers {
namespace {

const std::vector<config::CacheStream>& one_window() {
  static const std::vector<config::CacheStream> layout = {{.layer_idx = 0,
                                                           .kind = config::StreamKind::Window,
                                                           .width = 1,
                                                           .tokens_per_row = 1,
                                                           .lookback_tokens = 7,
                                                           .block_tokens = 0,
                                                           .overlap_tokens = 0}};
  return layout;
}

// Appends every token's number to its sequence, and fails at a chosen token. The hidden state is
// the sum of the sequence so far.
class CountingModel final : public CausalLm {
 public:
  static constexpr std::int32_t kBad = 99;

  const config::ModelConfig& config() const override { return config_; }
  const std::vector<config::CacheStream>& cache_layout() const override { return one_window(); }
  const DraftModule* draft() const override { return nullptr; }
  tensor::Tensor logits(ops::Context& /*context*/, const tensor::Tensor& hidden) const override {
    return hidden;
  }
  tensor::Tensor forward(ops::Context& context, const TokenBatch& batch) const override {
    const tensor::Tensor hidden = context.allocate({to_index(batch.tokens.size()), 1});
    for (const Segment& segment : batch.segments) {
      for (Index row = segment.first_row; row < segment.first_row + segment.num_tokens; ++row) {
        const std::int32_t token = batch.tokens[to_size(row)];
        if (token == kBad) {
          fail(ErrorCode::OutOfMemory, "no memory for token ", row);
        }
        auto number = static_cast<float>(token);
        segment.kv->append(0, {&number, tensor::DType::F32, {1, 1}});
        const auto seen = segment.kv->rows(0).table<float>();
        float sum = 0;
        for (Index i = 0; i <= batch.positions[to_size(row)]; ++i) {
          sum += seen.row(i)[0];
        }
        hidden.data<float>()[row] = sum;
      }
    }
    return hidden;
  }

 private:
  config::ModelConfig config_{};
};

class RunStep : public ::testing::Test {
 protected:
  static kv::SequenceCache make_cache() { return {one_window(), tensor::DType::F32}; }
  std::vector<float> run(std::vector<std::int32_t> tokens,
                         std::vector<Index> counts,
                         std::vector<kv::KvStore*> caches) {
    const auto hidden = run_step(model_, runtime_.context(),
                                 TokenBatch::of(runtime_.context().arena, tokens, counts, caches));
    return {hidden.data<float>(), hidden.data<float>() + hidden.num_elements()};
  }
  static std::vector<float> rows(const kv::SequenceCache& cache) {
    std::vector<float> values;
    const auto table = cache.rows(0).table<float>();
    for (Index row = 0; row < table.num_rows; ++row) {
      values.push_back(table.row(row)[0]);
    }
    return values;
  }

  runtime::Runtime runtime_{{.num_threads = 1}};
  CountingModel model_;
};

TEST_F(RunStep, SegmentsGoToTheirCachesAtTheirPositions) {
  auto left = make_cache();
  auto right = make_cache();
  EXPECT_EQ(run({1, 2, 10}, {2, 1}, {&left, &right}), (std::vector<float>{1, 3, 10}));
  EXPECT_EQ(run({4, 20, 30}, {1, 2}, {&left, &right}), (std::vector<float>{7, 30, 60}));
  EXPECT_EQ(left.num_tokens(), 3);
  EXPECT_EQ(right.num_tokens(), 3);
  EXPECT_EQ(rows(left), (std::vector<float>{1, 2, 4}));
}

TEST_F(RunStep, FailedStepLeavesEveryCacheAsItWas) {
  auto left = make_cache();
  auto right = make_cache();
  run({1, 2, 10}, {2, 1}, {&left, &right});
  EXPECT_TRUE(testing::fails_with(ErrorCode::OutOfMemory, "token 3", [&] {
    run({3, 4, 20, CountingModel::kBad}, {2, 2}, {&left, &right});
  }));
  EXPECT_EQ(left.num_tokens(), 2);
  EXPECT_EQ(right.num_tokens(), 1);
  EXPECT_EQ(rows(left), (std::vector<float>{1, 2}));
  EXPECT_EQ(rows(right), (std::vector<float>{10}));
  EXPECT_EQ(run({5, 6}, {1, 1}, {&left, &right}), (std::vector<float>{8, 16}));
}

TEST_F(RunStep, SingleIsABatchOfOneSequence) {
  auto cache = make_cache();
  const std::vector<std::int32_t> tokens = {1, 2, 3};
  run_step(model_, runtime_.context(), TokenBatch::single(runtime_.context().arena, tokens, cache));
  const auto batch = TokenBatch::single(runtime_.context().arena, tokens, cache);
  EXPECT_EQ(std::vector<Index>(batch.positions.begin(), batch.positions.end()),
            (std::vector<Index>{3, 4, 5}));
  ASSERT_EQ(batch.segments.size(), 1U);
  EXPECT_EQ(batch.segments[0].position, 3);
  EXPECT_EQ(batch.segments[0].num_tokens, 3);
}

TEST_F(RunStep, CountsThatDoNotAddUpAreABug) {
  auto cache = make_cache();
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "row == num_tokens", [&] {
    run({1, 2}, {1}, {&cache});
  }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "> 0", [&] { run({}, {0}, {&cache}); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "caches", [&] { run({1}, {1}, {}); }));
}

}  // namespace
}  // namespace fathom::layers
