// The contract of the backward half of ops/sink_attention.h.
#include <set>

#include "tests/contract/attention_limits.h"

namespace fathom::testing {
namespace {

struct SinkProblem {
  Index rows;
  Index num_heads;
  Index width;
  Index top_k;  // 0: no selection
  bool is_trained;
  std::vector<std::int32_t> selected;
  std::vector<ops::VisibleRows> visible;
  std::vector<float> query, window, compressed, sink;
  std::vector<float> d_out, d_query, d_window, d_compressed, d_sink;

  Index most_rows() const {
    Index most = 1;
    for (const ops::VisibleRows& each : visible) {
      most = std::max(most, each.num_window_rows + each.num_compressed_rows);
    }
    return most;
  }
  double scale() const { return 1 / std::sqrt(static_cast<double>(width)); }

  template <typename Real>
  Outputs<Real> run(const ops::TrainingKernels<Real>& kernels,
                    platform::ThreadPool& pool,
                    int /*num_threads*/) const {
    using Args = ops::SinkAttentionBackwardArgs<Real>;
    const Index num_window = to_index(window.size()) / width;
    const Index num_compressed = to_index(compressed.size()) / width;
    Grid<Real> queries(rows, num_heads * width, 3, query);
    const Pages<Real> window_pages(num_window, width, window);
    const Pages<Real> compressed_pages(num_compressed, width, compressed);
    Grid<Real> d_outs(rows, num_heads * width, 1, d_out);
    Grid<Real> d_queries(rows, num_heads * width, 5, d_query);
    const WritablePages<Real> d_window_pages(num_window, width, d_window);
    const WritablePages<Real> d_compressed_pages(num_compressed, width, d_compressed);
    Grid<Real> scratch(1, Args::scratch_columns(num_heads, most_rows(), rows), 0);
    std::vector<Real> d_sinks = as_real<Real>(d_sink);
    tensor::MatrixView<const std::int32_t> chosen;
    if (top_k > 0) {
      chosen = {selected.data(), rows, top_k, top_k};
    }
    kernels.sink_attention_backward.run({.forward = {.query = queries.view(),
                                                     .window = window_pages.table(),
                                                     .compressed = compressed_pages.table(),
                                                     .selected = chosen,
                                                     .visible = visible,
                                                     .sink = sink,
                                                     .scale = scale(),
                                                     .rounding = Rounding::None,
                                                     .scratch = {},
                                                     .out = {}},
                                         .most_rows = most_rows(),
                                         .d_out = d_outs.view(),
                                         .scratch = scratch.view(),
                                         .d_query = d_queries.view(),
                                         .d_window = d_window_pages.table(),
                                         .d_compressed = d_compressed_pages.table(),
                                         .d_sink = is_trained ? d_sinks.data() : nullptr},
                                        pool);
    return {numbers_of(d_queries), d_window_pages.numbers(), d_compressed_pages.numbers(), d_sinks};
  }
  std::vector<double> limits() const {
    const double row_norm = std::max(largest_norm(window, width), largest_norm(compressed, width));
    const AttentionLimits limit = {.width = width,
                                   .most_rows = most_rows(),
                                   .num_heads_per_row = rows * num_heads,
                                   .scale = scale(),
                                   .query_norm = largest_norm(query, width),
                                   .key_norm = row_norm,
                                   .value_norm = row_norm,
                                   .d_out_norm = largest_norm(d_out, width),
                                   .most_query = largest_of(query),
                                   .most_key = std::max(largest_of(window), largest_of(compressed)),
                                   .most_d_out = largest_of(d_out)};
    const double d_row = limit.d_key() + limit.d_value();
    const auto before = [](const std::vector<float>& values) {
      return rounding_limit(2, largest_of(values));
    };
    return {limit.d_query() + before(d_query), d_row + before(d_window),
            d_row + before(d_compressed),
            2 * limit.relative() * limit.d_weight() * std::sqrt(static_cast<double>(rows)) +
                before(d_sink)};
  }
  std::vector<std::vector<float>*> operands() {
    return {&query, &window, &compressed, &sink, &d_out, &d_query, &d_window, &d_compressed};
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
SinkProblem draw(Random& random, const Shape& shape, bool is_trained = true) {
  SinkProblem problem = {};
  problem.rows = shape.rows;
  problem.num_heads = shape.num_heads;
  problem.width = shape.width;
  problem.top_k = shape.top_k;
  problem.is_trained = is_trained;
  const Index num_tokens = shape.first_position + shape.rows;
  const Index num_blocks = shape.ratio == 0 ? 0 : num_tokens / shape.ratio;
  const Index head_numbers = shape.rows * shape.num_heads * shape.width;
  problem.query = random.normals(head_numbers);
  problem.window = random.normals(num_tokens * shape.width);
  problem.compressed = random.normals(num_blocks * shape.width);
  problem.sink = random.normals(shape.num_heads);
  problem.d_out = random.normals(head_numbers);
  problem.d_query = random.normals(head_numbers);
  problem.d_window = random.normals(num_tokens * shape.width);
  problem.d_compressed = random.normals(num_blocks * shape.width);
  problem.d_sink = random.normals(shape.num_heads);
  for (Index row = 0; row < shape.rows; ++row) {
    const Index position = shape.first_position + row;
    const Index first = std::max<Index>(0, position - shape.window + 1);
    const Index num_visible =
        shape.ratio == 0
            ? 0
            : std::max<Index>(0, (position + 1) / shape.ratio - shape.first_compressed);
    const Index num_compressed =
        shape.top_k == 0 ? num_visible : std::min(num_visible, shape.top_k);
    problem.visible.push_back(
        {first, position + 1 - first, num_compressed, shape.first_compressed});
    std::set<std::int32_t> chosen;
    while (to_index(chosen.size()) < num_compressed) {
      chosen.insert(static_cast<std::int32_t>(random.index(0, num_visible - 1)));
    }
    problem.selected.insert(problem.selected.end(), chosen.begin(), chosen.end());
    problem.selected.resize(to_size((row + 1) * shape.top_k), -1);
    if (shape.top_k == 0) {
      problem.selected.clear();
    }
  }
  return problem;
}

constexpr Shape kShapes[] = {
    {1, 1, 16, 8, 0, 0, 0},     {1, 4, 64, 32, 70, 4, 0},     {3, 5, 96, 16, 40, 4, 5},
    {2, 3, 40, 1, 33, 4, 16},   {33, 2, 32, 16, 0, 4, 4},     {2, 9, 192, 128, 300, 128, 0},
    {5, 4, 7, 20, 17, 3, 0},    {1, 8, 512, 128, 500, 4, 64}, {9, 37, 72, 16, 30, 4, 6},
    {2, 70, 130, 16, 90, 4, 0}, {3, 5, 48, 16, 60, 4, 4, 7},  {300, 6, 32, 64, 0, 4, 8},
    {600, 2, 16, 8, 0, 8, 0, 3}};

class SinkAttentionBackward : public OnEveryBackend {};

TEST_P(SinkAttentionBackward, KeepsTheContract) {
  Random random(221);
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(std::to_string(shape.rows) + " tokens from " +
                 std::to_string(shape.first_position) + ", " + std::to_string(shape.num_heads) +
                 " heads of " + std::to_string(shape.width));
    const auto problem = draw(random, shape);
    expect_backward_contract(problem, GetParam());
    if (shape.rows < 100) {
      expect_same_nans(problem, random, GetParam());
    }
  }
  expect_backward_contract(draw(random, {3, 5, 32, 8, 20, 4, 0}, false), GetParam());
}

TEST_P(SinkAttentionBackward, SinksFromMinusInfinityToHugeAreFiniteGradients) {
  Random random(222);
  auto problem = draw(random, {3, 4, 32, 8, 20, 4, 0});
  problem.sink = {-std::numeric_limits<float>::infinity(), -1e4F, 0, 80};
  expect_backward_contract(problem, GetParam());
}

FATHOM_ON_EVERY_BACKEND(SinkAttentionBackward);

TEST(SinkAttentionBackwardMutation, AForgottenRowOrSinkIsNoticed) {
  Random random(224);
  using Table = ops::TrainingKernels<float>;
  const auto problem = draw(random, {12, 2, 32, 8, 22, 4, 0, 2});
  expect_backward_notices(
      problem, &Table::sink_attention_backward,
      [](const ops::SinkAttentionBackwardArgs<float>& args, platform::ThreadPool& pool) noexcept {
        std::vector<ops::VisibleRows> visible(args.forward.visible.begin(),
                                              args.forward.visible.end());
        visible.back().num_window_rows -= 1;
        auto wrong = args;
        wrong.forward.visible = visible;
        reference::sink_attention_backward(wrong, pool);
      });
  expect_backward_notices(
      problem, &Table::sink_attention_backward,
      [](const ops::SinkAttentionBackwardArgs<float>& args, platform::ThreadPool& pool) noexcept {
        const std::vector<float> sink(args.forward.sink.size(),
                                      -std::numeric_limits<float>::infinity());
        auto wrong = args;
        wrong.forward.sink = sink;
        reference::sink_attention_backward(wrong, pool);
      });
}

}  // namespace
}  // namespace fathom::testing
