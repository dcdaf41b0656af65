// The contract of the backward halves of what works row by row: ops/rms_norm.h, ops/swiglu.h,
// ops/compress_pool.h, ops/route.h, and of ops/hyper_connection.h all but hyper_control.
#include "tests/contract/backward.h"

namespace fathom::testing {
namespace {

// The largest 1 / rms of a row.
double largest_factor(const std::vector<float>& x, Index columns, double epsilon) {
  double largest = 0;
  for (Index row = 0; row < to_index(x.size()) / columns; ++row) {
    const double norm = norm_of(x.data() + row * columns, columns);
    largest =
        std::max(largest, 1 / std::sqrt(norm * norm / static_cast<double>(columns) + epsilon));
  }
  return largest;
}

struct RmsNormProblem {
  Index rows;
  Index columns;
  bool is_trained;
  std::vector<float> x, weight, d_out, d_x, d_weight;
  double epsilon = 1e-6;

  static RmsNormProblem draw(Random& random, Index rows, Index columns, bool is_trained) {
    const Index count = rows * columns;
    return {rows,
            columns,
            is_trained,
            random.normals(count),
            random.normals(columns),
            random.normals(count),
            random.normals(count),
            random.normals(columns)};
  }
  template <typename Real>
  Outputs<Real> run(const ops::TrainingKernels<Real>& kernels,
                    platform::ThreadPool& pool,
                    int /*num_threads*/) const {
    using Args = ops::RmsNormBackwardArgs<Real>;
    Grid<Real> x_grid(rows, columns, 5, x);
    Grid<Real> d_out_grid(rows, columns, 3, d_out);
    Grid<Real> d_x_grid(rows, columns, 1, d_x);
    Grid<Real> sums(Args::num_tiles(rows), columns, 0);
    std::vector<Real> d_weights = as_real<Real>(d_weight);
    kernels.rms_norm_backward.run({.x = x_grid.view(),
                                   .weight = weight,
                                   .epsilon = epsilon,
                                   .d_out = d_out_grid.view(),
                                   .d_x = d_x_grid.view(),
                                   .d_weight = is_trained ? d_weights.data() : nullptr,
                                   .sums = is_trained ? sums.view() : tensor::MatrixView<Real>{}},
                                  pool);
    return {numbers_of(d_x_grid), d_weights};
  }
  std::vector<double> limits() const {
    const double factor = largest_factor(x, columns, epsilon);
    const double scaled = factor * largest_of(x);
    const double gradient = largest_of(d_out);
    return {
        rounding_limit(columns + 8, largest_of(d_x) + factor * largest_of(weight) * gradient *
                                                          (1 + scaled * scaled)),
        rounding_limit(rows + columns, largest_of(d_weight) + std::sqrt(static_cast<double>(rows)) *
                                                                  gradient * scaled)};
  }
  std::vector<std::vector<float>*> operands() { return {&x, &weight, &d_out, &d_x}; }
};

struct HeadNormProblem {
  Index rows;
  Index columns;
  std::vector<float> x, d_x;
  double epsilon = 1e-6;

  template <typename Real>
  Outputs<Real> run(const ops::TrainingKernels<Real>& kernels,
                    platform::ThreadPool& pool,
                    int /*num_threads*/) const {
    Grid<Real> x_grid(rows, columns, 5, x);
    Grid<Real> d_x_grid(rows, columns, 3, d_x);
    kernels.head_norm_backward.run({.x = x_grid.view(), .epsilon = epsilon, .d_x = d_x_grid.view()},
                                   pool);
    return {numbers_of(d_x_grid)};
  }
  std::vector<double> limits() const {
    const double factor = largest_factor(x, columns, epsilon);
    const double scaled = factor * largest_of(x);
    return {rounding_limit(columns + 8, factor * largest_of(d_x) * (1 + scaled * scaled))};
  }
  std::vector<std::vector<float>*> operands() { return {&x, &d_x}; }
};

struct SwigluProblem {
  Index rows;
  Index columns;
  bool is_weighted;
  double limit;
  std::vector<float> gate, up, weight, d_gate, d_up, d_weight;

