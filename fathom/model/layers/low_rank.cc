#include "fathom/model/layers/low_rank.h"

#include <algorithm>

#include "fathom/base/core/error.h"

namespace fathom::layers {
namespace {

numeric::WeightView zeros_like(const numeric::WeightView& view, const std::vector<float>& zeros) {
  numeric::WeightView result = view;
  result.data = reinterpret_cast<const std::byte*>(zeros.data());
  return result;
}

}  // namespace

ExpertLowRanks::ExpertLowRanks(const weights::Store& store,
                               const config::WeightKey& key,
                               Index num_experts) {
  std::vector<std::optional<weights::LowRank>> found;
  std::optional<weights::LowRank> first;
  for (Index expert = 0; expert < num_experts; ++expert) {
    found.push_back(store.low_rank(key, expert));
    first = first ? first : found.back();
  }
  if (!first) {
    return;
  }
  scale_ = first->scale;
  zeros_.resize(to_size(std::max(first->a.columns, first->b.rows) * first->a.rows));
  for (Index expert = 0; expert < num_experts; ++expert) {
    const std::optional<weights::LowRank>& each = found[to_size(expert)];
    if (each && (each->a.rows != first->a.rows || each->scale != scale_)) {
      fail(ErrorCode::Unsupported, "adapter: ", to_string(key.role), " of layer ", key.layer_idx,
           ", expert ", expert, ": rank ", each->a.rows, " and scale ", each->scale,
           ", expected rank ", first->a.rows, " and scale ", scale_,
           " as of the layer's other experts");
    }
    a_.push_back(each ? each->a : zeros_like(first->a, zeros_));
    b_.push_back(each ? each->b : zeros_like(first->b, zeros_));
  }
}

}  // namespace fathom::layers
