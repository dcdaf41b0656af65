#include "fathom/model/sampling/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "fathom/base/core/error.h"
#include "fathom/model/sampling/random.h"

namespace fathom::sampling {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// NaN and +inf come from a broken model or kernel: say where, rather than draw from nonsense.
void refuse_bad_logits(std::span<const float> logits) {
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (!(logits[id] <= std::numeric_limits<float>::max())) {
      fail(ErrorCode::Internal, "logits[", id, "]: expected a finite number, found ", logits[id]);
    }
  }
}

// Below this the second-best token would need to be within 0.001 to be drawn at all: as good as 0,
// and the scale of the logits stays far from overflow.
bool is_greedy(const SamplingOptions& options) {
  return options.temperature < 1e-5;
}

// Without one every logit stays what it is, to the bit.
bool has_penalty(const SamplingOptions& options) {
  return options.repetition_penalty != 1 || options.presence_penalty != 0 ||
         options.frequency_penalty != 0;
}

void penalise(const TokenHistory& history,
              const SamplingOptions& options,
              std::vector<float>& logits) {
  const auto repetition = static_cast<float>(options.repetition_penalty);
  for (const TokenHistory::Entry& entry : history.entries()) {
    FATHOM_CHECK(entry.id >= 0 && to_size(entry.id) < logits.size());
    float& logit = logits[to_size(entry.id)];
    if (entry.is_in_prompt || entry.num_in_reply > 0) {
      logit = logit > 0 ? logit / repetition : logit * repetition;
    }
    if (entry.num_in_reply > 0) {
      logit -=
          static_cast<float>(options.frequency_penalty * static_cast<double>(entry.num_in_reply) +
                             options.presence_penalty);
    }
  }
}

// `allowed` has a bit for every token, 32 in a word.
void mask(std::span<const std::uint32_t> allowed, std::vector<float>& logits) {
  constexpr std::size_t kBits = 32;
  FATHOM_CHECK(allowed.size() * kBits >= logits.size());
  for (std::size_t begin = 0; begin < logits.size(); begin += kBits) {
    const std::uint32_t word = allowed[begin / kBits];
    if (word == ~std::uint32_t{0}) {
      continue;
    }
    const std::size_t count = std::min(kBits, logits.size() - begin);
    if (word == 0) {
      std::fill_n(logits.begin() + static_cast<std::ptrdiff_t>(begin), count, kMinusInfinity);
      continue;
    }
    for (std::size_t bit = 0; bit < count; ++bit) {
      logits[begin + bit] = ((word >> bit) & 1U) != 0 ? logits[begin + bit] : kMinusInfinity;
    }
  }
}

}  // namespace

void Sampler::adjust(const SamplingInput& input, const SamplingOptions& options) {
  logits_.assign(input.logits.begin(), input.logits.end());
  for (const LogitBias& entry : options.logit_bias) {
    logits_[to_size(entry.id)] += static_cast<float>(entry.bias);
  }
  if (input.history != nullptr && has_penalty(options)) {
    penalise(*input.history, options, logits_);
  }
  if (!input.allowed_tokens.empty()) {
    mask(input.allowed_tokens, logits_);
  }
}

std::optional<TokenId> Sampler::sample(const SamplingInput& input, const SamplingOptions& options) {
  FATHOM_CHECK(!input.logits.empty());
  // The mask would hide a NaN, so the model's own logits are looked at first where there is one.
  if (!input.allowed_tokens.empty()) {
    find_maxima(input.logits, maxima_);
    if (maxima_.has_bad) {
      refuse_bad_logits(input.logits);
    }
  }
  adjust(input, options);
  find_maxima(logits_, maxima_);
  if (maxima_.has_bad) {
    refuse_bad_logits(logits_);
  }
  if (maxima_.of_all == kMinusInfinity) {
    return std::nullopt;
  }
  if (is_greedy(options)) {
    return argmax(logits_, maxima_);
  }
  const auto scale = static_cast<float>(1.0 / options.temperature);
  const double number = uniform(options.seed, input.choice_idx, input.position);
  const bool keeps_all =
      options.top_k == 0 && options.min_p == 0 && options.typical_p == 1 && options.top_p == 1;
  if (keeps_all) {
    return draw_from_all(number, scale);
  }
  filter(options, scale);
  return draw_from_candidates(number);
}