  static SwigluProblem draw(
      Random& random, Index rows, Index columns, bool is_weighted, double limit) {
    const Index count = rows * columns;
    return {rows,
            columns,
            is_weighted,
            limit,
            random.normals(count, Rounding::None, 3),
            random.normals(count, Rounding::None, 3),
            random.normals(rows),
            random.normals(count),
            random.normals(count),
            random.normals(rows)};
  }
  template <typename Real>
  Outputs<Real> run(const ops::TrainingKernels<Real>& kernels,
                    platform::ThreadPool& pool,
                    int /*num_threads*/) const {
    Grid<Real> gate_grid(rows, columns, 5, gate);
    Grid<Real> up_grid(rows, columns, 1, up);
    Grid<Real> d_gate_grid(rows, columns, 3, d_gate);
    Grid<Real> d_up_grid(rows, columns, 2, d_up);
    const std::vector<Real> weights = as_real<Real>(weight);
    std::vector<Real> d_weights = as_real<Real>(d_weight);
    kernels.swiglu_backward.run({.gate = gate_grid.view(),
                                 .up = up_grid.view(),
                                 .weight = is_weighted ? weights.data() : nullptr,
                                 .limit = limit,
                                 .d_gate = d_gate_grid.view(),
                                 .d_up = d_up_grid.view(),
                                 .d_weight = is_weighted ? d_weights.data() : nullptr},
                                pool);
    return {numbers_of(d_gate_grid), numbers_of(d_up_grid), d_weights};
  }
  std::vector<double> limits() const {
    const double most_gate = largest_of(gate);
    const double relative = 2 * exp_relative_limit(most_gate, 0) + rounding_limit(8, 1);
    const double gradient = largest_of(d_gate) * (is_weighted ? largest_of(weight) : 1);
    const double sum =
        std::sqrt(static_cast<double>(columns)) * largest_of(d_gate) * most_gate * largest_of(up);
    return {relative * gradient * (1 + most_gate) * largest_of(up),
            relative * gradient * most_gate + rounding_limit(1, largest_of(d_up) + gradient * 9),
            relative * sum + rounding_limit(columns, sum + largest_of(d_weight))};
  }
  std::vector<std::vector<float>*> operands() { return {&gate, &up, &weight, &d_gate, &d_up}; }
};

struct PositionBiasProblem {
  Index rows;
  Index width;
  Index block_tokens;
  Index first_position;
  std::vector<float> d_rows, d_bias;

  template <typename Real>
  Outputs<Real> run(const ops::TrainingKernels<Real>& kernels,
                    platform::ThreadPool& pool,
                    int /*num_threads*/) const {
    Grid<Real> rows_grid(rows, 2 * width, 3, d_rows);
    Grid<Real> bias_grid(block_tokens, width, 0, d_bias);
    std::vector<Index> positions;
    for (Index row = 0; row < rows; ++row) {
      positions.push_back(first_position + row);
    }
    kernels.position_bias_backward.run({.d_rows = rows_grid.view(),
                                        .positions = positions,
                                        .block_tokens = block_tokens,
                                        .d_bias = bias_grid.view()},
                                       pool);
    return {numbers_of(rows_grid), numbers_of(bias_grid)};
  }
  std::vector<double> limits() const {
    return {0, rounding_limit(rows, std::sqrt(static_cast<double>(rows)) * largest_of(d_rows) +
                                        largest_of(d_bias))};
  }
  std::vector<std::vector<float>*> operands() { return {&d_rows, &d_bias}; }
};

struct PoolProblem {
  Index num_blocks;
  Index first_block;
  Index block_tokens;
  Index width;  // of a pooled row
  bool has_overlap;
  std::vector<float> input, d_out, d_input;

