// What happens to a request, in the order in which a client may be told.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/model/sampling/sampler.h"
#include "fathom/model/text/reply_parser.h"
#include "fathom/serve/engine/request.h"

namespace fathom::engine {

// The prompt's tokens: taken over from earlier requests, computed so far, all.
struct PromptProgress {
  Index num_cached = 0;
  Index num_computed = 0;
  Index num_total = 0;
};

// Log-probabilities of prompt tokens from `first` on; the first token of all has none.
struct PromptScores {
  Index first = 0;
  std::vector<sampling::TokenLogprobs> tokens;
};

struct SampledToken {
  TokenId id = 0;
  std::string bytes;                 // often no UTF-8 on their own; empty for an end token
  sampling::TokenLogprobs logprobs;  // as Picked's
  bool is_reasoning = false;
};

// One sampled token and what it adds to the reply, which may be nothing while text is held back.
// Without a token: what was held back when the reply ended.
struct ReplyDelta {
  Index choice_idx = 0;
  std::optional<SampledToken> token;
  std::vector<text::ReplyEvent> events;
};

struct Usage {
  Index num_prompt = 0;     // tokens of the prompt
  Index num_cached = 0;     // of these, taken over from earlier requests
  Index num_reply = 0;      // tokens of all choices, reasoning and end tokens included
  Index num_reasoning = 0;  // of these, reasoning
};

// The last of a choice.
struct ChoiceEnd {
  Index choice_idx = 0;
  text::Reply reply;  // the events of all deltas together
  Index num_tokens = 0;
  Index num_reasoning = 0;
  bool is_constraint_released = false;  // the vocabulary could not spell what was asked for
  std::vector<TokenId> tokens;          // as sampled, the end token included
};

// The last of a request that was served, also of one that a deadline ended.
struct RequestEnd {
  Usage usage;
};

// The last of a request that was not.
struct RequestFailure {
  ErrorCode code = ErrorCode::Internal;
  std::string message;
};

using GenerateEvent =
    std::variant<PromptProgress, PromptScores, ReplyDelta, ChoiceEnd, RequestEnd, RequestFailure>;

// Called by the engine's thread, one event after another; must return at once and must not throw.
using EventSink = std::function<void(GenerateEvent&& event)>;

}  // namespace fathom::engine
