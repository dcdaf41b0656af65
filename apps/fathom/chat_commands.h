// What a person may type in a chat besides text: /help, /undo, /save ...
#pragma once

#include <string>

#include "fathom/chat.h"

namespace fathom::app {

struct ChatState {
  text::Conversation conversation;
  text::RenderOptions render;
  ReplyOptions reply;
  ReplyStats last;  // of the last reply
};

struct CommandOutcome {
  std::string message = {};
  bool replies = false;  // the conversation is to be answered
  bool quits = false;
};

// Throws InvalidArgument for an unknown command or a bad argument, Io for files.
CommandOutcome run_chat_command(const std::string& line, ChatState& state, TextSession& session);

// Puts the message in front, in place of an earlier one.
void set_system_message(text::Conversation& conversation, const std::string& text);

// The assistant's message of a reply; calls get ids.
void add_reply(text::Conversation& conversation, const text::Reply& reply);

// Removes what follows the last reply.
void take_back_unanswered(text::Conversation& conversation);

}  // namespace fathom::app