  static PoolProblem draw(Random& random,
                          Index num_blocks,
                          Index first_block,
                          Index block_tokens,
                          Index width,
                          bool has_overlap) {
    const Index numbers = (first_block + num_blocks) * block_tokens * width * (has_overlap ? 4 : 2);
    return {num_blocks,
            first_block,
            block_tokens,
            width,
            has_overlap,
            random.normals(numbers, Rounding::None, 2),
            random.normals(num_blocks * width),
            random.normals(numbers)};
  }
  template <typename Real>
  Outputs<Real> run(const ops::TrainingKernels<Real>& kernels,
                    platform::ThreadPool& pool,
                    int /*num_threads*/) const {
    const Index num_tokens = (first_block + num_blocks) * block_tokens;
    const Index row_width = width * (has_overlap ? 4 : 2);
    const Pages<Real> rows(num_tokens, row_width, input);
    const WritablePages<Real> d_rows(num_tokens, row_width, d_input);
    Grid<Real> d_out_grid(num_blocks, width, 3, d_out);
    kernels.compress_pool_backward.run({.input = rows.table(),
                                        .first_block = first_block,
                                        .block_tokens = block_tokens,
                                        .has_overlap = has_overlap,
                                        .d_out = d_out_grid.view(),
                                        .d_input = d_rows.table()},
                                       pool);
    return {d_rows.numbers()};
  }
  std::vector<double> limits() const {
    const double most = largest_of(input);
    const double relative =
        2 * exp_relative_limit(2 * most, 0) + rounding_limit(2 * block_tokens, 1);
    return {relative * largest_of(d_out) * (1 + 2 * most) + rounding_limit(1, largest_of(d_input))};
  }
  std::vector<std::vector<float>*> operands() { return {&input, &d_out, &d_input}; }
};

struct CombineProblem {
  Index rows;
  Index num_chosen;
  Index width;
  std::vector<std::int32_t> slot_of;
  std::vector<float> d_out, d_slots, d_shared;

  static CombineProblem draw(Random& random, Index rows, Index num_chosen, Index width) {
    CombineProblem problem = {rows,
                              num_chosen,
                              width,
                              {},
                              random.normals(rows * width),
                              random.normals(rows * num_chosen * width),
                              random.normals(rows * width)};
    // A slot for each choice, in another order.
    const Index count = rows * num_chosen;
    for (Index idx = 0; idx < count; ++idx) {
      problem.slot_of.push_back(static_cast<std::int32_t>((idx * 7 + 3) % count));
    }
    return problem;
  }
  template <typename Real>
  Outputs<Real> run(const ops::TrainingKernels<Real>& kernels,
                    platform::ThreadPool& pool,
                    int /*num_threads*/) const {
    Grid<Real> d_out_grid(rows, width, 1, d_out);
    Grid<Real> d_slots_grid(rows * num_chosen, width, 3, d_slots);
    Grid<Real> d_shared_grid(rows, width, 5, d_shared);
    kernels.combine_experts_backward.run({.slot_of = {slot_of.data(), rows, num_chosen, num_chosen},
                                          .d_out = d_out_grid.view(),
                                          .d_slots = d_slots_grid.view(),
                                          .d_shared = d_shared_grid.view()},
                                         pool);
    return {numbers_of(d_slots_grid), numbers_of(d_shared_grid)};
  }
  std::vector<double> limits() const {
    const double limit =
        rounding_limit(1, largest_of(d_out) + std::max(largest_of(d_slots), largest_of(d_shared)));
    return {limit, limit};
  }
  std::vector<std::vector<float>*> operands() { return {&d_out, &d_slots, &d_shared}; }
};

struct RouteProblem {
  Index rows;
  Index num_experts;
  Index num_chosen;
  std::vector<std::int32_t> ids;
  std::vector<float> logits, d_weights, d_logits;

