// The contract of the backward half of ops/grouped_attention.h.
#include "tests/contract/attention_limits.h"

namespace fathom::testing {
namespace {

struct GroupedProblem {
  Index rows;
  Index num_groups;
  Index heads_per_group;
  Index head_dim;
  std::vector<Index> num_visible;
  std::vector<float> query, keys, values;
  std::vector<float> d_out, d_query, d_keys, d_values;

  static GroupedProblem draw(Random& random,
                             Index rows,
                             Index num_groups,
                             Index heads_per_group,
                             Index head_dim,
                             Index first_position) {
    const Index num_rows = rows + first_position;
    const Index row_numbers = num_rows * num_groups * head_dim;
    const Index head_numbers = rows * num_groups * heads_per_group * head_dim;
    GroupedProblem problem = {rows,
                              num_groups,
                              heads_per_group,
                              head_dim,
                              {},
                              random.normals(head_numbers),
                              random.normals(row_numbers),
                              random.normals(row_numbers),
                              random.normals(head_numbers),
                              random.normals(head_numbers),
                              random.normals(row_numbers),
                              random.normals(row_numbers)};
    for (Index row = 0; row < rows; ++row) {
      problem.num_visible.push_back(first_position + row + 1);
    }
    return problem;
  }
  Index num_heads() const { return num_groups * heads_per_group; }
  double scale() const { return 1 / std::sqrt(static_cast<double>(head_dim)); }

  template <typename Real>
  Outputs<Real> run(const ops::TrainingKernels<Real>& kernels,
                    platform::ThreadPool& pool,
                    int /*num_threads*/) const {
    using Args = ops::GroupedAttentionBackwardArgs<Real>;
    const Index width = num_groups * head_dim;
    const Index num_rows = num_visible.back();
    Grid<Real> queries(rows, num_heads() * head_dim, 3, query);
    const Pages<Real> key_pages(num_rows, width, keys);
    const Pages<Real> value_pages(num_rows, width, values);
    Grid<Real> d_outs(rows, num_heads() * head_dim, 1, d_out);
    Grid<Real> d_queries(rows, num_heads() * head_dim, 5, d_query);
    const WritablePages<Real> d_key_pages(num_rows, width, d_keys);
    const WritablePages<Real> d_value_pages(num_rows, width, d_values);
    Grid<Real> scratch(1, Args::scratch_columns(num_heads(), num_rows, rows), 0);
    kernels.grouped_attention_backward.run({.forward = {.query = queries.view(),
                                                        .keys = key_pages.view(),
                                                        .values = value_pages.view(),
                                                        .num_visible = num_visible,
                                                        .head_dim = head_dim,
                                                        .scale = scale(),
                                                        .out = {}},
                                            .most_rows = num_rows,
                                            .d_out = d_outs.view(),
                                            .scratch = scratch.view(),
                                            .d_query = d_queries.view(),
                                            .d_keys = d_key_pages.table(),
                                            .d_values = d_value_pages.table()},
                                           pool);
    return {numbers_of(d_queries), d_key_pages.numbers(), d_value_pages.numbers()};
  }
  std::vector<double> limits() const {
    const AttentionLimits limit = {.width = head_dim,
                                   .most_rows = num_visible.back(),
                                   .num_heads_per_row = rows * heads_per_group,
                                   .scale = scale(),
                                   .query_norm = largest_norm(query, head_dim),
                                   .key_norm = largest_norm(keys, head_dim),
                                   .value_norm = largest_norm(values, head_dim),
                                   .d_out_norm = largest_norm(d_out, head_dim),
                                   .most_query = largest_of(query),
                                   .most_key = largest_of(keys),
                                   .most_d_out = largest_of(d_out)};
    const auto before = [](const std::vector<float>& numbers) {
      return rounding_limit(2, largest_of(numbers));
    };
    return {limit.d_query() + before(d_query), limit.d_key() + before(d_keys),
            limit.d_value() + before(d_values)};
  }
  std::vector<std::vector<float>*> operands() {
    return {&query, &keys, &values, &d_out, &d_query, &d_keys, &d_values};
  }
};

class GroupedAttentionBackward : public OnEveryBackend {};

TEST_P(GroupedAttentionBackward, KeepsTheContract) {
  Random random(223);
  for (const auto& [rows, first_position] :
       {std::pair<Index, Index>{1, 0}, {1, 70}, {5, 3}, {90, 0}, {40, 100}}) {
    for (const auto& [num_groups, heads_per_group, head_dim] :
         {std::tuple<Index, Index, Index>{1, 1, 16}, {3, 3, 64}, {2, 1, 40}, {2, 5, 7}}) {
      SCOPED_TRACE(std::to_string(rows) + " tokens from " + std::to_string(first_position) + ", " +
                   std::to_string(heads_per_group) + " heads of " + std::to_string(head_dim));
      const auto problem =
          GroupedProblem::draw(random, rows, num_groups, heads_per_group, head_dim, first_position);
      expect_backward_contract(problem, GetParam());
      expect_same_nans(problem, random, GetParam());
    }
  }
}

FATHOM_ON_EVERY_BACKEND(GroupedAttentionBackward);

TEST(GroupedAttentionBackwardMutation, AForgottenTokenIsNoticed) {
  Random random(225);
  using Table = ops::TrainingKernels<float>;
  expect_backward_notices(GroupedProblem::draw(random, 6, 2, 2, 16, 4),
                          &Table::grouped_attention_backward,
                          [](const ops::GroupedAttentionBackwardArgs<float>& args,
                             platform::ThreadPool& pool) noexcept {
                            auto wrong = args;
                            wrong.d_out.rows -= 1;
                            reference::grouped_attention_backward(wrong, pool);
                          });
}

}  // namespace
}  // namespace fathom::testing
