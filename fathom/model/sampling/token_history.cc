#include "fathom/model/sampling/token_history.h"

#include "fathom/base/core/error.h"

namespace fathom::sampling {

TokenHistory::Entry& TokenHistory::entry(TokenId id) {
  const auto [found, is_first] = entry_of_id_.try_emplace(id, to_index(entries_.size()));
  if (is_first) {
    entries_.push_back({.id = id});
  }
  return entries_[to_size(found->second)];
}

void TokenHistory::add_prompt(std::span<const TokenId> ids) {
  for (const TokenId id : ids) {
    entry(id).is_in_prompt = true;
  }
}

void TokenHistory::add_reply(TokenId id) {
  ++entry(id).num_in_reply;
}

void TokenHistory::remove_reply(TokenId id) {
  Entry& taken = entry(id);
  FATHOM_CHECK(taken.num_in_reply > 0);
  --taken.num_in_reply;
}

}  // namespace fathom::sampling