  static RouteProblem draw(Random& random, Index rows, Index num_experts, Index num_chosen) {
    RouteProblem problem = {rows,
                            num_experts,
                            num_chosen,
                            {},
                            random.normals(rows * num_experts),
                            random.normals(rows * num_chosen),
                            random.normals(rows * num_experts)};
    for (Index row = 0; row < rows; ++row) {
      for (Index chosen = 0; chosen < num_chosen; ++chosen) {
        problem.ids.push_back(
            static_cast<std::int32_t>(chosen * (num_experts / num_chosen) + row % 2));
      }
    }
    return problem;
  }
  template <typename Real>
  Outputs<Real> run(const ops::TrainingKernels<Real>& kernels,
                    platform::ThreadPool& pool,
                    int /*num_threads*/) const {
    Grid<Real> logits_grid(rows, num_experts, 1, logits);
    Grid<Real> d_weights_grid(rows, num_chosen, 3, d_weights);
    Grid<Real> d_logits_grid(rows, num_experts, 5, d_logits);
    kernels.route_backward.run({.logits = logits_grid.view(),
                                .ids = {ids.data(), rows, num_chosen, num_chosen},
                                .scale = 1.5,
                                .d_weights = d_weights_grid.view(),
                                .d_logits = d_logits_grid.view()},
                               pool);
    return {numbers_of(d_logits_grid)};
  }
  // A score is at least sqrt(log1p(exp(-most))) and changes at most so fast.
  std::vector<double> limits() const {
    const double least = std::sqrt(std::log1p(std::exp(-largest_of(logits))));
    const double magnitude = 1.5 / (static_cast<double>(num_chosen) * least) * 2 *
                             largest_of(d_weights) * std::sqrt(static_cast<double>(num_chosen));
    return {rounding_limit(20 + 2 * num_chosen, magnitude + largest_of(d_logits))};
  }
  std::vector<std::vector<float>*> operands() { return {&logits, &d_weights, &d_logits}; }
};

struct CollapseProblem {
  Index rows;
  Index num_streams;
  Index width;
  std::vector<float> streams, weights, d_out, d_streams, d_weights;

  static CollapseProblem draw(Random& random, Index rows, Index num_streams, Index width) {
    const Index count = rows * num_streams;
    return {rows,
            num_streams,
            width,
            random.normals(count * width),
            random.normals(count),
            random.normals(rows * width),
            random.normals(count * width),
            random.normals(count)};
  }
  template <typename Real>
  Outputs<Real> run(const ops::TrainingKernels<Real>& kernels,
                    platform::ThreadPool& pool,
                    int /*num_threads*/) const {
    Grid<Real> streams_grid(rows, num_streams * width, 5, streams);
    Grid<Real> weights_grid(rows, num_streams, 1, weights);
    Grid<Real> d_out_grid(rows, width, 3, d_out);
    Grid<Real> d_streams_grid(rows, num_streams * width, 1, d_streams);
    Grid<Real> d_weights_grid(rows, num_streams, 3, d_weights);
    kernels.hyper_collapse_backward.run({.streams = streams_grid.view(),
                                         .weights = weights_grid.view(),
                                         .d_out = d_out_grid.view(),
                                         .d_streams = d_streams_grid.view(),
                                         .d_weights = d_weights_grid.view()},
                                        pool);
    return {numbers_of(d_streams_grid), numbers_of(d_weights_grid)};
  }
  std::vector<double> limits() const {
    const double sum =
        std::sqrt(static_cast<double>(width)) * largest_of(streams) * largest_of(d_out);
    return {rounding_limit(2, largest_of(weights) * largest_of(d_out) + largest_of(d_streams)),
            rounding_limit(width + 1, sum + largest_of(d_weights))};
  }
  std::vector<std::vector<float>*> operands() {
    return {&streams, &weights, &d_out, &d_streams, &d_weights};
  }
};

struct MergeProblem {
  Index rows;
  Index num_streams;
  Index width;
  std::vector<float> streams, y, post, comb, d_streams, d_y, d_post, d_comb;

