// The contract of ops/hyper_connection.h: hyper_control, hyper_collapse, hyper_merge,
// add_to_streams.
#include "fathom/compute/ops/hyper_connection.h"

#include "tests/contract/contract.h"

namespace fathom::testing {
namespace {

struct ControlProblem {
  Index rows;
  Index num_streams;
  Index width;
  bool has_post;
  std::vector<float> products;
  std::vector<float> streams;
  std::vector<float> scale;
  std::vector<float> base;
  Index iterations = 20;
  Rounding rounding = Rounding::None;

  static ControlProblem draw(
      Random& random, Index rows, Index num_streams, Index width, bool has_post) {
    const Index count = has_post ? num_streams * (2 + num_streams) : num_streams;
    return {rows,
            num_streams,
            width,
            has_post,
            random.normals(rows * count),
            random.normals(rows * num_streams * width),
            random.normals(has_post ? 3 : 1),
            random.normals(count)};
  }
  Index num_products() const { return to_index(base.size()); }
  ControlProblem row(Index idx) const {
    ControlProblem one = *this;
    one.rows = 1;
    one.products = rows_of(products, num_products(), idx);
    one.streams = rows_of(streams, num_streams * width, idx);
    return one;
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> products_grid(rows, num_products(), 3, products);
    Grid<Real> streams_grid(rows, num_streams * width, 5, streams);
    Grid<Real> pre(rows, num_streams, 1);
    Grid<Real> post(rows, num_streams, 2);
    Grid<Real> comb(rows, num_streams * num_streams, 3);
    kernels.hyper_control.run({.products = products_grid.view(),
                               .streams = streams_grid.view(),
                               .scale = scale,
                               .base = base,
                               .epsilon = 1e-6,
                               .norm_epsilon = 1e-6,
                               .iterations = iterations,
                               .pre = pre.view(),
                               .post = has_post ? post.view() : tensor::MatrixView<Real>{},
                               .comb = has_post ? comb.view() : tensor::MatrixView<Real>{}},
                              pool);
    return has_post ? result_of<Real>(rows, pre, post, comb) : result_of<Real>(rows, pre);
  }
  // Numbers of the order of 1. The exponents m * scale + base carry the error of the norm; every
  // step of Sinkhorn adds a sum and a quotient and shrinks what came before.
  std::vector<double> limits(const Result<double>& expected) const {
    double largest = 0;
    for (Index row = 0; row < rows; ++row) {
      const double norm = norm_of(streams.data() + row * num_streams * width, num_streams * width) /
                          std::sqrt(static_cast<double>(num_streams * width));
      const double product = largest_of(rows_of(products, num_products(), row));
      largest = std::max(largest, product / norm * largest_of(scale) + largest_of(base));
    }
    const double exponent_error = rounding_limit(num_streams * width + 4, largest);
    const double limit = exp_relative_limit(2 * largest, 2 * exponent_error) +
                         rounding_limit(2 * iterations * num_streams, 1);
    return limits_by_value(expected, [&](double /*value*/) { return limit; });
  }
};

struct CollapseProblem {
  Index rows;
  Index num_streams;
  Index width;
  Rounding rounding;
  std::vector<float> streams;
  std::vector<float> weights;

  CollapseProblem row(Index idx) const {
    return {1,
            num_streams,
            width,
            rounding,
            rows_of(streams, num_streams * width, idx),
            rows_of(weights, num_streams, idx)};
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> streams_grid(rows, num_streams * width, 5, streams);
    Grid<Real> weights_grid(rows, num_streams, 2, weights);
    Grid<Real> out(rows, width, 3);
    kernels.hyper_collapse.run({.streams = streams_grid.view(),
                                .weights = weights_grid.view(),
                                .rounding = rounding,
                                .out = out.view()},
                               pool);
    return result_of<Real>(rows, out);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    const double magnitude =
        largest_of(streams) * largest_of(weights) * std::sqrt(static_cast<double>(num_streams));
    return limits_by_value(expected, [&](double value) {
      return rounding_limit(2 * num_streams, magnitude) +
             (rounding == Rounding::Bf16 ? bf16_limit(1, value) : 0);
    });
  }
};

struct MergeProblem {
  Index rows;
  Index num_streams;
  Index width;
  Rounding rounding;
  std::vector<float> streams;
  std::vector<float> y;
  std::vector<float> post;
  std::vector<float> comb;

  static MergeProblem draw(
      Random& random, Index rows, Index num_streams, Index width, Rounding rounding) {
    return {rows,
            num_streams,
            width,
            rounding,
            random.normals(rows * num_streams * width, rounding),
            random.normals(rows * width, rounding),
            random.normals(rows * num_streams),
            random.normals(rows * num_streams * num_streams)};
  }
  MergeProblem row(Index idx) const {
    return {1,
            num_streams,
            width,
            rounding,
            rows_of(streams, num_streams * width, idx),
            rows_of(y, width, idx),
            rows_of(post, num_streams, idx),
            rows_of(comb, num_streams * num_streams, idx)};
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> streams_grid(rows, num_streams * width, 5, streams);
    Grid<Real> y_grid(rows, width, 3, y);
    Grid<Real> post_grid(rows, num_streams, 1, post);
    Grid<Real> comb_grid(rows, num_streams * num_streams, 1, comb);
    kernels.hyper_merge.run({.streams = streams_grid.view(),
                             .y = y_grid.view(),
                             .post = post_grid.view(),
                             .comb = comb_grid.view(),
                             .rounding = rounding},
                            pool);
    return result_of<Real>(rows, streams_grid);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    const double terms = std::sqrt(static_cast<double>(num_streams + 1));
    const double magnitude = terms * std::max(largest_of(streams), largest_of(y)) *
                             std::max(largest_of(comb), largest_of(post));
    return limits_by_value(expected, [&](double value) {
      return rounding_limit(2 * (num_streams + 1), magnitude) +
             (rounding == Rounding::Bf16 ? bf16_limit(1, value) : 0);
    });
  }
};

struct AddProblem {
  Index rows;
  Index num_streams;
  Index width;
  Rounding rounding;
  std::vector<float> shared;
  std::vector<float> each;

