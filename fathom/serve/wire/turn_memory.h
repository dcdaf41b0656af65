// Reading back a reply that the server gave, exactly as the model wrote it.
//
// Clients send back what they were shown: without reasoning, without newlines at its ends, with
// arguments printed anew. Any difference ends the prefix that is cached (text specification 2.8).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fathom/model/text/conversation.h"
#include "fathom/serve/engine/event.h"
#include "fathom/serve/wire/conversation_store.h"

namespace fathom::wire {

// What a reply consists of, taken down while it is sent.
class ReplyRecord {
 public:
  void add(const engine::SampledToken& token);

  // The reasoning with the newlines that a client is not shown; what was shown where the tokens
  // say something else, as they do when a call began inside the reasoning.
  std::string exact_reasoning(std::string_view shown) const;

  // The reply as a message. `call_ids`: of its calls, in their order; a call without an id, which
  // was not finished, is left out.
  text::Message message(const text::Reply& reply, const std::vector<std::string>& call_ids) const;

 private:
  std::string reasoning_;  // bytes of its tokens, the end of thinking included
  std::string content_;    // of all other tokens
};

// Adds a reply to what it replies to: a new message, or the rest of the one whose beginning the
// client wrote.
void append_reply(std::vector<text::Message>& messages, text::Message reply);

// Assistant's messages with calls that the store knows by their ids: lost reasoning comes back, and
// reasoning, text and arguments that say the same are put as the model wrote them.
void restore_turns(std::vector<text::Message>& messages,
                   ConversationStore& store,
                   std::string_view owner);

}  // namespace fathom::wire
