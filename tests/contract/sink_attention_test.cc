// The contract of ops/sink_attention.h.
#include "fathom/compute/ops/sink_attention.h"

#include "tests/contract/contract.h"

namespace fathom::testing {
namespace {

struct AttentionProblem {
  Index rows;
  Index num_heads;
  Index width;
  Rounding rounding;
  std::vector<float> query;
  std::vector<float> window;  // rows before first_row are gone from the cache
  Index first_row;
  std::vector<float> compressed;  // may be empty
  std::vector<std::int32_t> selected;
  Index top_k;  // 0: no selection
  std::vector<ops::VisibleRows> visible;
  std::vector<float> sink;

  double scale() const { return 1 / std::sqrt(static_cast<double>(width)); }
  AttentionProblem row(Index idx) const {
    AttentionProblem one = *this;
    one.rows = 1;
    one.query = rows_of(query, num_heads * width, idx);
    one.visible = {visible[to_size(idx)]};
    one.selected = rows_of(selected, top_k, idx);
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> queries(rows, num_heads * width, 3, query);
    Grid<Real> out(rows, num_heads * width, 5);
    const Pages<Real> window_pages(to_index(window.size()) / width, width, window, first_row);
    const Pages<Real> compressed_pages(to_index(compressed.size()) / width, width, compressed);
    Index most = 1;
    for (const ops::VisibleRows& each : visible) {
      most = std::max(most, each.num_window_rows + each.num_compressed_rows);
    }
    using Args = ops::SinkAttentionArgs<Real>;
    Grid<Real> scratch(Args::scratch_rows(pool.num_threads(), num_heads),
                       Args::scratch_columns(width, most), 0);
    tensor::MatrixView<const std::int32_t> chosen;
    if (top_k > 0) {
      chosen = {selected.data(), rows, top_k, top_k};
    }
    kernels.sink_attention.run({.query = queries.view(),
                                .window = window_pages.table(),
                                .compressed = compressed_pages.table(),
                                .selected = chosen,
                                .visible = visible,
                                .sink = sink,
                                .scale = scale(),
                                .rounding = rounding,
                                .scratch = scratch.view(),
                                .out = out.view()},
                               pool);
    return result_of<Real>(rows, out);
  }
  // The exponents are dot products, known to the error of their sums; the weights sum to at most 1
  // and multiply rows. Official: weights and results are rounded.
  std::vector<double> limits(const Result<double>& expected) const {
    double query_norm = 0;
    for (Index head = 0; head < rows * num_heads; ++head) {
      query_norm = std::max(query_norm, norm_of(query.data() + head * width, width));
    }
    double row_norm = 0;
    for (const std::vector<float>* from : {&window, &compressed}) {
      for (Index row = 0; row < to_index(from->size()) / width; ++row) {
        row_norm = std::max(row_norm, norm_of(from->data() + row * width, width));
      }
    }
    Index most = 1;
    for (const ops::VisibleRows& each : visible) {
      most = std::max(most, each.num_window_rows + each.num_compressed_rows);
    }
    const double exponent = query_norm * row_norm * scale();
    const double relative = exp_relative_limit(2 * exponent, 2 * rounding_limit(width, exponent)) +
                            rounding_limit(2 * most, 1);
    const double largest = std::max(largest_of(window), largest_of(compressed));
    return limits_by_value(expected, [&](double value) {
      return relative * largest +
             (rounding == Rounding::Bf16 ? bf16_limit(1, value) + bf16_limit(1, largest) : 0);
    });
  }
};

struct Shape {
  Index rows;
  Index num_heads;
  Index width;
  Index window;
  Index first_position;
  Index ratio;  // 0: nothing compressed
  Index top_k;  // 0: all compressed rows
  Index first_compressed = 0;
};

// Tokens at positions first_position.., each with its window and the blocks it may see.
AttentionProblem draw(Random& random, const Shape& shape, Rounding rounding) {
  AttentionProblem problem = {};
  problem.rows = shape.rows;
  problem.num_heads = shape.num_heads;
  problem.width = shape.width;
  problem.rounding = rounding;
  problem.top_k = shape.top_k;
  problem.query = random.normals(shape.rows * shape.num_heads * shape.width, rounding);
  const Index num_tokens = shape.first_position + shape.rows;
  problem.window = random.normals(num_tokens * shape.width, rounding);
  problem.first_row = std::max<Index>(0, shape.first_position - shape.window + 1);
  const Index num_blocks = shape.ratio == 0 ? 0 : num_tokens / shape.ratio;
  problem.compressed = random.normals(num_blocks * shape.width, rounding);
  problem.sink = random.normals(shape.num_heads);
  for (Index row = 0; row < shape.rows; ++row) {
    const Index position = shape.first_position + row;
    const Index first = std::max<Index>(0, position - shape.window + 1);
    const Index num_visible =
        shape.ratio == 0 ? 0 : (position + 1) / shape.ratio - shape.first_compressed;
    const Index num_compressed =
        shape.top_k == 0 ? num_visible : std::min(num_visible, shape.top_k);
    problem.visible.push_back(
        {first, position + 1 - first, num_compressed, shape.first_compressed});
    // Ascending: every `step`-th visible block.
    const Index step = std::max<Index>(1, num_visible / std::max<Index>(1, num_compressed));
    for (Index i = 0; i < shape.top_k; ++i) {
      problem.selected.push_back(i < num_compressed ? static_cast<std::int32_t>(i * step) : -1);
    }
  }
  return problem;
}

constexpr Shape kShapes[] = {
    {1, 1, 16, 8, 0, 0, 0},     {1, 4, 64, 32, 70, 4, 0},     {3, 5, 96, 16, 40, 4, 5},
    {2, 3, 40, 1, 33, 4, 16},   {33, 2, 32, 16, 0, 4, 4},     {2, 9, 192, 128, 300, 128, 0},
    {5, 4, 7, 20, 17, 3, 0},    {1, 8, 512, 128, 500, 4, 64}, {9, 37, 72, 16, 30, 4, 6},
    {2, 70, 130, 16, 90, 4, 0}, {3, 5, 48, 16, 60, 4, 4, 7},  {9, 33, 64, 8, 80, 4, 0, 3},
};

class SinkAttention : public OnEveryBackend {};

TEST_P(SinkAttention, KeepsTheContract) {
  Random random(111);
  for (const Shape& shape : kShapes) {
    for (const Rounding rounding : {Rounding::None, Rounding::Bf16}) {
      SCOPED_TRACE(std::to_string(shape.rows) + " tokens from " +
                   std::to_string(shape.first_position) + ", " + std::to_string(shape.num_heads) +
                   " heads of " + std::to_string(shape.width));
      expect_contract(draw(random, shape, rounding), GetParam());
    }
  }
}

TEST_P(SinkAttention, SinksFromMinusInfinityToHugeAreFiniteResults) {
  Random random(112);
  auto problem = draw(random, {3, 5, 32, 8, 20, 4, 0}, Rounding::None);
  problem.sink = {-std::numeric_limits<float>::infinity(), -1e4F, 0, 80,
                  std::numeric_limits<float>::infinity()};
  expect_contract(problem, GetParam());
}

FATHOM_ON_EVERY_BACKEND(SinkAttention);

TEST(SinkAttentionMutation, AForgottenRowOrSinkIsNoticed) {
  Random random(113);
  for (const Rounding rounding : {Rounding::None, Rounding::Bf16}) {
    const auto problem = draw(random, {12, 2, 32, 8, 22, 4, 0, 2}, rounding);
    expect_notices(
        problem, &ops::KernelTable<float>::sink_attention,
        [](const ops::SinkAttentionArgs<float>& args, platform::ThreadPool& pool) noexcept {
          std::vector<ops::VisibleRows> visible(args.visible.begin(), args.visible.end());
          for (ops::VisibleRows& each : visible) {
            each.num_window_rows -= each.num_window_rows > 1 ? 1 : 0;
          }
          auto wrong = args;
          wrong.visible = visible;
          reference::sink_attention(wrong, pool);
        });
    expect_notices(
        problem, &ops::KernelTable<float>::sink_attention,
        [](const ops::SinkAttentionArgs<float>& args, platform::ThreadPool& pool) noexcept {
          std::vector<ops::VisibleRows> visible(args.visible.begin(), args.visible.end());
          for (ops::VisibleRows& each : visible) {
            each.first_compressed_row -= each.first_compressed_row > 0 ? 1 : 0;
          }
          auto wrong = args;
          wrong.visible = visible;
          reference::sink_attention(wrong, pool);
        });
    expect_notices(
        problem, &ops::KernelTable<float>::sink_attention,
        [](const ops::SinkAttentionArgs<float>& args, platform::ThreadPool& pool) noexcept {
          const std::vector<float> sink(args.sink.size(), -std::numeric_limits<float>::infinity());
          auto wrong = args;
          wrong.sink = sink;
          reference::sink_attention(wrong, pool);
        });
  }
}

}  // namespace
}  // namespace fathom::testing
