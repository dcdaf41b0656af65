#include "fathom/serve/wire/conversation_store.h"

#include <algorithm>
#include <utility>

namespace fathom::wire {
namespace {

// What the allocator and the tables take for a string, a message, an entry beside its text.
constexpr std::size_t kOverhead_bytes = 64;

std::size_t size_of(const std::string& text) {
  return text.size() + kOverhead_bytes;
}

std::size_t size_of(const std::vector<text::Tool>& tools) {
  std::size_t bytes = 0;
  for (const text::Tool& tool : tools) {
    bytes += size_of(tool.name) + size_of(tool.function_json);
  }
  return bytes;
}

std::size_t size_of(const text::Message& message) {
  std::size_t bytes = sizeof(message) + size_of(message.reasoning) + size_of(message.tools) +
                      size_of(message.response_format);
  for (const text::ContentPart& part : message.content) {
    bytes += size_of(part.type) + size_of(part.text);
  }
  for (const text::ToolCall& call : message.tool_calls) {
    bytes += size_of(call.id) + size_of(call.name) + size_of(call.arguments);
  }
  return bytes;
}

std::size_t size_of(const StoredConversation& stored) {
  std::size_t bytes = sizeof(stored) + size_of(stored.document) +
                      size_of(stored.conversation.tools) +
                      size_of(stored.conversation.response_format);
  for (const text::Message& message : stored.conversation.messages) {
    bytes += size_of(message);
  }
  return bytes;
}

// Ids hold no line break, and names of keys are lines of a file.
std::string key_of(std::string_view owner, std::string_view id) {
  std::string key(owner);
  key.append("\n").append(id);
  return key;
}

}  // namespace

ConversationStore::ConversationStore(Index num_entries, std::int64_t num_bytes)
    : max_entries_(num_entries), max_bytes_(num_bytes) {}

void ConversationStore::put(std::string_view owner,
                            const std::vector<std::string>& ids,
                            StoredConversation conversation) {
  Entry entry;
  std::size_t bytes = size_of(conversation);
  for (const std::string& id : ids) {
    entry.keys.push_back(key_of(owner, id));
    bytes += 2 * size_of(entry.keys.back());
  }
  std::sort(entry.keys.begin(), entry.keys.end());
  entry.keys.erase(std::unique(entry.keys.begin(), entry.keys.end()), entry.keys.end());
  entry.bytes = to_index(bytes);
  if (!is_on() || entry.keys.empty() || entry.bytes > max_bytes_) {
    return;
  }
  entry.conversation = std::make_shared<const StoredConversation>(std::move(conversation));

  const std::lock_guard lock(mutex_);
  for (const std::string& key : entry.keys) {
    const auto other = by_key_.find(key);
    if (other != by_key_.end()) {
      remove(other->second);
    }
  }
  bytes_ += entry.bytes;
  entries_.push_front(std::move(entry));
  for (const std::string& key : entries_.front().keys) {
    by_key_.emplace(key, entries_.begin());
  }
  while (to_index(entries_.size()) > max_entries_ || bytes_ > max_bytes_) {
    remove(std::prev(entries_.end()));
  }
}

StoredConversationPtr ConversationStore::find(std::string_view owner, std::string_view id) {
  const std::string key = key_of(owner, id);
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->conversation;
}

bool ConversationStore::erase(std::string_view owner, std::string_view id) {
  const std::string key = key_of(owner, id);
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    return false;
  }
  remove(found->second);
  return true;
}

void ConversationStore::remove(Entries::iterator entry) {
  for (const std::string& key : entry->keys) {
    by_key_.erase(key);
  }
  bytes_ -= entry->bytes;
  entries_.erase(entry);
}

Index ConversationStore::size() const {
  const std::lock_guard lock(mutex_);
  return to_index(entries_.size());
}

std::int64_t ConversationStore::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace fathom::wire