  static MergeProblem draw(Random& random, Index rows, Index num_streams, Index width) {
    const Index count = rows * num_streams;
    return {rows,
            num_streams,
            width,
            random.normals(count * width),
            random.normals(rows * width),
            random.normals(count),
            random.normals(count * num_streams),
            random.normals(count * width),
            random.normals(rows * width),
            random.normals(count),
            random.normals(count * num_streams)};
  }
  template <typename Real>
  Outputs<Real> run(const ops::TrainingKernels<Real>& kernels,
                    platform::ThreadPool& pool,
                    int /*num_threads*/) const {
    const Index size = num_streams * num_streams;
    Grid<Real> streams_grid(rows, num_streams * width, 5, streams);
    Grid<Real> y_grid(rows, width, 3, y);
    Grid<Real> post_grid(rows, num_streams, 1, post);
    Grid<Real> comb_grid(rows, size, 1, comb);
    Grid<Real> d_streams_grid(rows, num_streams * width, 1, d_streams);
    Grid<Real> d_y_grid(rows, width, 5, d_y);
    Grid<Real> d_post_grid(rows, num_streams, 3, d_post);
    Grid<Real> d_comb_grid(rows, size, 2, d_comb);
    kernels.hyper_merge_backward.run({.streams = streams_grid.view(),
                                      .y = y_grid.view(),
                                      .post = post_grid.view(),
                                      .comb = comb_grid.view(),
                                      .d_streams = d_streams_grid.view(),
                                      .d_y = d_y_grid.view(),
                                      .d_post = d_post_grid.view(),
                                      .d_comb = d_comb_grid.view()},
                                     pool);
    return {numbers_of(d_streams_grid), numbers_of(d_y_grid), numbers_of(d_post_grid),
            numbers_of(d_comb_grid)};
  }
  std::vector<double> limits() const {
    const double gradient = largest_of(d_streams);
    const double over_streams = std::sqrt(static_cast<double>(num_streams)) * gradient;
    const double over_columns = std::sqrt(static_cast<double>(width)) * gradient;
    return {rounding_limit(2 * num_streams, over_streams * largest_of(comb)),
            rounding_limit(2 * num_streams, over_streams * largest_of(post) + largest_of(d_y)),
            rounding_limit(width + 1, over_columns * largest_of(y) + largest_of(d_post)),
            rounding_limit(width + 1, over_columns * largest_of(streams) + largest_of(d_comb))};
  }
  std::vector<std::vector<float>*> operands() {
    return {&streams, &y, &post, &comb, &d_streams, &d_y, &d_post, &d_comb};
  }
};

struct AddProblem {
  Index rows;
  Index num_streams;
  Index width;
  std::vector<float> d_each, d_shared;

