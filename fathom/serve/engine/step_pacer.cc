#include "fathom/serve/engine/step_pacer.h"

#include <algorithm>

namespace fathom::engine {
namespace {

constexpr double kWeightOfNewest = 0.2;
constexpr double kWeightOfLate = 0.005;  // late steps are few
// One step that the machine held up does not spoil what many have shown.
constexpr double kLargestJump = 2;
// What prompt tokens seem to cost is kept above this: a step never gets more than it asks for.
constexpr double kLeastTokenSeconds = 1e-7;

void smooth(double& value, double found) {
  if (value == 0) {
    value = found;
    return;
  }
  value +=
      kWeightOfNewest * (std::clamp(found, value / kLargestJump, value * kLargestJump) - value);
}

}  // namespace

std::optional<double> StepPacer::decode_s(Index num_decoded) const {
  if (num_decoded == 0) {
    return 0;
  }
  // The nearest count that was seen, the larger one of two.
  for (Index distance = 0; distance < to_index(decode_s_.size()) + num_decoded; ++distance) {
    for (const Index count : {num_decoded + distance, num_decoded - distance}) {
      if (count > 0 && count < to_index(decode_s_.size()) && decode_s_[to_size(count)] > 0) {
        return decode_s_[to_size(count)];
      }
    }
  }
  return std::nullopt;
}

// After a step with prompt tokens. Grows and shrinks in such a proportion that it stays where it is
// when as many steps are late as may be.
void StepPacer::adapt(bool is_late) {
  constexpr double kStep = 0.05;
  const double share = std::min(options_.late_share + late_decode_share_, 0.5);
  stretch_ *= is_late ? 1 - kStep : 1 + kStep * share / (1 - share);
  stretch_ = std::clamp(stretch_, options_.least_stretch, options_.prompt_stretch);
}

void StepPacer::record(Index num_decoded, Index num_prompt, double seconds) {
  const std::optional<double> decode = decode_s(num_decoded);
  const bool is_judged =
      decode && num_decoded > 0 && seconds > options_.short_step_s * options_.late_stretch;
  const bool is_late = is_judged && seconds > *decode * options_.late_stretch;
  if (num_prompt == 0) {
    late_decode_share_ += kWeightOfLate * ((is_late ? 1 : 0) - late_decode_share_);
    decode_s_.resize(std::max(decode_s_.size(), to_size(num_decoded) + 1), 0);
    smooth(decode_s_[to_size(num_decoded)], seconds);
    return;
  }
  if (decode) {
    if (num_decoded > 0) {
      adapt(is_late);
    }
    // A mixed step cannot say how its time divides; a tenth of it is the prompt's at least.
    const double prompt = std::max(seconds - *decode, seconds / 10);
    smooth(prompt_token_s_, std::max(prompt / static_cast<double>(num_prompt), kLeastTokenSeconds));
  }
}

Index StepPacer::prompt_tokens(Index num_decoded) const {
  const std::optional<double> decode = decode_s(num_decoded);
  if (!decode || prompt_token_s_ == 0) {
    return options_.first_prompt_tokens;
  }
  const double allowed_s =
      num_decoded == 0 ? options_.prompt_step_s
                       : std::max(*decode * (stretch_ - 1), options_.short_step_s - *decode);
  constexpr double kMost = 1e9;
  return std::max(options_.least_prompt_tokens,
                  static_cast<Index>(std::min(allowed_s / prompt_token_s_, kMost)));
}

}  // namespace fathom::engine
