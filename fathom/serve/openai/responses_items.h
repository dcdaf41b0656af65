// The output of a response in the making: a reply as items, each told from its beginning to its end
// in the order that clients rely on (text specification 4.4).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/serve/engine/event.h"
#include "fathom/serve/openai/reply_json.h"
#include "fathom/serve/openai/responses_request.h"
#include "fathom/serve/wire/json_writer.h"
#include "fathom/serve/wire/sealed_text.h"
#include "fathom/serve/wire/turn_memory.h"

namespace fathom::openai {

class ResponsesItems {
 public:
  using Members = std::function<void(wire::JsonWriter&)>;
  // An event: its type, and what writes its members.
  using Tell = std::function<void(std::string_view type, const Members& members)>;

  // Request and seal must outlive this. `texts` spell the tokens of log-probabilities; null when
  // none are wanted.
  ResponsesItems(const ResponsesRequest& request,
                 const wire::TextSeal& seal,
                 const std::shared_ptr<const TokenTexts>& texts,
                 Tell tell);

  void add(const engine::ReplyDelta& delta);
  // Ends the item that is open. `is_cut`: the reply ended early. A call that was cut is told no
  // end, since clients run a call as soon as they have it.
  void end(bool is_cut);

  // The items as a JSON list.
  void write(wire::JsonWriter& writer) const;
  std::vector<std::string> item_ids() const;
  // Of the calls, in order; empty for one that was cut.
  const std::vector<std::string>& call_ids() const { return call_ids_; }
  const wire::ReplyRecord& record() const { return record_; }

 private:
  enum class Kind { Reasoning, Message, Function, Custom };
  struct Item {
    Kind kind = Kind::Message;
    std::string id;
    std::string status = "in_progress";
    std::string text = {};      // reasoning, content, arguments; what a custom tool gets
    std::string logprobs = {};  // of a message: JSON with commas between
    std::string sealed = {};
    std::string call_id = {};
    std::string name = {};
    std::string name_space = {};
  };

  void add(const text::ReplyEvent& event);
  void open(Kind kind);
  void open_call(const std::string& flat_name);
  void add_text(const std::string& text);
  void tell_message_delta(const std::string& text);
  void close(std::string_view status);
  void tell_beginning();
  void tell_end();
  // An event about the open item's part, if it has parts.
  void tell_about(std::string_view type, const Members& members);
  void tell_item(std::string_view type);

  void write_item(wire::JsonWriter& writer, const Item& item) const;
  void write_reasoning(wire::JsonWriter& writer, const Item& item) const;

  const ResponsesRequest* request_;
  const wire::TextSeal* seal_;
  Tell tell_;
  std::vector<Item> items_;
  bool is_open_ = false;  // the last of items_
  std::vector<std::string> call_ids_;
  wire::ReplyRecord record_;
  std::optional<ChatLogprobs> logprobs_;
};

}  // namespace fathom::openai
