#include "fathom/serve/openai/responses_items.h"

#include <utility>

#include "fathom/base/core/index.h"
#include "fathom/serve/wire/ids.h"

namespace fathom::openai {
namespace {

using wire::JsonWriter;
using EventKind = text::ReplyEvent::Kind;

void write_logprobs(JsonWriter& writer, const std::string& entries) {
  writer.raw_field("logprobs", "[" + entries + "]");
}

void write_output_text(JsonWriter& writer, std::string_view text, const std::string& logprobs) {
  writer.begin_object().field("type", "output_text").key("annotations").raw("[]");
  write_logprobs(writer, logprobs);
  writer.field("text", text).end_object();
}

void write_reasoning_text(JsonWriter& writer, std::string_view text) {
  writer.begin_object().field("type", "reasoning_text").field("text", text).end_object();
}

void write_summary_text(JsonWriter& writer, std::string_view text) {
  writer.begin_object().field("type", "summary_text").field("text", text).end_object();
}

}  // namespace

ResponsesItems::ResponsesItems(const ResponsesRequest& request,
                               const wire::TextSeal& seal,
                               const std::shared_ptr<const TokenTexts>& texts,
                               Tell tell)
    : request_(&request), seal_(&seal), tell_(std::move(tell)) {
  if (texts != nullptr) {
    logprobs_.emplace(texts);
  }
}

void ResponsesItems::add(const engine::ReplyDelta& delta) {
  if (delta.token) {
    record_.add(*delta.token);
    if (logprobs_) {
      logprobs_->push_token(*delta.token);
    }
  }
  for (const text::ReplyEvent& event : delta.events) {
    if (logprobs_) {
      logprobs_->show(event);
    }
    add(event);
  }
}

void ResponsesItems::add(const text::ReplyEvent& event) {
  switch (event.kind) {
    case EventKind::Reasoning:
      open(Kind::Reasoning);
      break;
    case EventKind::Content:
      open(Kind::Message);
      break;
    case EventKind::CallBegin:
      open_call(event.text);
      return;
    case EventKind::CallArguments:
      break;
    case EventKind::CallEnd:
      close("completed");
      return;
  }
  add_text(event.text);
}

void ResponsesItems::open(Kind kind) {
  if (is_open_ && items_.back().kind == kind) {
    return;
  }
  close("completed");
  items_.push_back({.kind = kind, .id = wire::new_id(kind == Kind::Reasoning ? "rs_" : "msg_")});
  is_open_ = true;
  tell_beginning();
}

void ResponsesItems::open_call(const std::string& flat_name) {
  close("completed");
  const ResponsesTool* const tool = request_->tools.find(flat_name);
  const bool is_custom = tool != nullptr && tool->is_custom;
  items_.push_back({.kind = is_custom ? Kind::Custom : Kind::Function,
                    .id = wire::new_id(is_custom ? "ctc_" : "fc_"),
                    .call_id = wire::new_id("call_"),
                    .name = tool == nullptr ? flat_name : tool->name,
                    .name_space = tool == nullptr ? "" : tool->name_space});
  call_ids_.emplace_back();
  is_open_ = true;
  tell_beginning();
}

void ResponsesItems::add_text(const std::string& text) {
  if (text.empty()) {
    return;
  }
  items_.back().text += text;
  const auto tell_delta = [&](std::string_view type) {
    tell_about(type, [&](JsonWriter& writer) { writer.field("delta", text); });
  };
  switch (items_.back().kind) {
    case Kind::Reasoning:
      tell_delta(request_->wants_summary ? "response.reasoning_summary_text.delta"
                                         : "response.reasoning_text.delta");
      break;
    case Kind::Message:
      tell_message_delta(text);
      break;
    case Kind::Function:
      tell_delta("response.function_call_arguments.delta");
      break;
    case Kind::Custom:
      break;  // what the tool gets is inside the arguments, known when they are complete
  }
}

// Text of a message, with the log-probabilities of the tokens that it came from.
void ResponsesItems::tell_message_delta(const std::string& text) {
  const std::string entries = logprobs_ ? logprobs_->take_content() : std::string();
  std::string& all = items_.back().logprobs;
  all += (all.empty() || entries.empty() ? "" : ",") + entries;
  tell_about("response.output_text.delta",
             [&](JsonWriter& writer) { write_logprobs(writer.field("delta", text), entries); });
}

void ResponsesItems::close(std::string_view status) {
  if (!is_open_) {
    return;
  }
  Item& item = items_.back();
  is_open_ = false;
  item.status = status;
  if (item.kind == Kind::Reasoning && request_->wants_sealed_reasoning) {
    item.sealed = seal_->seal(request_->owner, record_.exact_reasoning(item.text));
  }
  const bool is_call = item.kind == Kind::Function || item.kind == Kind::Custom;
  if (item.kind == Kind::Custom) {
    item.text = custom_input(item.text);
  }
  if (!is_call || status == "completed") {
    if (is_call) {
      call_ids_.back() = item.call_id;
    }
    tell_end();
    tell_item("response.output_item.done");
  }
}

void ResponsesItems::end(bool is_cut) {
  close(is_cut ? "incomplete" : "completed");
}

void ResponsesItems::tell_beginning() {
  tell_item("response.output_item.added");
  if (items_.back().kind == Kind::Message) {
    tell_about("response.content_part.added",
               [](JsonWriter& writer) { write_output_text(writer.key("part"), "", ""); });
  } else if (items_.back().kind == Kind::Reasoning && request_->wants_summary) {
    tell_about("response.reasoning_summary_part.added",
               [](JsonWriter& writer) { write_summary_text(writer.key("part"), ""); });
  } else if (items_.back().kind == Kind::Reasoning) {
    tell_about("response.content_part.added",
               [](JsonWriter& writer) { write_reasoning_text(writer.key("part"), ""); });
  }
}

void ResponsesItems::tell_end() {
  const Item& item = items_.back();
  const auto text = [&item](JsonWriter& writer) { writer.field("text", item.text); };
  switch (item.kind) {
    case Kind::Reasoning:
      if (request_->wants_summary) {
        tell_about("response.reasoning_summary_text.done", text);
        tell_about("response.reasoning_summary_part.done", [&item](JsonWriter& writer) {
          write_summary_text(writer.key("part"), item.text);
        });
      } else {
        tell_about("response.reasoning_text.done", text);
        tell_about("response.content_part.done", [&item](JsonWriter& writer) {
          write_reasoning_text(writer.key("part"), item.text);
        });
      }
      break;
    case Kind::Message:
      tell_about("response.output_text.done", [&item](JsonWriter& writer) {
        write_logprobs(writer.field("text", item.text), item.logprobs);
      });
      tell_about("response.content_part.done", [&item](JsonWriter& writer) {
        write_output_text(writer.key("part"), item.text, item.logprobs);
      });
      break;
    case Kind::Function:
      tell_about("response.function_call_arguments.done", [&item](JsonWriter& writer) {
        writer.field("name", item.name).field("arguments", item.text);
      });
      break;
    case Kind::Custom:
      tell_about("response.custom_tool_call_input.delta",
                 [&item](JsonWriter& writer) { writer.field("delta", item.text); });
      tell_about("response.custom_tool_call_input.done",
                 [&item](JsonWriter& writer) { writer.field("input", item.text); });
      break;
  }
}

void ResponsesItems::tell_about(std::string_view type, const Members& members) {
  tell_(type, [&](JsonWriter& writer) {
    const Item& item = items_.back();
    writer.field("item_id", item.id).field("output_index", to_index(items_.size()) - 1);
    if (item.kind == Kind::Message || (item.kind == Kind::Reasoning && !request_->wants_summary)) {
      writer.field("content_index", 0);
    } else if (item.kind == Kind::Reasoning) {
      writer.field("summary_index", 0);
    }
    members(writer);
  });
}

void ResponsesItems::tell_item(std::string_view type) {
  tell_(type, [&](JsonWriter& writer) {
    writer.field("output_index", to_index(items_.size()) - 1).key("item");
    write_item(writer, items_.back());
  });
}

void ResponsesItems::write(JsonWriter& writer) const {
  writer.begin_array();
  for (const Item& item : items_) {
    write_item(writer, item);
  }
  writer.end_array();
}

// An item that has only begun has no text yet: it is told as it comes.
void ResponsesItems::write_item(JsonWriter& writer, const Item& item) const {
  writer.begin_object().field("id", item.id);
  switch (item.kind) {
    case Kind::Reasoning:
      write_reasoning(writer, item);
      break;
    case Kind::Message:
      writer.field("type", "message").field("role", "assistant").key("content").begin_array();
      if (item.status != "in_progress") {
        write_output_text(writer, item.text, item.logprobs);
      }
      writer.end_array();
      break;
    case Kind::Function:
    case Kind::Custom:
      writer.field("type", item.kind == Kind::Custom ? "custom_tool_call" : "function_call");
      writer.field("call_id", item.call_id).field("name", item.name);
      if (!item.name_space.empty()) {
        writer.field("namespace", item.name_space);
      }
      writer.field(item.kind == Kind::Custom ? "input" : "arguments", item.text);
      break;
  }
  writer.field("status", item.status).end_object();
}

void ResponsesItems::write_reasoning(JsonWriter& writer, const Item& item) const {
  writer.field("type", "reasoning");
  const bool has_text = item.status != "in_progress";
  writer.key("summary").begin_array();
  if (has_text && request_->wants_summary) {
    write_summary_text(writer, item.text);
  }
  writer.end_array().key("content").begin_array();
  if (has_text && !request_->wants_summary) {
    write_reasoning_text(writer, item.text);
  }
  writer.end_array();
  if (item.sealed.empty()) {
    writer.null_field("encrypted_content");
  } else {
    writer.field("encrypted_content", item.sealed);
  }
}

std::vector<std::string> ResponsesItems::item_ids() const {
  std::vector<std::string> ids;
  for (const Item& item : items_) {
    ids.push_back(item.id);
  }
  return ids;
}

}  // namespace fathom::openai
