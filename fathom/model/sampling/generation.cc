#include "fathom/model/sampling/generation.h"

#include <algorithm>

#include "fathom/base/core/error.h"

namespace fathom::sampling {
namespace {

constexpr Index kBits = 32;

void set_bit(std::vector<std::uint32_t>& mask, TokenId id) {
  mask[to_size(Index{id} / kBits)] |= 1U << (id % kBits);
}

void clear_bit(std::vector<std::uint32_t>& mask, TokenId id) {
  mask[to_size(Index{id} / kBits)] &= ~(1U << (id % kBits));
}

}  // namespace

Generation::Generation(GenerationOptions options, Index vocab_size, std::span<const TokenId> prompt)
    : options_(std::move(options)), vocab_size_(vocab_size) {
  validate(options_.sampling, vocab_size);
  if (options_.max_tokens < 1) {
    fail(ErrorCode::InvalidArgument, "max_tokens: found ", options_.max_tokens,
         ", expected at least 1");
  }
  history_.add_prompt(prompt);
  if (options_.call_constraint != nullptr && options_.begun_call) {
    call_.emplace(options_.call_constraint, *options_.begun_call);
    has_called_ = true;
  }
  if (!options_.constraint_begins_after) {
    begin_constraint();
  }
  ban_tokens();
}

void Generation::begin_constraint() {
  if (!has_begun_ && !options_.banned_ids_before_turn.empty()) {
    options_.banned_ids_before_turn.clear();
    ban_tokens();
  }
  has_begun_ = true;
  if (options_.constraint != nullptr && !is_forcing()) {
    constraint_.emplace(options_.constraint);
  }
}

void Generation::ban_tokens() {
  const ConstraintPtr& calls = options_.call_constraint;
  unbanned_.clear();
  is_mark_banned_ = false;
  if (options_.banned_ids.empty() && options_.banned_ids_before_turn.empty() && calls == nullptr) {
    return;
  }
  unbanned_.assign(to_size(ceil_div(vocab_size_, kBits)), ~0U);
  for (const std::vector<TokenId>* ids : {&options_.banned_ids, &options_.banned_ids_before_turn}) {
    for (const TokenId id : *ids) {
      clear_bit(unbanned_, id);
      is_mark_banned_ =
          is_mark_banned_ || (calls != nullptr && id == calls->vocabulary().call_mark());
    }
  }
}

std::span<const std::uint32_t> Generation::only(TokenId id) {
  mask_.assign(to_size(ceil_div(vocab_size_, kBits)), 0U);
  set_bit(mask_, id);
  return mask_;
}

std::span<const std::uint32_t> Generation::mask() const {
  return std::span(mask_).first(to_size(ceil_div(vocab_size_, kBits)));
}

Index Generation::fill_mask(const ConstraintState& state) {
  // The model may have more logits than the tokenizer has ids: those are not allowed.
  const Index words = state.vocabulary().mask_words();
  mask_.assign(to_size(std::max(words, ceil_div(vocab_size_, kBits))), 0U);
  return state.fill_mask(std::span(mask_).first(to_size(words)));
}

void Generation::release_constraint() {
  constraint_.reset();
  call_.reset();
  is_constraint_released_ = true;
}

// Empty: all of them.
std::span<const std::uint32_t> Generation::free_tokens() {
  if (options_.call_constraint != nullptr && !has_called_ && !is_mark_banned_) {
    const std::optional<TokenId> call_mark = options_.call_constraint->vocabulary().call_mark();
    if (call_mark && is_behind_angle_) {
      set_bit(unbanned_, *call_mark);
    } else if (call_mark) {
      clear_bit(unbanned_, *call_mark);
    }
  }
  return unbanned_;
}

std::span<const std::uint32_t> Generation::allowed_tokens() {
  if (is_forcing()) {
    return only(options_.forced_ids[to_size(num_forced_)]);
  }
  if (call_) {
    if (fill_mask(*call_) > 0) {
      return mask();
    }
    release_constraint();
  }
  if (!constraint_) {
    return free_tokens();
  }
  if (is_off_constraint_) {
    return only(options_.bypass_ids[to_size(num_bypassed_)]);
  }
  const Index count = fill_mask(*constraint_);
  if (may_bypass()) {
    set_bit(mask_, options_.bypass_ids[to_size(num_bypassed_)]);
  } else if (count == 0) {
    release_constraint();
    return free_tokens();
  }
  return mask();
}

const Picked& Generation::next(std::span<const float> logits) {
  FATHOM_CHECK(!finish_ && to_index(logits.size()) == vocab_size_);
  SamplingInput input = {.logits = logits,
                         .allowed_tokens = allowed_tokens(),
                         .history = &history_,
                         .choice_idx = options_.choice_idx,
                         .position = num_tokens_};
  std::optional<TokenId> id = sampler_.sample(input, options_.sampling);
  if (!id) {
    // Logit biases of minus infinity left nothing that is allowed.
    const bool is_released = is_constraint_released_ || options_.constraint != nullptr || call_;
    release_constraint();
    is_constraint_released_ = is_released;
    options_.forced_ids.clear();
    input.allowed_tokens = free_tokens();
    id = sampler_.sample(input, options_.sampling);
  }
  if (!id) {
    fail(ErrorCode::Internal, "sampling: every logit is minus infinity");
  }
  picked_.id = *id;
  if (options_.sampling.num_top_logprobs) {
    sampler_.logprobs(logits, *id, *options_.sampling.num_top_logprobs, picked_.logprobs);
  }
  accept(*id);
  return picked_;
}

std::optional<TokenId> Generation::guess(std::span<const float> logits) {
  FATHOM_CHECK(to_index(logits.size()) == vocab_size_);
  try {
    return sampler_.sample({.logits = logits,
                            .allowed_tokens = unbanned_,
                            .history = &history_,
                            .choice_idx = options_.choice_idx,
                            .position = num_tokens_},
                           options_.sampling);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void Generation::accept(TokenId id) {
  ++num_tokens_;
  history_.add_reply(id);
  picked_.is_stop =
      std::find(options_.stop_ids.begin(), options_.stop_ids.end(), id) != options_.stop_ids.end();
  if (picked_.is_stop) {
    finish_ = FinishReason::Stop;
    return;
  }
  accept_call(id);
  if (is_forcing()) {
    ++num_forced_;
    begin_constraint();
  } else if (constraint_) {
    accept_constrained(id);
  } else if (!has_begun_ && id == options_.constraint_begins_after) {
    begin_constraint();
  }
  if (num_tokens_ == options_.max_tokens) {
    finish_ = FinishReason::Length;
  }
}

void Generation::accept_call(TokenId id) {
  if (options_.call_constraint == nullptr) {
    return;
  }
  const ConstraintVocabulary& vocabulary = options_.call_constraint->vocabulary();
  if (call_) {
    FATHOM_CHECK(call_->accept(id));
  } else if (!has_called_ && id == vocabulary.call_mark()) {
    has_called_ = true;
    call_.emplace(options_.call_constraint);
  }
  is_behind_angle_ = id < vocabulary.size() && vocabulary.bytes_of(id).ends_with('<');
}

void Generation::accept_constrained(TokenId id) {
  if (may_bypass()) {
    if (id != options_.bypass_ids[to_size(num_bypassed_)]) {
      num_bypassed_ = to_index(options_.bypass_ids.size());
    } else if (++num_bypassed_ == to_index(options_.bypass_ids.size())) {
      constraint_.reset();
      return;
    }
  }
  if (!constraint_->accept(id)) {
    is_off_constraint_ = true;
  } else if (options_.is_constraint_prefix && constraint_->is_complete()) {
    constraint_.reset();
  }
}

}  // namespace fathom::sampling
