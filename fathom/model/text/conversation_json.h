// Conversations from JSON: what clients send and what the golden cases hold.
#pragma once

#include <string>
#include <string_view>

#include "fathom/model/text/conversation.h"
#include "fathom/model/text/json_value.h"

namespace fathom::text {

struct ConversationFile {
  Conversation conversation;
  RenderOptions options;  // as the file asks for; what it does not name has its default
};

// Three forms, told apart by their keys:
//   a list of messages, or {messages, tools} with optional {response_format, thinking_mode,
//   kwargs}:
//     the published encoder's input. kwargs are its arguments: reasoning_effort, drop_thinking,
//     add_default_bos_token, context.
//   an object with `model`: a chat-completions request. `developer` is `system`, system messages
//     are folded, the effort is "high" unless it names one, and an assistant's message at the end
//     is the beginning of the reply.
// Unknown keys of a request are ignored: clients send many. Throws InvalidArgument naming the
// field: `messages[3].role: expected one of "system", ..., found "x"`.
ConversationFile read_conversation(const JsonValue& root);

// A chat-completions request, with or without `model`.
ConversationFile read_chat_request(const JsonValue& root);

// read_conversation from text; `source` names it in errors about JSON.
ConversationFile read_conversation(std::string_view json, const std::string& source);

}  // namespace fathom::text
