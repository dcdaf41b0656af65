#include <algorithm>
#include <vector>

#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"
#include "fathom/compute/numeric/int16_rows.h"
#include "fathom/compute/ops/top_k.h"

namespace fathom::reference {
namespace {

// Keeps the blocks with the best scores, block by block score_of(token, block).
template <typename Real, typename Key, typename ScoreOf>
void select_blocks(const ops::IndexSelectArgs<Real, Key>& args, const ScoreOf& score_of) {
  Real* scores = args.scratch.row(0);
  for (Index token = 0; token < args.out.rows; ++token) {
    const Index num_visible = args.num_visible[to_size(token)];
    if (num_visible > args.out.columns) {
      for (Index block = 0; block < num_visible; ++block) {
        scores[block] = score_of(token, block);
      }
    }
    ops::select_top_k(scores, num_visible, args.out.columns, args.out.row(token));
  }
}

std::int64_t sum_of_products(const std::int16_t* query, const std::int16_t* key, Index width) {
  std::int64_t sum = 0;
  for (Index i = 0; i < width; ++i) {
    sum += std::int64_t{query[i]} * key[i];
  }
  return sum;
}

}  // namespace

template <typename Real>
void index_select(const ops::IndexSelectArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.width();
  select_blocks(args, [&](Index token, Index block) {
    Real score = 0;
    for (Index head = 0; head < args.num_heads(); ++head) {
      const Real product = rounded(
          dot(args.query.row(token) + head * width, args.key(token, block), width), args.rounding);
      score += rounded(std::max(product, Real{0}) * args.weight.row(token)[head], args.rounding);
    }
    return rounded(score, args.rounding);
  });
}

// Rounding is in fp32 also from double, as that of activations.
template <typename Real>
void int16_index_select(const ops::Int16IndexSelectArgs<Real>& args,
                        platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.width();
  std::vector<float> query(to_size(width));
  std::vector<std::int16_t> codes(to_size(width));
  select_blocks(args, [&](Index token, Index block) {
    const std::int16_t* key = args.key(token, block);
    Real score = 0;
    for (Index head = 0; head < args.num_heads(); ++head) {
      const Real* from = args.query.row(token) + head * width;
      std::transform(from, from + width, query.begin(),
                     [](Real value) { return static_cast<float>(value); });
      const float scale = numeric::round_to_int16_row(query.data(), width, codes.data());
      const auto product = static_cast<Real>(sum_of_products(codes.data(), key, width));
      score += args.weight.row(token)[head] * static_cast<Real>(scale) * std::max(product, Real{0});
    }
    return score * static_cast<Real>(numeric::scale_of_int16_row(key, width));
  });
}

template void index_select(const ops::IndexSelectArgs<float>&, platform::ThreadPool&) noexcept;
template void index_select(const ops::IndexSelectArgs<double>&, platform::ThreadPool&) noexcept;
template void int16_index_select(const ops::Int16IndexSelectArgs<float>&,
                                 platform::ThreadPool&) noexcept;
template void int16_index_select(const ops::Int16IndexSelectArgs<double>&,
                                 platform::ThreadPool&) noexcept;

}  // namespace fathom::reference
