// How much of a computed token sequence a new prompt can take over.
#pragma once

#include <cstdint>
#include <span>

#include "fathom/base/core/index.h"

namespace fathom::text {

class Tokenizer;

struct ReusablePrefix {
  Index num_cached;  // tokens of the cached sequence to keep
  Index num_prompt;  // tokens of the prompt that they stand for
  friend bool operator==(const ReusablePrefix&, const ReusablePrefix&) = default;
};

// The longest common beginning of `cached` (what a session has computed) and `prompt` at a border
// of tokens in both. Tokens need not be equal, only their bytes: what a model sampled is often
// split otherwise than the tokenizer splits the same text. Control tokens must be the same ids, so
// text that only spells one is no match (text specification 1.5, 2.8).
ReusablePrefix reusable_prefix(const Tokenizer& tokenizer,
                               std::span<const std::int32_t> cached,
                               std::span<const std::int32_t> prompt);

}  // namespace fathom::text