  template <typename Real>
  Outputs<Real> run(const ops::TrainingKernels<Real>& kernels,
                    platform::ThreadPool& pool,
                    int /*num_threads*/) const {
    Grid<Real> d_each_grid(rows * num_streams, width, 3, d_each);
    Grid<Real> d_shared_grid(rows, width, 1, d_shared);
    kernels.add_to_streams_backward.run(
        {.d_each = d_each_grid.view(), .d_shared = d_shared_grid.view()}, pool);
    return {numbers_of(d_each_grid), numbers_of(d_shared_grid)};
  }
  std::vector<double> limits() const {
    const double sum = std::sqrt(static_cast<double>(num_streams)) * largest_of(d_each);
    return {0, rounding_limit(num_streams, sum + largest_of(d_shared))};
  }
  std::vector<std::vector<float>*> operands() { return {&d_each, &d_shared}; }
};

constexpr std::pair<Index, Index> kShapes[] = {{1, 1},    {1, 16},  {3, 15},  {2, 17},   {5, 128},
                                               {130, 64}, {4, 129}, {2, 512}, {67, 200}, {1, 4096}};

class RowsBackward : public OnEveryBackend {};

TEST_P(RowsBackward, NormsKeepTheContract) {
  Random random(201);
  for (const auto& [rows, columns] : kShapes) {
    SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
    for (const bool is_trained : {true, false}) {
      const auto problem = RmsNormProblem::draw(random, rows, columns, is_trained);
      expect_backward_contract(problem, GetParam());
      expect_same_nans(problem, random, GetParam());
    }
    const Index count = rows * columns;
    const HeadNormProblem head = {rows, columns, random.normals(count), random.normals(count)};
    expect_backward_contract(head, GetParam());
    expect_same_nans(head, random, GetParam());
  }
}

TEST_P(RowsBackward, ARowOfZerosHasAFiniteGradient) {
  Random random(202);
  auto problem = RmsNormProblem::draw(random, 3, 20, true);
  std::fill_n(problem.x.begin() + 20, 20, 0.0F);
  expect_backward_contract(problem, GetParam());
}

TEST_P(RowsBackward, SwigluKeepsTheContractInsideAndBeyondItsClamps) {
  Random random(203);
  for (const auto& [rows, columns] : kShapes) {
    for (const bool is_weighted : {true, false}) {
      for (const double limit : {2.0, 10.0, std::numeric_limits<double>::infinity()}) {
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
        const auto problem = SwigluProblem::draw(random, rows, columns, is_weighted, limit);
        expect_backward_contract(problem, GetParam());
        expect_same_nans(problem, random, GetParam());
      }
    }
  }
}

TEST_P(RowsBackward, AHugeNegativeGateHasNoGradient) {
  Random random(204);
  auto problem = SwigluProblem::draw(random, 2, 40, true, 10);
  problem.gate[3] = -1000;
  problem.gate[44] = -90;
  const Outputs<float> found = run_on(problem, GetParam(), 1);
  EXPECT_EQ(found[0][3], 0);
  EXPECT_NEAR(found[0][44], 0, 1e-30);
  EXPECT_EQ(found[1][3], problem.d_up[3]);
}

TEST_P(RowsBackward, CompressionKeepsTheContract) {
  Random random(205);
  for (const Index width : {1, 16, 40, 130}) {
    for (const bool has_overlap : {false, true}) {
      for (const Index first_block : {0, 2}) {
        SCOPED_TRACE(std::to_string(width) + (has_overlap ? " with overlap" : ""));
        const auto pool = PoolProblem::draw(random, 5, first_block, 4, width, has_overlap);
        expect_backward_contract(pool, GetParam());
        expect_same_nans(pool, random, GetParam());
      }
      const Index rows = random.index(1, 40);
      const PositionBiasProblem bias = {rows,
                                        width,
                                        4,
                                        random.index(0, 9),
                                        random.normals(rows * 2 * width),
                                        random.normals(4 * width)};
      expect_backward_contract(bias, GetParam());
      expect_same_nans(bias, random, GetParam());
    }
  }
}

TEST_P(RowsBackward, RoutingKeepsTheContract) {
  Random random(206);
  for (const Index rows : {1, 2, 33}) {
    for (const Index num_chosen : {1, 3}) {
      for (const Index width : {1, 47, 384}) {
        const auto combine = CombineProblem::draw(random, rows, num_chosen, width);
        expect_backward_contract(combine, GetParam());
        expect_same_nans(combine, random, GetParam());
      }
      const auto route = RouteProblem::draw(random, rows, 12, num_chosen);
      expect_backward_contract(route, GetParam());
      expect_same_nans(route, random, GetParam());
    }
  }
}

TEST_P(RowsBackward, CollapseMergeAndAddKeepTheContract) {
  Random random(212);
  for (const Index num_streams : {1, 2, 3, 4, 16}) {
    for (const Index width : {1, 16, 47, 320}) {
      const Index rows = random.index(1, 20);
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(num_streams) + " x " +
                   std::to_string(width));
      const auto collapse = CollapseProblem::draw(random, rows, num_streams, width);
      expect_backward_contract(collapse, GetParam());
      expect_same_nans(collapse, random, GetParam());
      const auto merge = MergeProblem::draw(random, rows, num_streams, width);
      expect_backward_contract(merge, GetParam());
      expect_same_nans(merge, random, GetParam());
      const AddProblem add = {rows, num_streams, width, random.normals(rows * num_streams * width),
                              random.normals(rows * width)};
      expect_backward_contract(add, GetParam());
      expect_same_nans(add, random, GetParam());
    }
  }
}

FATHOM_ON_EVERY_BACKEND(RowsBackward);

TEST(RowsBackwardMutation, AForgottenRowColumnOrTokenIsNoticed) {
  Random random(207);
  using Table = ops::TrainingKernels<float>;
  expect_backward_notices(
      RmsNormProblem::draw(random, 5, 20, true), &Table::rms_norm_backward,
      [](const ops::RmsNormBackwardArgs<float>& args, platform::ThreadPool& pool) noexcept {
        auto wrong = args;
        wrong.x.rows -= 1;
        reference::rms_norm_backward(wrong, pool);
      });
  expect_backward_notices(
      HeadNormProblem{3, 20, random.normals(60), random.normals(60)}, &Table::head_norm_backward,
      [](const ops::HeadNormBackwardArgs<float>& args, platform::ThreadPool& pool) noexcept {
        auto wrong = args;
        wrong.x.columns -= 1;
        reference::head_norm_backward(wrong, pool);
      });
  expect_backward_notices(
      SwigluProblem::draw(random, 3, 20, true, 2), &Table::swiglu_backward,
      [](const ops::SwigluBackwardArgs<float>& args, platform::ThreadPool& pool) noexcept {
        auto wrong = args;
        wrong.limit *= 1.5;
        reference::swiglu_backward(wrong, pool);
      });
  expect_backward_notices(
      PoolProblem::draw(random, 3, 1, 4, 8, true), &Table::compress_pool_backward,
      [](const ops::CompressPoolBackwardArgs<float>& args, platform::ThreadPool& pool) noexcept {
        auto wrong = args;
        wrong.first_block -= 1;
        reference::compress_pool_backward(wrong, pool);
      });
  expect_backward_notices(
      CombineProblem::draw(random, 4, 3, 8), &Table::combine_experts_backward,
      [](const ops::CombineExpertsBackwardArgs<float>& args, platform::ThreadPool& pool) noexcept {
        auto wrong = args;
        wrong.slot_of.columns -= 1;
        reference::combine_experts_backward(wrong, pool);
      });
  expect_backward_notices(
      RouteProblem::draw(random, 4, 12, 3), &Table::route_backward,
      [](const ops::RouteBackwardArgs<float>& args, platform::ThreadPool& pool) noexcept {
        auto wrong = args;
        wrong.ids.columns -= 1;
        reference::route_backward(wrong, pool);
      });
  expect_backward_notices(
      PositionBiasProblem{9, 8, 4, 1, random.normals(144), random.normals(32)},
      &Table::position_bias_backward,
      [](const ops::PositionBiasBackwardArgs<float>& args, platform::ThreadPool& pool) noexcept {
        auto wrong = args;
        wrong.d_rows.rows -= 1;
        reference::position_bias_backward(wrong, pool);
      });
  expect_backward_notices(
      CollapseProblem::draw(random, 2, 4, 8), &Table::hyper_collapse_backward,
      [](const ops::HyperCollapseBackwardArgs<float>& args, platform::ThreadPool& pool) noexcept {
        auto wrong = args;
        wrong.weights.columns -= 1;
        reference::hyper_collapse_backward(wrong, pool);
      });
  expect_backward_notices(
      MergeProblem::draw(random, 2, 2, 8), &Table::hyper_merge_backward,
      [](const ops::HyperMergeBackwardArgs<float>& args, platform::ThreadPool& pool) noexcept {
        for (Index row = 0; row < args.comb.rows; ++row) {
          auto* comb = const_cast<float*>(args.comb.row(row));
          std::swap(comb[1], comb[2]);
        }
        reference::hyper_merge_backward(args, pool);
      });
  expect_backward_notices(
      AddProblem{2, 4, 8, random.normals(64), random.normals(16)}, &Table::add_to_streams_backward,
      [](const ops::AddToStreamsBackwardArgs<float>& args, platform::ThreadPool& pool) noexcept {
        auto wrong = args;
        wrong.d_each.columns -= 1;
        reference::add_to_streams_backward(wrong, pool);
      });
}

}  // namespace
}  // namespace fathom::testing