  AddProblem row(Index idx) const {
    const Index token = idx / num_streams;
    return {1, 1, width, rounding, rows_of(shared, width, token), rows_of(each, width, idx)};
  }
  template <typename Real>
  Result<Real> run(const ops::KernelTable<Real>& kernels, platform::ThreadPool& pool) const {
    Grid<Real> shared_grid(rows, width, 3, shared);
    Grid<Real> each_grid(rows * num_streams, width, 1, each);
    kernels.add_to_streams.run(
        {.shared = shared_grid.view(), .rounding = rounding, .each = each_grid.view()}, pool);
    return result_of<Real>(rows * num_streams, each_grid);
  }
  std::vector<double> limits(const Result<double>& expected) const {
    return limits_by_value(expected, [&](double value) {
      return rounding_limit(1, std::abs(value)) +
             (rounding == Rounding::Bf16 ? bf16_limit(1, value) : 0);
    });
  }
};

class HyperConnection : public OnEveryBackend {};

TEST_P(HyperConnection, ControlKeepsTheContract) {
  Random random(61);
  for (const Index num_streams : {1, 2, 3, 4, 16}) {
    for (const Index rows : {1, 37}) {
      for (const bool has_post : {true, false}) {
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(num_streams) + " streams");
        expect_contract(ControlProblem::draw(random, rows, num_streams, 33, has_post), GetParam());
      }
    }
  }
}

TEST_P(HyperConnection, CollapseMergeAndAddKeepTheContract) {
  Random random(62);
  for (const Index num_streams : {1, 2, 3, 4, 16}) {
    for (const Index width : {1, 16, 47, 300}) {
      for (const Rounding rounding : {Rounding::None, Rounding::Bf16}) {
        const Index rows = random.index(1, 20);
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(num_streams) + " x " +
                     std::to_string(width));
        const Index count = rows * num_streams;
        expect_contract(
            CollapseProblem{rows, num_streams, width, rounding,
                            random.normals(count * width, rounding), random.normals(count)},
            GetParam());
        expect_contract(MergeProblem::draw(random, rows, num_streams, width, rounding), GetParam());
        expect_contract(
            AddProblem{rows, num_streams, width, rounding, random.normals(rows * width, rounding),
                       random.normals(count * width, rounding)},
            GetParam());
      }
    }
  }
}

FATHOM_ON_EVERY_BACKEND(HyperConnection);

TEST(HyperConnectionMutation, OneRoundOfSinkhornLessIsNoticed) {
  Random random(63);
  auto problem = ControlProblem::draw(random, 40, 4, 16, true);
  for (float& base : problem.base) {
    base *= 3;  // far from uniform: slow to converge
  }
  problem.scale = {1, 1, 3};
  expect_notices(problem, &ops::KernelTable<float>::hyper_control,
                 [](const ops::HyperControlArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.iterations -= 1;
                   reference::hyper_control(wrong, pool);
                 });
}

TEST(HyperConnectionMutation, TheTransposedMixIsNoticed) {
  Random random(64);
  expect_notices(MergeProblem::draw(random, 2, 2, 8, Rounding::None),
                 &ops::KernelTable<float>::hyper_merge,
                 [](const ops::HyperMergeArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   for (Index row = 0; row < args.comb.rows; ++row) {
                     auto* comb = const_cast<float*>(args.comb.row(row));
                     std::swap(comb[1], comb[2]);
                   }
                   reference::hyper_merge(args, pool);
                 });
}

TEST(HyperConnectionMutation, AForgottenStreamIsNoticed) {
  Random random(65);
  const CollapseProblem collapse = {2, 4, 8, Rounding::None, random.normals(64), random.normals(8)};
  expect_notices(
      collapse, &ops::KernelTable<float>::hyper_collapse,
      [](const ops::HyperCollapseArgs<float>& args, platform::ThreadPool& pool) noexcept {
        auto wrong = args;
        wrong.weights.columns -= 1;
        reference::hyper_collapse(wrong, pool);
      });
  const AddProblem add = {2, 4, 8, Rounding::None, random.normals(16), random.normals(64)};
  expect_notices(add, &ops::KernelTable<float>::add_to_streams,
                 [](const ops::AddToStreamsArgs<float>& args, platform::ThreadPool& pool) noexcept {
                   auto wrong = args;
                   wrong.each.columns -= 1;
                   reference::add_to_streams(wrong, pool);
                 });
}

}  // namespace
}  // namespace fathom::testing
