#include "fathom/train/loop/objective.h"

#include <algorithm>
#include <functional>

namespace fathom::train {

void LossSums::add(const LossSums& other) {
  loss += other.loss;
  weight += other.weight;
  mtp_loss += other.mtp_loss;
  distillation_loss += other.distillation_loss;
  balance_loss += other.balance_loss;
  indexer_loss += other.indexer_loss;
  expert_tokens.resize(std::max(expert_tokens.size(), other.expert_tokens.size()));
  for (std::size_t layer = 0; layer < other.expert_tokens.size(); ++layer) {
    std::vector<double>& sums = expert_tokens[layer];
    const std::vector<double>& counts = other.expert_tokens[layer];
    sums.resize(std::max(sums.size(), counts.size()));
    std::transform(counts.begin(), counts.end(), sums.begin(), sums.begin(), std::plus<>());
  }
}

}  // namespace fathom::train
