#include "fathom/compute/ops/index_select.h"

#include <algorithm>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/require.h"
#include "fathom/compute/ops/top_k.h"

namespace fathom::ops {

tensor::Tensor index_select(Context& context,
                            const IndexerScores& scores,
                            std::span<const Index> num_visible,
                            Index top_k) {
  const std::span<const Index> first_keys = scores.first_keys;
  const Index num_tokens = to_index(num_visible.size());
  const Index most =
      num_tokens == 0 ? 0 : *std::max_element(num_visible.begin(), num_visible.end());
  FATHOM_CHECK(most <= scores.keys.num_rows);
  FATHOM_CHECK(first_keys.empty() || first_keys.size() == num_visible.size());
  for (std::size_t token = 0; token < first_keys.size(); ++token) {
    FATHOM_CHECK(first_keys[token] + num_visible[token] <= scores.keys.num_rows);
  }
  // A token sees at most `most` blocks, so wider rows would only hold padding.
  tensor::Tensor out = tensor::Tensor::allocate(context.arena, tensor::DType::I32,
                                                {num_tokens, std::clamp<Index>(most, 1, top_k)});
  if (most <= top_k) {
    for (Index token = 0; token < num_tokens; ++token) {
      select_top_k<float>(nullptr, num_visible[to_size(token)], out.dim(1),
                          out.matrix<std::int32_t>().row(token));
    }
    return out;
  }
  require_equal("index_select", "tokens of query", scores.query.dim(0), num_tokens);
  require_equal("index_select", "tokens of weight", scores.weight.dim(0), num_tokens);
  require_equal("index_select", "columns of query", scores.query.shape().last(),
                scores.weight.shape().last() * scores.keys.width);
  const bool has_codes = scores.keys.dtype == tensor::DType::Int16Row;
  FATHOM_CHECK(!has_codes || scores.keys.width <= numeric::kMostInt16RowNumbers);
  const tensor::Arena::Scope scope(context.arena);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    const tensor::Tensor scratch = context.allocate(
        {context.num_threads, IndexSelectArgs<Real>::scratch_columns(scores.weight.shape().last(),
                                                                     scores.keys.width, most)});
    const auto select = [&]<typename Key>(const Kernel<IndexSelectArgs<Real, Key>>& kernel) {
      kernel.run({.query = scores.query.matrix<Real>(),
                  .weight = scores.weight.matrix<Real>(),
                  .keys = scores.keys.table<Key>(),
                  .num_visible = num_visible,
                  .first_keys = first_keys,
                  .rounding = context.rounding(),
                  .scratch = scratch.matrix<Real>(),
                  .out = out.matrix<std::int32_t>()},
                 context.pool);
    };
    if (has_codes) {
      select(kernels.int16_index_select);
    } else {
      select(kernels.index_select);
    }
  });
  return out;
}

}  // namespace fathom::ops
