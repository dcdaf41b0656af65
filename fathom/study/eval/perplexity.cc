#include "fathom/study/eval/perplexity.h"

#include <algorithm>
#include <cmath>

#include "fathom/base/core/error.h"

namespace fathom::eval {

PerplexityPlan plan_perplexity(Index num_tokens, Index chunk_tokens) {
  constexpr Index kShortest = 4;
  if (chunk_tokens < kShortest) {
    fail(ErrorCode::InvalidArgument, "chunk: found ", chunk_tokens, " tokens, expected at least ",
         kShortest);
  }
  if (num_tokens < chunk_tokens) {
    fail(ErrorCode::InvalidArgument, "text: found ", num_tokens,
         " tokens, expected at least one chunk of ", chunk_tokens, " (--chunk)");
  }
  return {.chunk_tokens = chunk_tokens,
          .num_chunks = num_tokens / chunk_tokens,
          .num_unscored_tail = num_tokens % chunk_tokens};
}

std::vector<std::int32_t> chunk_of(const PerplexityPlan& plan,
                                   std::span<const std::int32_t> tokens,
                                   Index chunk_idx,
                                   std::optional<std::int32_t> bos) {
  const auto part =
      tokens.subspan(to_size(chunk_idx * plan.chunk_tokens), to_size(plan.chunk_tokens));
  std::vector<std::int32_t> chunk(part.begin(), part.end());
  if (bos) {
    chunk.front() = *bos;
  }
  return chunk;
}

double negative_log_likelihood(std::span<const float> logits, std::int32_t target) {
  const auto largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit) - largest);
  }
  return largest + std::log(sum) - static_cast<double>(logits[static_cast<std::size_t>(target)]);
}

// Welford's recurrence: no difference of large sums.
void RunningMean::add(double value) {
  ++count_;
  const double deviation = value - mean_;
  mean_ += deviation / static_cast<double>(count_);
  sum_of_squares_ += deviation * (value - mean_);
}

double RunningMean::standard_error() const {
  if (count_ < 2) {
    return 0;
  }
  const auto count = static_cast<double>(count_);
  return std::sqrt(sum_of_squares_ / (count - 1) / count);
}

}  // namespace fathom::eval
