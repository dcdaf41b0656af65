// POST /v1/chat/completions: the answer, whole or as a stream.
#pragma once

#include <memory>
#include <string>

#include "fathom/serve/http/exchange.h"
#include "fathom/serve/openai/reply_json.h"
#include "fathom/serve/openai/token_texts.h"
#include "fathom/serve/wire/conversation_store.h"
#include "fathom/serve/wire/delivery.h"

namespace fathom::openai {

struct ChatReplyOptions {
  ReplyHead head;
  // Keeps replies with calls, by the ids of the calls, for the requests that answer them.
  std::shared_ptr<wire::ConversationStore> store;
  std::string owner = {};  // whose they are
  Index num_choices = 1;
  bool includes_usage = false;
  bool has_logprobs = false;
  bool has_progress = false;
};

// One JSON object when all choices are complete.
std::shared_ptr<wire::ReplyWriter> make_chat_answer(http::ExchangePtr exchange,
                                                    std::shared_ptr<const TokenTexts> texts,
                                                    ChatReplyOptions options);

// Server-sent events in the order of the text specification, 4.2.
std::shared_ptr<wire::ReplyWriter> make_chat_stream(http::ExchangePtr exchange,
                                                    std::shared_ptr<const TokenTexts> texts,
                                                    ChatReplyOptions options);

}  // namespace fathom::openai
