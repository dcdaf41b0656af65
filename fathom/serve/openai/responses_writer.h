// Answers one Responses request: as a stream of events or as one object.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "fathom/serve/http/exchange.h"
#include "fathom/serve/openai/responses_items.h"
#include "fathom/serve/openai/responses_request.h"
#include "fathom/serve/wire/delivery.h"
#include "fathom/serve/wire/service.h"

namespace fathom::openai {

class ResponsesWriter final : public wire::ReplyWriter,
                              public std::enable_shared_from_this<ResponsesWriter> {
 public:
  // `created_s`: Unix time. `texts`: as ResponsesItems takes them.
  ResponsesWriter(http::ExchangePtr exchange,
                  const wire::Service& service,
                  ResponsesRequest request,
                  const std::shared_ptr<const TokenTexts>& texts,
                  std::int64_t created_s);

  void begin() override;
  void on_event(Index request_idx, engine::GenerateEvent&& event) override;

 private:
  void on(const engine::ReplyDelta& delta) { items_.add(delta); }
  void on(engine::ChoiceEnd& end);
  void on(const engine::RequestEnd& end);
  void on(const engine::RequestFailure& failure);
  void on(const engine::PromptProgress& /*progress*/) {}
  void on(const engine::PromptScores& /*scores*/) {}

  // What stays as it is while the answer is made; called by several threads.
  std::string event(std::string_view type, const ResponsesItems::Members& members);
  std::string event_with_response(std::string_view type, const std::string& response);
  std::string response_begun() const;

  std::string response_json(std::string_view status,
                            const std::optional<engine::Usage>& usage,
                            const engine::RequestFailure* failure) const;
  void write_usage(wire::JsonWriter& writer, const engine::Usage& usage) const;
  void store(const std::string& document);

  const http::ExchangePtr exchange_;
  const std::shared_ptr<wire::ConversationStore> store_;
  const wire::TextSeal seal_;
  ResponsesRequest request_;
  const std::string id_;
  const std::int64_t created_s_;
  std::atomic<std::int64_t> sequence_number_ = 0;
  ResponsesItems items_;
  text::Reply reply_;
  bool is_cut_ = true;  // until the choice says how it ended
};

}  // namespace fathom::openai
