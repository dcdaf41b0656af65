// What is cached for one sequence: the model's rows and, where drafts are made, the draft block's.
//
// A copy is a fork that shares pages.
#pragma once

#include <algorithm>
#include <optional>

#include "fathom/model/kv/sequence_cache.h"

namespace fathom::engine {

struct SequenceCaches {
  kv::SequenceCache model;
  // Row t comes from token t's hidden state and token t + 1; so it is of use as long as it keeps
  // step with the model's. After going back, its last row has seen another next token than the one
  // that comes: the guesses after it may be worse, and are as good a guess as any.
  std::optional<kv::SequenceCache> draft = {};

  Index num_tokens() const { return model.num_tokens(); }

  // Where both can go on, at or before `num_tokens`.
  Index resume_point(Index num_tokens) const;
  // Goes back to resume_point and returns it.
  Index truncate(Index num_tokens);
};

}  // namespace fathom::engine
