// The contract of ops/compress_pool.h: position_bias and compress_pool.
#include "fathom/compute/ops/compress_pool.h"

#include "tests/contract/contract.h"

namespace fathom::testing {
namespace {

struct BiasProblem {
  Index rows;
  Index width;  // of the values, and of the gates behind them
  Index block_tokens;
  std::vector<float> x;
  std::vector<Index> positions;
  std::vector<float> bias;
  Rounding rounding = Rounding::None;

  static BiasProblem draw(Random& random, Index rows, Index width, Index block_tokens) {
    BiasProblem problem = {rows,         width,
                           block_tokens, random.normals(rows * 2 * width),
                           {},           random.normals(block_tokens * width)};
    for (Index row = 0; row < rows; ++row) {
      problem.positions.push_back(random.index(0, 1 << 20));
    }
    return problem;
  }
  BiasProblem row(Index idx) const {
    return {1, width, block_tokens, rows_of(x, 2 * width, idx), {positions[to_size(idx)]}, bias};
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> grid(rows, 2 * width, 3, x);
    kernels.position_bias.run(
        {.rows = grid.view(), .positions = positions, .bias = bias, .block_tokens = block_tokens},
        pool);
    return result_of<Real>(rows, grid);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    return limits_by_value(expected,
                           [](double value) { return rounding_limit(1, std::abs(value)); });
  }
};

struct PoolProblem {
  Index first_block;
  Index num_blocks;
  Index block_tokens;
  Index width;  // of a pooled row
  bool has_overlap;
  Rounding rounding;
  std::vector<float> input;

  static PoolProblem draw(Random& random,
                          Index first_block,
                          Index num_blocks,
                          Index block_tokens,
                          Index width,
                          bool has_overlap,
                          Rounding rounding) {
    PoolProblem problem = {first_block, num_blocks, block_tokens, width, has_overlap, rounding, {}};
    // Some tokens of an unfinished block follow.
    const Index rows = (first_block + num_blocks) * block_tokens + block_tokens / 2;
    problem.input = random.normals(rows * problem.input_width(), Rounding::None, 2);
    return problem;
  }
  Index input_width() const { return width * (has_overlap ? 4 : 2); }
  PoolProblem row(Index idx) const {
    PoolProblem one = *this;
    one.first_block += idx;
    one.num_blocks = 1;
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    const Index first_row =
        std::max<Index>(0, (first_block - (has_overlap ? 1 : 0)) * block_tokens);
    const Pages<Real> pages(to_index(input.size()) / input_width(), input_width(), input,
                            first_row);
    Grid<Real> out(num_blocks, width, 3);
    kernels.compress_pool.run({.input = pages.table(),
                               .first_block = first_block,
                               .block_tokens = block_tokens,
                               .has_overlap = has_overlap,
                               .rounding = rounding,
                               .out = out.view()},
                              pool);
    return result_of<Real>(num_blocks, out);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    const double largest = largest_of(input);
    const Index count = block_tokens * (has_overlap ? 2 : 1);
    return limits_by_value(expected, [&](double value) {
      return (exp_relative_limit(2 * largest, 0) + rounding_limit(2 * count, 1)) * largest +
             (rounding == Rounding::Bf16 ? bf16_limit(1, value) : 0);
    });
  }
};

class CompressPool : public OnEveryBackend {};

TEST_P(CompressPool, KeepsTheContract) {
  Random random(71);
  for (const Index block_tokens : {1, 3, 4, 128}) {
    for (const Index width : {1, 16, 30, 128}) {
      for (const bool has_overlap : {true, false}) {
        for (const Rounding rounding : {Rounding::None, Rounding::Bf16}) {
          const Index first = random.index(0, 3);
          const Index count = random.index(1, block_tokens > 4 ? 3 : 30);
          SCOPED_TRACE(std::to_string(count) + " blocks of " + std::to_string(block_tokens) +
                       " from " + std::to_string(first) + " x " + std::to_string(width));
          expect_contract(
              PoolProblem::draw(random, first, count, block_tokens, width, has_overlap, rounding),
              GetParam());
        }
      }
    }
  }
}

TEST_P(CompressPool, BiasGoesToTheGatesByPlaceInTheBlock) {
  Random random(72);
  for (const Index width : {1, 16, 45, 256}) {
    expect_contract(BiasProblem::draw(random, 50, width, 4), GetParam());
    expect_contract(BiasProblem::draw(random, 3, width, 128), GetParam());
  }
}

TEST_P(CompressPool, NoBlocksAreNoWork) {
  Random random(73);
  expect_contract(PoolProblem::draw(random, 2, 0, 4, 32, true, Rounding::None), GetParam());
}

FATHOM_ON_EVERY_BACKEND(CompressPool);

TEST(CompressPoolMutation, ForgettingTheOverlapOrABiasIsNoticed) {
  Random random(74);
  expect_notices(PoolProblem::draw(random, 1, 3, 4, 8, true, Rounding::None),
                 &ops::KernelTable<float>::compress_pool,
                 [](const ops::CompressPoolArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   reference::compress_pool(args, pool);
                   args.out.row(2)[7] += 0.01F;
                 });
  expect_notices(PoolProblem::draw(random, 1, 3, 4, 8, false, Rounding::None),
                 &ops::KernelTable<float>::compress_pool,
                 [](const ops::CompressPoolArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.first_block -= 1;
                   wrong.input.pages = args.input.pages;
                   reference::compress_pool(wrong, pool);
                 });
  expect_notices(BiasProblem::draw(random, 5, 8, 4), &ops::KernelTable<float>::position_bias,
                 [](const ops::PositionBiasArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.rows.rows -= 1;
                   reference::position_bias(wrong, pool);
                 });
}

}  // namespace
}  // namespace fathom::testing
