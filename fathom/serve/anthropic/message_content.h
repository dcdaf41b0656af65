// The content of a message in the making: a reply as blocks, each told from its beginning to its
// end in the order that clients rely on (text specification 4.6).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/serve/anthropic/messages_request.h"
#include "fathom/serve/engine/event.h"
#include "fathom/serve/wire/json_writer.h"
#include "fathom/serve/wire/sealed_text.h"
#include "fathom/serve/wire/turn_memory.h"

namespace fathom::anthropic {

class MessageContent {
 public:
  using Members = std::function<void(wire::JsonWriter&)>;
  // An event: its type, and what writes its members.
  using Tell = std::function<void(std::string_view type, const Members& members)>;

  // Request and seal must outlive this.
  MessageContent(const MessagesRequest& request, const wire::TextSeal& seal, Tell tell);

  void add(const engine::ReplyDelta& delta);
  // Ends the block that is open.
  void end();

  // The blocks as a JSON list; a call that was cut is left out, since its input is no JSON.
  void write(wire::JsonWriter& writer) const;
  // Of the calls, in order; empty for one that was cut.
  const std::vector<std::string>& call_ids() const { return call_ids_; }
  const wire::ReplyRecord& record() const { return record_; }

 private:
  enum class Kind { Thinking, Text, ToolUse };
  struct Block {
    Kind kind = Kind::Text;
    std::string text = {};  // thinking, text, input
    std::string signature = {};
    std::string id = {};
    std::string name = {};
    bool is_complete = false;
  };

  void add(const text::ReplyEvent& event);
  void open(Block block);
  void add_text(const std::string& text);
  void close(bool is_complete);
  void tell_delta(std::string_view type, std::string_view name, std::string_view text);

  const MessagesRequest* request_;
  const wire::TextSeal* seal_;
  Tell tell_;
  std::vector<Block> blocks_;
  bool is_open_ = false;  // the last of blocks_
  std::vector<std::string> call_ids_;
  wire::ReplyRecord record_;
};

}  // namespace fathom::anthropic
