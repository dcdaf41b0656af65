#include "fathom/serve/anthropic/message_content.h"

#include <utility>

#include "fathom/base/core/index.h"
#include "fathom/serve/wire/ids.h"

namespace fathom::anthropic {
namespace {

using wire::JsonWriter;
using EventKind = text::ReplyEvent::Kind;

}  // namespace

MessageContent::MessageContent(const MessagesRequest& request,
                               const wire::TextSeal& seal,
                               Tell tell)
    : request_(&request), seal_(&seal), tell_(std::move(tell)) {}

void MessageContent::add(const engine::ReplyDelta& delta) {
  if (delta.token) {
    record_.add(*delta.token);
  }
  for (const text::ReplyEvent& event : delta.events) {
    add(event);
  }
}

void MessageContent::add(const text::ReplyEvent& event) {
  const auto goes_on = [this](Kind kind) { return is_open_ && blocks_.back().kind == kind; };
  switch (event.kind) {
    case EventKind::Reasoning:
      if (!goes_on(Kind::Thinking)) {
        open({.kind = Kind::Thinking});
      }
      break;
    case EventKind::Content:
      if (!goes_on(Kind::Text)) {
        open({.kind = Kind::Text});
      }
      break;
    case EventKind::CallBegin:
      open({.kind = Kind::ToolUse, .id = wire::new_id("toolu_"), .name = event.text});
      call_ids_.emplace_back();
      return;
    case EventKind::CallArguments:
      break;
    case EventKind::CallEnd:
      close(/*is_complete=*/true);
      return;
  }
  add_text(event.text);
}

void MessageContent::open(Block block) {
  close(/*is_complete=*/true);
  blocks_.push_back(std::move(block));
  is_open_ = true;
  tell_("content_block_start", [this](JsonWriter& writer) {
    const Block& begun = blocks_.back();
    writer.field("index", to_index(blocks_.size()) - 1).key("content_block").begin_object();
    switch (begun.kind) {
      case Kind::Thinking:
        writer.field("type", "thinking").field("thinking", "").field("signature", "");
        break;
      case Kind::Text:
        writer.field("type", "text").field("text", "");
        break;
      case Kind::ToolUse:
        writer.field("type", "tool_use").field("id", begun.id).field("name", begun.name);
        writer.key("input").begin_object().end_object();
        break;
    }
    writer.end_object();
  });
}

void MessageContent::add_text(const std::string& text) {
  if (text.empty()) {
    return;
  }
  blocks_.back().text += text;
  switch (blocks_.back().kind) {
    case Kind::Thinking:
      if (request_->shows_thinking) {
        tell_delta("thinking_delta", "thinking", text);
      }
      break;
    case Kind::Text:
      tell_delta("text_delta", "text", text);
      break;
    case Kind::ToolUse:
      tell_delta("input_json_delta", "partial_json", text);
      break;
  }
}

void MessageContent::close(bool is_complete) {
  if (!is_open_) {
    return;
  }
  is_open_ = false;
  Block& block = blocks_.back();
  block.is_complete = is_complete;
  if (block.kind == Kind::Thinking) {
    block.signature = seal_->seal(request_->owner, record_.exact_reasoning(block.text));
    tell_delta("signature_delta", "signature", block.signature);
  } else if (block.kind == Kind::ToolUse && is_complete) {
    call_ids_.back() = block.id;
  }
  tell_("content_block_stop",
        [this](JsonWriter& writer) { writer.field("index", to_index(blocks_.size()) - 1); });
}

void MessageContent::end() {
  close(/*is_complete=*/!is_open_ || blocks_.back().kind != Kind::ToolUse);
}

void MessageContent::tell_delta(std::string_view type,
                                std::string_view name,
                                std::string_view text) {
  tell_("content_block_delta", [&](JsonWriter& writer) {
    writer.field("index", to_index(blocks_.size()) - 1).key("delta").begin_object();
    writer.field("type", type).field(name, text).end_object();
  });
}

void MessageContent::write(JsonWriter& writer) const {
  writer.begin_array();
  for (const Block& block : blocks_) {
    if (block.kind == Kind::ToolUse && !block.is_complete) {
      continue;
    }
    writer.begin_object();
    switch (block.kind) {
      case Kind::Thinking:
        writer.field("type", "thinking");
        writer.field("thinking", request_->shows_thinking ? std::string_view(block.text) : "");
        writer.field("signature", block.signature);
        break;
      case Kind::Text:
        writer.field("type", "text").field("text", block.text);
        break;
      case Kind::ToolUse:
        writer.field("type", "tool_use").field("id", block.id).field("name", block.name);
        writer.raw_field("input", block.text.empty() ? std::string_view("{}") : block.text);
        break;
    }
    writer.end_object();
  }
  writer.end_array();
}

}  // namespace fathom::anthropic