void Sampler::filter(const SamplingOptions& options, float scale) {
  if (options.top_k == 0 && options.min_p == 0 && options.typical_p == 1) {
    collect_top_p(options.top_p, scale);
    return;
  }
  const Index vocab_size = to_index(logits_.size());
  const double lowest = options.min_p > 0 ? static_cast<double>(maxima_.of_all) +
                                                std::log(options.min_p) / static_cast<double>(scale)
                                          : -std::numeric_limits<double>::infinity();
  if (options.top_k > 0 && options.top_k < vocab_size) {
    collect_largest(logits_, maxima_, options.top_k, candidates_);
    std::erase_if(candidates_, [&](const Candidate& candidate) {
      return static_cast<double>(candidate.logit) < lowest || candidate.logit == kMinusInfinity;
    });
  } else {
    constexpr auto kLowestFloat = static_cast<double>(std::numeric_limits<float>::lowest());
    collect_at_least(logits_, maxima_, static_cast<float>(std::max(lowest, kLowestFloat)),
                     candidates_);
  }
  weigh(candidates_, maxima_.of_all, scale);
  if (options.typical_p < 1) {
    keep_typical(options.typical_p);
  }
  if (options.top_p < 1) {
    keep_top_p(options.top_p * total_weight(candidates_));
  }
}

// top_p alone: collects from the top until the mass is there, then looks for the border among few.
void Sampler::collect_top_p(double top_p, float scale) {
  const double sum = sum_exp(logits_, maxima_.of_all, scale, block_sums_);
  const double wanted = top_p * sum * static_cast<double>(kWeightOfMaximum);
  // Beyond a depth of 87 weights are 0.
  for (int depth = 4; depth <= 128; depth *= 2) {
    collect_at_least(logits_, maxima_, maxima_.of_all - static_cast<float>(depth) / scale,
                     candidates_);
    weigh(candidates_, maxima_.of_all, scale);
    if (total_weight(candidates_) >= wanted) {
      break;
    }
  }
  keep_top_p(wanted);
}

void Sampler::keep_top_p(double mass) {
  for (Candidate& candidate : candidates_) {
    candidate.key = -static_cast<double>(candidate.logit);
  }
  keep_mass(candidates_, mass, scratch_);
}

// Locally typical sampling (Meister et al., 2022): by the distance of -log p from the entropy.
void Sampler::keep_typical(double mass) {
  const double total = total_weight(candidates_);
  double entropy = 0;
  for (Candidate& candidate : candidates_) {
    const double probability = static_cast<double>(candidate.weight) / total;
    candidate.key =
        probability > 0 ? -std::log(probability) : std::numeric_limits<double>::infinity();
    entropy += probability > 0 ? probability * candidate.key : 0;
  }
  for (Candidate& candidate : candidates_) {
    candidate.key = std::abs(candidate.key - entropy);
  }
  keep_mass(candidates_, mass * total, scratch_);
}

TokenId Sampler::draw_from_all(double uniform, float scale) {
  const double target = uniform * sum_exp(logits_, maxima_.of_all, scale, block_sums_);
  // The last block with any weight, should rounding carry the target past the end.
  std::size_t block_idx = 0;
  double sum_before = 0;
  double sum = 0;
  for (std::size_t i = 0; i < block_sums_.size(); ++i) {
    if (block_sums_[i] > 0) {
      block_idx = i;
      sum_before = sum;
      sum += block_sums_[i];
      if (sum > target) {
        break;
      }
    }
  }
  const std::size_t begin = block_idx * to_size(kLogitsPerBlock);
  const std::size_t end = std::min(begin + to_size(kLogitsPerBlock), logits_.size());
  candidates_.clear();
  for (std::size_t id = begin; id < end; ++id) {
    candidates_.push_back({.id = static_cast<TokenId>(id), .logit = logits_[id]});
  }
  weigh(candidates_, maxima_.of_block[block_idx], scale);
  return draw_from_candidates((target - sum_before) / block_sums_[block_idx]);
}

TokenId Sampler::draw_from_candidates(double uniform) const {
  const double target = uniform * total_weight(candidates_);
  std::uint64_t sum = 0;
  TokenId last = candidates_.front().id;
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight > 0) {
      last = candidate.id;
      sum += candidate.weight;
      if (static_cast<double>(sum) > target) {
        break;
      }
    }
  }
  return last;
}

void Sampler::logprobs(std::span<const float> logits,
                       TokenId id,
                       Index num_top,
                       TokenLogprobs& result) {
  FATHOM_CHECK(id >= 0 && to_size(id) < logits.size());
  find_maxima(logits, maxima_);
  if (maxima_.has_bad) {
    refuse_bad_logits(logits);
  }
  result.top.clear();
  if (maxima_.of_all == kMinusInfinity) {
    result.logprob = kLowestLogprob;
    return;
  }
  const double log_sum = std::log(sum_exp(logits, maxima_.of_all, 1, block_sums_));
  const auto logprob_of = [&](float logit) {
    const double value =
        (static_cast<double>(logit) - static_cast<double>(maxima_.of_all)) - log_sum;
    return std::max(value, kLowestLogprob);
  };
  result.logprob = logprob_of(logits[to_size(id)]);
  if (num_top > 0) {
    collect_largest(logits, maxima_, std::min(num_top, to_index(logits.size())), candidates_);
    std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
      return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
    });
    for (const Candidate& candidate : candidates_) {
      result.top.push_back({.id = candidate.id, .logprob = logprob_of(candidate.logit)});
    }
  }
}

}  // namespace fathom::sampling
