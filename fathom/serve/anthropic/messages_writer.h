// Answers one Messages request: as a stream of events or as one object.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "fathom/serve/anthropic/message_content.h"
#include "fathom/serve/anthropic/messages_request.h"
#include "fathom/serve/http/exchange.h"
#include "fathom/serve/wire/delivery.h"
#include "fathom/serve/wire/service.h"

namespace fathom::anthropic {

class MessagesWriter final : public wire::ReplyWriter {
 public:
  // `num_prompt_tokens`: told before the engine says how many of them it has already.
  MessagesWriter(http::ExchangePtr exchange,
                 const wire::Service& service,
                 MessagesRequest request,
                 Index num_prompt_tokens);

  void begin() override;
  void on_event(Index request_idx, engine::GenerateEvent&& event) override;

 private:
  void on(const engine::ReplyDelta& delta) { content_.add(delta); }
  void on(engine::ChoiceEnd& end);
  void on(const engine::RequestEnd& end);
  void on(const engine::RequestFailure& failure);
  void on(const engine::PromptProgress& /*progress*/) {}
  void on(const engine::PromptScores& /*scores*/) {}

  void tell(std::string_view type, const MessageContent::Members& members);
  // The message as an object; without an end, as it is when it begins.
  void write_message(wire::JsonWriter& writer, const engine::Usage& usage, bool has_ended) const;
  void write_stop(wire::JsonWriter& writer) const;
  std::string_view stop_reason() const;
  void store();

  const http::ExchangePtr exchange_;
  const std::shared_ptr<wire::ConversationStore> store_;
  const wire::TextSeal seal_;
  MessagesRequest request_;
  const std::string id_;
  const Index num_prompt_tokens_;
  MessageContent content_;
  text::Reply reply_;
  Index num_reply_tokens_ = 0;
  bool has_ended_ = false;  // the choice said how
};

}  // namespace fathom::anthropic
