#include "fathom/model/sampling/generation.h"

#include <algorithm>

#include "fathom/base/core/error.h"

namespace fathom::sampling {
namespace {

constexpr Index kBits = 32;

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
  if (options_.constraint != nullptr && !options_.constraint_begins_after) {
    constraint_.emplace(options_.constraint);
  }
  if (!options_.banned_ids.empty()) {
    unbanned_.assign(to_size(ceil_div(vocab_size, kBits)), ~0U);
    for (const TokenId id : options_.banned_ids) {
      clear_bit(unbanned_, id);
    }
  }
}

// Empty: all of them.
std::span<const std::uint32_t> Generation::allowed_tokens() {
  if (!constraint_) {
    return unbanned_;
  }
  // The model may have more logits than the tokenizer has ids: those are not allowed.
  const Index words = options_.constraint->vocabulary().mask_words();
  mask_.assign(to_size(std::max(words, ceil_div(vocab_size_, kBits))), 0U);
  const Index count = constraint_->fill_mask(std::span(mask_).first(to_size(words)));
  if (count == 0) {
    constraint_.reset();
    is_constraint_released_ = true;
    return unbanned_;
  }
  return std::span<const std::uint32_t>(mask_).first(to_size(ceil_div(vocab_size_, kBits)));
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
    // Logit biases of minus infinity left nothing that the constraint allows.
    constraint_.reset();
    is_constraint_released_ = options_.constraint != nullptr;
    input.allowed_tokens = unbanned_;
    id = sampler_.sample(input, options_.sampling);
  }
  if (!id) {
    fail(ErrorCode::Internal, "sampling: every logit is minus infinity");
  }
  picked_.id = *id;
  sampler_.logprobs(logits, *id, options_.sampling.num_top_logprobs, picked_.logprobs);
  accept(*id);
  return picked_;
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
  if (constraint_) {
    constraint_->accept(id);
  } else if (options_.constraint != nullptr && id == options_.constraint_begins_after &&
             !is_constraint_released_) {
    constraint_.emplace(options_.constraint);
  }
  if (num_tokens_ == options_.max_tokens) {
    finish_ = FinishReason::Length;
  }
}

}  // namespace fathom::sampling
