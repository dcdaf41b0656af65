// Conversations that later requests refer to by an id: `previous_response_id`, `thread`, and the
// calls whose reasoning a client does not send back.
//
// Bounded in number and bytes; what was not asked for longest goes first. Nothing outlives the
// process.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/model/text/conversation.h"

namespace fathom::wire {

struct StoredConversation {
  // All that was said, the reply included. Of one that clients may not ask for: only the reply.
  text::Conversation conversation = {};
  text::RenderOptions render = {};
  std::string document = {};  // the answer as it was given, JSON
  // False: only what the server itself needs to read a later request exactly.
  bool is_retrievable = true;
};

using StoredConversationPtr = std::shared_ptr<const StoredConversation>;

// Safe to use from several threads.
class ConversationStore {
 public:
  // Of `num_entries` or `num_bytes` 0 nothing is kept.
  ConversationStore(Index num_entries, std::int64_t num_bytes);

  bool is_on() const { return max_entries_ > 0 && max_bytes_ > 0; }

  // Keeps a conversation under several ids of one owner (the name of an API key); an id that
  // stands for another one already gives that one up for this one. What alone is larger than
  // the store is not kept.
  void put(std::string_view owner,
           const std::vector<std::string>& ids,
           StoredConversation conversation);

  // Null when there is none, or it is somebody else's.
  StoredConversationPtr find(std::string_view owner, std::string_view id);

  // Whether there was one. It goes with all of its ids.
  bool erase(std::string_view owner, std::string_view id);

  Index size() const;
  std::int64_t bytes() const;

 private:
  struct Entry {
    StoredConversationPtr conversation;
    std::vector<std::string> keys;
    std::int64_t bytes = 0;
  };
  using Entries = std::list<Entry>;  // asked for last: first

  void remove(Entries::iterator entry);

  const Index max_entries_;
  const std::int64_t max_bytes_;
  mutable std::mutex mutex_;
  Entries entries_;
  std::unordered_map<std::string, Entries::iterator> by_key_;
  std::int64_t bytes_ = 0;
};

}  // namespace fathom::wire
