// Which tokens prompt and reply hold, and how often: what the penalties look at.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/model/sampling/options.h"

namespace fathom::sampling {

class TokenHistory {
 public:
  struct Entry {
    TokenId id = 0;
    bool is_in_prompt = false;
    Index num_in_reply = 0;
  };

  void add_prompt(std::span<const TokenId> ids);
  void add_reply(TokenId id);
  // Takes back one add_reply, as a rejected draft or an undone turn does.
  void remove_reply(TokenId id);
  // Every token seen, in order of first sight; an entry may have become empty.
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  Entry& entry(TokenId id);

  std::vector<Entry> entries_;
  std::unordered_map<TokenId, Index> entry_of_id_;
};

}  // namespace fathom::sampling
