// The contract of hyper_control's backward half (ops/hyper_connection.h).
#include "fathom/compute/ops/hyper_connection.h"

#include "tests/contract/backward.h"

namespace fathom::testing {
namespace {

struct ControlProblem {
  Index rows;
  Index num_streams;
  Index width;
  bool has_post;
  bool is_trained;
  std::vector<float> products, streams, scale, base;
  std::vector<float> d_pre, d_post, d_comb, d_products, d_streams, d_scale, d_base;
  Index iterations = 20;

  static ControlProblem draw(Random& random,
                             Index rows,
                             Index num_streams,
                             Index width,
                             bool has_post,
                             bool is_trained = true) {
    const Index count = has_post ? num_streams * (2 + num_streams) : num_streams;
    const Index num_scales = has_post ? 3 : 1;
    return {rows,
            num_streams,
            width,
            has_post,
            is_trained,
            random.normals(rows * count),
            random.normals(rows * num_streams * width),
            random.normals(num_scales),
            random.normals(count),
            random.normals(rows * num_streams),
            random.normals(has_post ? rows * num_streams : 0),
            random.normals(has_post ? rows * num_streams * num_streams : 0),
            random.normals(rows * count),
            random.normals(rows * num_streams * width),
            random.normals(num_scales),
            random.normals(count)};
  }
  Index num_products() const { return to_index(base.size()); }

  template <typename Real>
  Outputs<Real> run(const ops::TrainingKernels<Real>& kernels,
                    platform::ThreadPool& pool,
                    int num_threads) const {
    using Args = ops::HyperControlBackwardArgs<Real>;
    const Index size = num_streams * num_streams;
    Grid<Real> products_grid(rows, num_products(), 3, products);
    Grid<Real> streams_grid(rows, num_streams * width, 5, streams);
    Grid<Real> d_pre_grid(rows, num_streams, 1, d_pre);
    Grid<Real> d_post_grid(has_post ? rows : 0, num_streams, 3, d_post);
    Grid<Real> d_comb_grid(has_post ? rows : 0, size, 1, d_comb);
    Grid<Real> d_products_grid(rows, num_products(), 2, d_products);
    Grid<Real> d_streams_grid(rows, num_streams * width, 1, d_streams);
    Grid<Real> scratch(num_threads, Args::scratch_columns(num_streams, iterations), 0);
    Grid<Real> sums(Args::num_tiles(rows), Args::sum_columns(num_products()), 0);
    std::vector<Real> d_scales = as_real<Real>(d_scale);
    std::vector<Real> d_bases = as_real<Real>(d_base);
    kernels.hyper_control_backward.run(
        {.products = products_grid.view(),
         .streams = streams_grid.view(),
         .scale = scale,
         .base = base,
         .norm_epsilon = 1e-6,
         .epsilon = 1e-6,
         .iterations = iterations,
         .d_pre = d_pre_grid.view(),
         .d_post = has_post ? d_post_grid.view() : tensor::MatrixView<Real>{},
         .d_comb = has_post ? d_comb_grid.view() : tensor::MatrixView<Real>{},
         .d_products = d_products_grid.view(),
         .d_streams = d_streams_grid.view(),
         .d_scale = is_trained ? d_scales.data() : nullptr,
         .d_base = is_trained ? d_bases.data() : nullptr,
         .scratch = scratch.view(),
         .sums = sums.view()},
        pool);
    return {numbers_of(d_products_grid), numbers_of(d_streams_grid), d_scales, d_bases};
  }

  // The exponents m * scale + base carry the error of the norm; every step of the iterations adds a
  // sum and a quotient, forwards and on the way back. Gradients of the matrix grow where a step
  // divides by a small sum, which only the first does: of a column.
  std::vector<double> limits() const {
    const double count = static_cast<double>(num_streams * width);
    double factor = 0;
    for (Index row = 0; row < rows; ++row) {
      factor =
          std::max(factor, std::sqrt(count) / norm_of(streams.data() + row * num_streams * width,
                                                      num_streams * width));
    }
    const double most_product = largest_of(products);
    const double most_scale = largest_of(scale);
    const double exponent = most_product * factor * most_scale + largest_of(base);
    const double relative =
        exp_relative_limit(2 * exponent, 2 * rounding_limit(num_streams * width + 4, exponent)) +
        rounding_limit(4 * iterations * num_streams, 1);
    const double gradient = std::max({largest_of(d_pre), 2 * largest_of(d_post),
                                      static_cast<double>(num_streams) * largest_of(d_comb)});
    const double d_mixed = relative * gradient;
    const double num_sums = std::sqrt(static_cast<double>(rows * num_products()));
    const double d_factor =
        d_mixed * most_product * most_scale * std::sqrt(static_cast<double>(num_products()));
    return {d_mixed * factor * most_scale + rounding_limit(2, largest_of(d_products)),
            d_factor * factor * factor * factor / count * largest_of(streams) +
                rounding_limit(2, largest_of(d_streams)),
            d_mixed * num_sums * most_product * factor + rounding_limit(1, largest_of(d_scale)),
            d_mixed * num_sums + rounding_limit(1, largest_of(d_base))};
  }
  std::vector<std::vector<float>*> operands() {
    return {&products, &streams, &d_pre, &d_post, &d_comb, &d_products, &d_streams};
  }
};

class HyperControlBackward : public OnEveryBackend {};

TEST_P(HyperControlBackward, KeepsTheContract) {
  Random random(211);
  for (const Index num_streams : {1, 2, 3, 4, 16}) {
    for (const Index rows : {1, 16, 37}) {
      for (const bool has_post : {true, false}) {
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(num_streams) + " streams");
        const auto problem = ControlProblem::draw(random, rows, num_streams, 33, has_post);
        expect_backward_contract(problem, GetParam());
        expect_same_nans(problem, random, GetParam());
      }
    }
  }
  expect_backward_contract(ControlProblem::draw(random, 5, 4, 16, true, false), GetParam());
}

FATHOM_ON_EVERY_BACKEND(HyperControlBackward);

TEST(HyperControlBackwardMutation, AMissingIterationIsNoticed) {
  Random random(213);
  using Table = ops::TrainingKernels<float>;
  auto control = ControlProblem::draw(random, 40, 4, 16, true);
  for (float& base : control.base) {
    base *= 3;  // far from uniform: slow to converge
  }
  control.scale = {1, 1, 3};
  control.iterations = 3;
  expect_backward_notices(
      control, &Table::hyper_control_backward,
      [](const ops::HyperControlBackwardArgs<float>& args, platform::ThreadPool& pool) noexcept {
        auto wrong = args;
        wrong.iterations -= 1;
        reference::hyper_control_backward(wrong, pool);
      });
}

}  // namespace
}  // namespace fathom::testing
