// One reply in the making: from the logits of each step to the next token, until it ends.
//
// It knows no model and no text: whoever drives it computes the logits and reads the tokens.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "fathom/model/sampling/constraint.h"
#include "fathom/model/sampling/options.h"
#include "fathom/model/sampling/sampler.h"
#include "fathom/model/sampling/token_history.h"

namespace fathom::sampling {

struct GenerationOptions {
  SamplingOptions sampling;
  Index max_tokens = 0;             // at least 1
  std::vector<TokenId> stop_ids;    // end the reply
  std::vector<TokenId> banned_ids;  // never chosen
  ConstraintPtr constraint;         // null: none
  // The constraint's turn comes after this token, the end of reasoning; none: at once.
  std::optional<TokenId> constraint_begins_after;
  // Chosen one after another when the constraint's turn comes, before it.
  std::vector<TokenId> forced_ids;
  // The constraint holds for the beginning only: where its text may end, the rest is free.
  bool is_constraint_prefix = false;
  // A way around the constraint, at its beginning: once all of these were chosen in order, the rest
  // is free. A reply that has to be JSON may so be a call of a tool instead.
  std::vector<TokenId> bypass_ids;
  // What a call of a tool has to be, from its first mark on: the token that the vocabulary calls
  // its call_mark, chosen only right after a `<`. Calls come in one block at the end of a reply, so
  // it holds from there on. Null: calls are free.
  ConstraintPtr call_constraint;
  // The prompt begins a call, and has this much of it behind the mark.
  std::optional<std::string> begun_call;
  // Never chosen before the constraint's turn: what ends a reply that may not end there.
  std::vector<TokenId> banned_ids_before_turn;
  Index choice_idx = 0;
};

enum class FinishReason { Stop, Length };

struct Picked {
  TokenId id = 0;
  TokenLogprobs logprobs;  // of the model's own distribution, where the options want them
  bool is_stop = false;    // one of stop_ids: not part of the text
};

class Generation {
 public:
  // Throws InvalidArgument naming the field. `prompt` is what penalties count as the prompt.
  Generation(GenerationOptions options, Index vocab_size, std::span<const TokenId> prompt);

  // The next token for logits [V] of its position. Only while there is no finish reason.
  // Throws Internal for a logit that is NaN.
  const Picked& next(std::span<const float> logits);

  // What next() would choose for these logits, drawn with its random number; a constraint is not
  // looked at. Changes nothing: for drafts, which are accepted where next() says the same. Nothing
  // when no token is left, or a logit is no number.
  std::optional<TokenId> guess(std::span<const float> logits);

  std::optional<FinishReason> finish_reason() const { return finish_; }
  Index num_tokens() const { return num_tokens_; }
  // The constraint came to a state that no token of the vocabulary continues; from there on the
  // reply is free.
  bool is_constraint_released() const { return is_constraint_released_; }

 private:
  std::span<const std::uint32_t> allowed_tokens();
  std::span<const std::uint32_t> free_tokens();
  // Those that a constraint allows; returns how many there are.
  Index fill_mask(const ConstraintState& state);
  std::span<const std::uint32_t> mask() const;
  void release_constraint();
  void ban_tokens();
  std::span<const std::uint32_t> only(TokenId id);
  void accept(TokenId id);
  // When the constraint's turn comes.
  void begin_constraint();
  void accept_constrained(TokenId id);
  void accept_call(TokenId id);
  bool is_forcing() const {
    return has_begun_ && num_forced_ < to_index(options_.forced_ids.size());
  }
  bool may_bypass() const {
    return constraint_ && num_bypassed_ < to_index(options_.bypass_ids.size());
  }

  GenerationOptions options_;
  Index vocab_size_;
  Sampler sampler_;
  TokenHistory history_;
  bool has_begun_ = false;
  Index num_forced_ = 0;
  std::optional<ConstraintState> constraint_;
  bool is_off_constraint_ = false;  // on the way around it
  Index num_bypassed_ = 0;          // tokens of that way, so far; all of them: it is closed
  std::optional<ConstraintState> call_;
  bool has_called_ = false;  // the mark was chosen, or stands in the prompt
  bool is_mark_banned_ = false;
  bool is_behind_angle_ = false;  // the last token ends with `<`
  bool is_constraint_released_ = false;
  std::vector<std::uint32_t> mask_;      // [ceil(V / 32)]
  std::vector<std::uint32_t> unbanned_;  // the same: what is free; empty: all of them
  Picked picked_;
  Index num_tokens_ = 0;
  std::optional<FinishReason> finish_;
};

}  // namespace fathom::sampling
