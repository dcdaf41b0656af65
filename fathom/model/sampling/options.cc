#include "fathom/model/sampling/options.h"

#include "fathom/base/core/error.h"

namespace fathom::sampling {
namespace {

constexpr Index kMaxTopLogprobs = 128;

// Negated comparisons refuse NaN.
void require_within(const char* field, double value, double low, double high) {
  if (!(value >= low && value <= high)) {
    fail(ErrorCode::InvalidArgument, field, ": expected a number from ", low, " to ", high,
         ", found ", value);
  }
}

void require_above_zero(const char* field, double value, double high) {
  if (!(value > 0 && value <= high)) {
    fail(ErrorCode::InvalidArgument, field, ": expected a number above 0 and at most ", high,
         ", found ", value);
  }
}

}  // namespace

void validate(const SamplingOptions& options, Index vocab_size) {
  require_within("temperature", options.temperature, 0, 100);
  if (options.top_k < 0) {
    fail(ErrorCode::InvalidArgument, "top_k: expected a count, or 0 for no limit, found ",
         options.top_k);
  }
  require_above_zero("top_p", options.top_p, 1);
  require_within("min_p", options.min_p, 0, 1);
  require_above_zero("typical_p", options.typical_p, 1);
  require_above_zero("repetition_penalty", options.repetition_penalty, 100);
  require_within("presence_penalty", options.presence_penalty, -2, 2);
  require_within("frequency_penalty", options.frequency_penalty, -2, 2);
  for (const LogitBias& entry : options.logit_bias) {
    if (entry.id < 0 || entry.id >= vocab_size) {
      fail(ErrorCode::InvalidArgument, "logit_bias: token id ", entry.id,
           " is outside the vocabulary of ", vocab_size);
    }
    require_within("logit_bias", entry.bias, -100, 100);
  }
  const Index num_top = options.num_top_logprobs.value_or(0);
  if (num_top < 0 || num_top > kMaxTopLogprobs) {
    fail(ErrorCode::InvalidArgument, "top_logprobs: expected 0 to ", kMaxTopLogprobs, ", found ",
         num_top);
  }
}

}  // namespace fathom::sampling
