#include "fathom/serve/wire/turn_memory.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "fathom/model/text/json_value.h"

namespace fathom::wire {
namespace {

constexpr std::string_view kEndOfThink = "</think>";

std::string_view without_newlines(std::string_view text) {
  const std::size_t begin = text.find_first_not_of('\n');
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of('\n') - begin + 1);
}

// The text as sampled, where that is the text as shown but for newlines around it.
std::string exact(std::string_view sampled, std::string_view shown) {
  return std::string(without_newlines(sampled) == without_newlines(shown) ? sampled : shown);
}

// Members of every object in the order of their names.
text::JsonValue sorted(text::JsonValue value) {
  for (text::JsonValue& item : value.items) {
    item = sorted(std::move(item));
  }
  if (value.kind != text::JsonValue::Kind::Object) {
    return value;
  }
  std::vector<std::size_t> order(value.keys.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&value](std::size_t left, std::size_t right) {
    return value.keys[left] < value.keys[right];
  });
  text::JsonValue result;
  result.kind = value.kind;
  for (const std::size_t i : order) {
    result.keys.push_back(std::move(value.keys[i]));
    result.items.push_back(std::move(value.items[i]));
  }
  return result;
}

bool say_the_same(std::string_view left, std::string_view right) {
  const std::optional<text::JsonValue> left_value = text::try_parse_json(left);
  const std::optional<text::JsonValue> right_value = text::try_parse_json(right);
  return left_value && right_value &&
         print_json(sorted(*left_value)) == print_json(sorted(*right_value));
}

const text::ToolCall* find_call(const text::Message& message, std::string_view id) {
  const auto found = std::find_if(message.tool_calls.begin(), message.tool_calls.end(),
                                  [id](const text::ToolCall& call) { return call.id == id; });
  return found == message.tool_calls.end() ? nullptr : &*found;
}

void restore(text::Message& message, const text::Message& known) {
  if (message.reasoning.empty() ||
      without_newlines(message.reasoning) == without_newlines(known.reasoning)) {
    message.reasoning = known.reasoning;
  }
  const std::string content = text_of(message);
  const std::string known_content = text_of(known);
  if (content != known_content && without_newlines(content) == without_newlines(known_content)) {
    message.content = known.content;
  }
  for (text::ToolCall& call : message.tool_calls) {
    const text::ToolCall* const known_call = find_call(known, call.id);
    if (known_call != nullptr && known_call->name == call.name &&
        call.arguments != known_call->arguments &&
        say_the_same(call.arguments, known_call->arguments)) {
      call.arguments = known_call->arguments;
    }
  }
}

}  // namespace

void ReplyRecord::add(const engine::SampledToken& token) {
  (token.is_reasoning ? reasoning_ : content_) += token.bytes;
}

std::string ReplyRecord::exact_reasoning(std::string_view shown) const {
  std::string_view sampled = reasoning_;
  if (sampled.ends_with(kEndOfThink)) {
    sampled.remove_suffix(kEndOfThink.size());
  }
  return exact(sampled, shown);
}

text::Message ReplyRecord::message(const text::Reply& reply,
                                   const std::vector<std::string>& call_ids) const {
  text::Message message = {.role = text::Role::Assistant};
  message.reasoning = exact_reasoning(reply.reasoning);
  // In front of calls the newlines are those of the template.
  message.content = {
      {.text = reply.calls.empty() ? exact(content_, reply.content) : reply.content}};
  for (std::size_t i = 0; i < reply.calls.size() && i < call_ids.size(); ++i) {
    if (!call_ids[i].empty()) {
      message.tool_calls.push_back(
          {.id = call_ids[i], .name = reply.calls[i].name, .arguments = reply.calls[i].arguments});
    }
  }
  return message;
}

void append_reply(std::vector<text::Message>& messages, text::Message reply) {
  if (messages.empty() || messages.back().ending != text::Ending::Prefix) {
    messages.push_back(std::move(reply));
    return;
  }
  text::Message& begun = messages.back();
  begun.ending = text::Ending::Closed;
  begun.reasoning += reply.reasoning;
  begun.content = {{.text = text_of(begun) + text_of(reply)}};
  begun.tool_calls = std::move(reply.tool_calls);
}

void restore_turns(std::vector<text::Message>& messages,
                   ConversationStore& store,
                   std::string_view owner) {
  for (text::Message& message : messages) {
    if (message.role != text::Role::Assistant || message.tool_calls.empty()) {
      continue;
    }
    const std::string& id = message.tool_calls.front().id;
    const StoredConversationPtr stored = id.empty() ? nullptr : store.find(owner, id);
    if (stored == nullptr) {
      continue;
    }
    const auto& known = stored->conversation.messages;
    const auto turn = std::find_if(known.rbegin(), known.rend(), [&id](const text::Message& said) {
      return find_call(said, id) != nullptr;
    });
    if (turn != known.rend()) {
      restore(message, *turn);
    }
  }
}

}  // namespace fathom::wire
