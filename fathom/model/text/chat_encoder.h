// Prompts of DeepSeek-V4: a pure function of a conversation (text specification 2).
#pragma once

#include "fathom/model/text/conversation.h"
#include "fathom/model/text/dialect.h"
#include "fathom/model/text/prompt.h"

namespace fathom::text {

// What the dialect's published encoder makes of the conversation, byte for byte; where that one
// has no answer, the rulings of the specification. Trusted are our own texts and markers; whatever
// comes from the conversation is not. Throws InvalidArgument naming the message and field.
Prompt encode_v4(const Conversation& conversation,
                 const RenderOptions& options,
                 const Dialect& dialect);

// The opening of a block of calls up to the name of a tool, or with the name and up to its first
// parameter.
Prompt v4_call_opening(std::string_view tool, const Dialect& dialect);

// The control texts that V4 prompts are made of.
extern const std::string_view kV4BeginOfText;
extern const std::string_view kV4EndOfText;
// The end of a text and the heads of turns: a reply that goes on with one has run away.
std::span<const std::string_view> v4_stop_texts();

}  // namespace fathom::text
