#include "fathom/model/text/chat_encoder.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/model/text/json_value.h"

namespace fathom::text {

const std::string_view kV4BeginOfText = "<｜begin▁of▁sentence｜>";
const std::string_view kV4EndOfText = "<｜end▁of▁sentence｜>";

namespace {

constexpr std::string_view kUser = "<｜User｜>";
constexpr std::string_view kAssistant = "<｜Assistant｜>";
constexpr std::string_view kReminder = "<｜latest_reminder｜>";
constexpr std::string_view kThink = "<think>";
constexpr std::string_view kEndOfThink = "</think>";
constexpr std::string_view kTag = "<｜DSML｜";
constexpr std::string_view kEndTag = "</｜DSML｜";
constexpr std::string_view kBlockGap = "\n\n";

const auto kStopTexts =
    std::to_array<std::string_view>({kV4EndOfText, kV4BeginOfText, kUser, kAssistant, kReminder});

// A part of a user's turn.
struct Block {
  bool is_tool_result = false;
  std::string text;
  std::string tool_call_id;
};

// A message after the messages of users and tools have become turns.
struct Turn {
  const Message* message = nullptr;  // null for a turn that tool results opened
  Role role = Role::User;
  std::vector<Block> blocks = {};  // user
  std::optional<Task> task = {};
  bool has_reasoning = true;  // old reasoning may be dropped
};

// Tools and schema of the conversation go on its first system message, an empty one if need be.
void place_wishes(Conversation& conversation) {
  if (conversation.tools.empty() && conversation.response_format.empty()) {
    return;
  }
  const auto is_system = [](const Message& message) { return message.role == Role::System; };
  std::vector<Message>* home = &conversation.context;
  auto place = std::find_if(home->begin(), home->end(), is_system);
  if (place == home->end()) {
    home = &conversation.messages;
    place = std::find_if(home->begin(), home->end(), is_system);
  }
  if (place == home->end()) {
    home = conversation.context.empty() ? &conversation.messages : &conversation.context;
    place = home->insert(home->begin(), Message{});
    place->role = Role::System;
  }
  if (!conversation.tools.empty()) {
    place->tools = std::move(conversation.tools);
  }
  if (!conversation.response_format.empty()) {
    place->response_format = std::move(conversation.response_format);
  }
}

// Tool results and the texts of users that follow each other are one turn. A turn that carries a
// task takes no further text, but takes results; what is merged loses its own task.
std::vector<Turn> make_turns(const std::vector<Message>& messages) {
  std::vector<Turn> turns;
  for (const Message& message : messages) {
    const bool is_tool = message.role == Role::Tool;
    if (!is_tool && message.role != Role::User) {
      turns.push_back({.message = &message, .role = message.role, .task = message.task});
      continue;
    }
    const bool follows_user = !turns.empty() && turns.back().role == Role::User;
    if (!follows_user || (!is_tool && turns.back().task)) {
      turns.push_back({.message = is_tool ? nullptr : &message,
                       .role = Role::User,
                       .task = is_tool ? std::nullopt : message.task});
    }
    turns.back().blocks.push_back({.is_tool_result = is_tool,
                                   .text = text_of(message),
                                   .tool_call_id = message.tool_call_id});
  }
  return turns;
}

using CallOrder = std::map<std::string, Index, std::less<>>;

CallOrder order_of(const std::vector<ToolCall>& calls) {
  CallOrder order;
  Index call_idx = 0;
  for (const ToolCall& call : calls) {
    if (!call.id.empty()) {
      order[call.id] = call_idx;
    }
    ++call_idx;
  }
  return order;
}

void sort_blocks(std::vector<Block>& blocks, const CallOrder& order) {
  std::vector<Block> results;
  for (const Block& block : blocks) {
    if (block.is_tool_result) {
      results.push_back(block);
    }
  }
  const auto rank = [&order](const Block& block) {
    const auto place = order.find(block.tool_call_id);
    return place == order.end() ? Index{0} : place->second;
  };
  std::stable_sort(results.begin(), results.end(), [&rank](const Block& left, const Block& right) {
    return rank(left) < rank(right);
  });
  auto next = results.begin();
  for (Block& block : blocks) {
    if (block.is_tool_result) {
      block = std::move(*next++);
    }
  }
}

// Results stand in the order of the calls; texts between them keep their slots. `order` is that of
// the latest calls, also across the border between context and messages.
void sort_results(std::vector<Turn>& turns, CallOrder& order) {
  for (Turn& turn : turns) {
    if (turn.role == Role::User) {
      sort_blocks(turn.blocks, order);
    } else if (turn.role == Role::Assistant && !turn.message->tool_calls.empty()) {
      order = order_of(turn.message->tool_calls);
    }
  }
}

bool carries_tools(const std::vector<Message>& messages) {
  return std::any_of(messages.begin(), messages.end(),
                     [](const Message& message) { return !message.tools.empty(); });
}

class Encoder {
 public:
  Encoder(const RenderOptions& options, const Dialect& dialect)
      : options_(options), dialect_(dialect) {}

  Prompt encode(const Conversation& conversation) {
    const std::string_view effort = effort_text(
        dialect_, options_.effort ? std::string_view(*options_.effort) : dialect_.default_effort);
    effort_ = options_.thinking ? effort : std::string_view();
    drops_ = options_.drop_thinking && !carries_tools(conversation.context) &&
             !carries_tools(conversation.messages);
    std::vector<Turn> context = make_turns(conversation.context);
    std::vector<Turn> messages = make_turns(conversation.messages);
    CallOrder order;
    sort_results(context, order);
    sort_results(messages, order);
    turns_ = context;
    turns_.insert(turns_.end(), std::make_move_iterator(messages.begin()),
                  std::make_move_iterator(messages.end()));
    if (options_.thinking && drops_) {
      drop_old(turns_);
      drop_old(context);
    }
    last_user_ = find_last_user(turns_);
    if (options_.add_bos && conversation.context.empty()) {
      markup(kV4BeginOfText);
    }
    const Index num_turns = to_index(turns_.size());
    for (Index i = to_index(context.size()); i < num_turns; ++i) {
      write_body(i);
      if (i + 1 == num_turns || turns_[to_size(i + 1)].role == Role::Assistant ||
          turns_[to_size(i + 1)].role == Role::LatestReminder) {
        write_transition(i);
      }
    }
    return std::move(prompt_);
  }

 private:
  void markup(std::string_view text) { append(prompt_, text, true); }
  void words(std::string_view text) { append(prompt_, text, false); }

  // A system message in the midst is a turn of its own where it has a marker.
  bool opens_turn(const Turn& turn, bool is_first) const {
    return turn.role == Role::User || turn.role == Role::Developer ||
           (turn.role == Role::System && !is_first && !dialect_.system_token.empty());
  }

  Index find_last_user(const std::vector<Turn>& turns) const {
    Index i = to_index(turns.size()) - 1;
    while (i >= 0 && !opens_turn(turns[to_size(i)], i == 0)) {
      --i;
    }
    return i;
  }

  // Before the last user's turn, reasoning goes, and so do the search agent's turns.
  void drop_old(std::vector<Turn>& turns) const {
    const Index last_user = find_last_user(turns);
    std::vector<Turn> kept;
    for (Index i = 0; i < to_index(turns.size()); ++i) {
      Turn& turn = turns[to_size(i)];
      if (i < last_user) {
        turn.has_reasoning = false;
        if (turn.role == Role::Developer) {
          continue;
        }
      }
      kept.push_back(std::move(turn));
    }
    turns = std::move(kept);
  }

  void write_body(Index i) {
    const Turn& turn = turns_[to_size(i)];
    if (i == 0) {
      write_start(turn);
    }
    switch (turn.role) {
      case Role::System:
        markup(i == 0 ? "" : dialect_.system_token);
        words(text_of(*turn.message));
        write_wishes(*turn.message);
        break;
      case Role::Developer:
        write_developer(i);
        break;
      case Role::User:
        write_user(turn);
        break;
      case Role::LatestReminder:
        markup(kReminder);
        words(text_of(*turn.message));
        break;
      case Role::Assistant:
        write_assistant(i);
        break;
      case Role::Tool:
        fail(ErrorCode::Internal, "a tool message is no turn of its own");
    }
  }

  void write_start(const Turn& turn) {
    if (!effort_.empty() || turn.role == Role::System) {
      markup(dialect_.system_token);
    }
    markup(effort_);
  }

  // Tools and the schema of the reply.
  void write_wishes(const Message& message) {
    if (!message.tools.empty()) {
      markup(kBlockGap);
      markup(dialect_.tools_head);
      std::string_view gap;
      for (const Tool& tool : message.tools) {
        markup(gap);
        words(tool.function_json);
        gap = "\n";
      }
      markup(dialect_.tools_tail);
    }
    if (!message.response_format.empty()) {
      markup(kBlockGap);
      markup(kResponseFormatHead);
      words(message.response_format);
    }
  }

  void write_developer(Index i) {
    const Message& message = *turns_[to_size(i)].message;
    markup(kUser);
    words(text_of(message));
    write_wishes(message);
  }

  void write_user(const Turn& turn) {
    markup(kUser);
    std::string_view gap;
    for (const Block& block : turn.blocks) {
      markup(gap);
      markup(block.is_tool_result ? "<tool_result>" : "");
      words(block.text);
      markup(block.is_tool_result ? "</tool_result>" : "");
      gap = kBlockGap;
    }
  }

  void write_assistant(Index i) {
    const Turn& turn = turns_[to_size(i)];
    const Message& message = *turn.message;
    const std::string content = text_of(message);
    const bool answers_task = i > 0 && turns_[to_size(i - 1)].task.has_value();
    if (options_.thinking && !answers_task && (!drops_ || i > last_user_)) {
      words(turn.has_reasoning ? message.reasoning : "");
      if (message.ending == Ending::Prefix && content.empty() && message.tool_calls.empty() &&
          !message.reasoning.empty()) {
        return;
      }
      markup(kEndOfThink);
    }
    words(content);
    if (!message.tool_calls.empty()) {
      write_calls(message.tool_calls);
    }
    if (message.ending == Ending::Closed) {
      markup(kV4EndOfText);
    }
  }

  void open_tag(std::string_view tag) {
    markup(kTag);
    markup(tag);
  }

  void close_tag(std::string_view tag) {
    markup(kEndTag);
    markup(tag);
    markup(">");
  }

  void write_calls(const std::vector<ToolCall>& calls) {
    markup(kBlockGap);
    open_tag(dialect_.calls_tag);
    markup(">\n");
    for (const ToolCall& call : calls) {
      open_tag(dialect_.invoke_tag);
      markup(" name=\"");
      words(call.name);
      markup("\">\n");
      write_parameters(call.arguments);
      markup("\n");
      close_tag(dialect_.invoke_tag);
      markup("\n");
    }
    close_tag(dialect_.calls_tag);
  }

  // What is no JSON object is one parameter; nothing at all is none.
  void write_parameters(const std::string& arguments) {
    if (arguments.find_first_not_of(" \t\r\n") == std::string::npos) {
      return;
    }
    const std::optional<JsonValue> value = try_parse_json(arguments);
    if (!value || value->kind != JsonValue::Kind::Object) {
      write_parameter("arguments", true, arguments, true);
      return;
    }
    for (std::size_t i = 0; i < value->items.size(); ++i) {
      const JsonValue& item = value->items[i];
      const bool is_string = item.kind == JsonValue::Kind::String;
      markup(i == 0 ? "" : "\n");
      write_parameter(value->keys[i], is_string, is_string ? item.text : print_json(item));
    }
  }

  void write_parameter(std::string_view name,
                       bool is_string,
                       std::string_view value,
                       bool is_our_name = false) {
    open_tag(dialect_.parameter_tag);
    markup(" name=\"");
    append(prompt_, name, is_our_name);
    markup(is_string ? "\" string=\"true\">" : "\" string=\"false\">");
    words(value);
    close_tag(dialect_.parameter_tag);
  }

  void write_transition(Index i) {
    const Turn& turn = turns_[to_size(i)];
    if (turn.task) {
      if (*turn.task == Task::Action) {
        markup(kAssistant);
        markup(options_.thinking ? kThink : kEndOfThink);
      }
      markup("<｜" + std::string(to_string(*turn.task)) + "｜>");
    } else if (opens_turn(turn, i == 0)) {
      markup(kAssistant);
      markup(options_.thinking && (!drops_ || i >= last_user_) ? kThink : kEndOfThink);
    }
  }

  const RenderOptions& options_;
  const Dialect& dialect_;
  std::string_view effort_;
  bool drops_ = true;
  std::vector<Turn> turns_;
  Index last_user_ = -1;
  Prompt prompt_;
};

}  // namespace

std::span<const std::string_view> v4_stop_texts() {
  return kStopTexts;
}

Prompt v4_call_opening(std::string_view tool, const Dialect& dialect) {
  std::string opening(kBlockGap);
  opening.append(kTag).append(dialect.calls_tag).append(">\n");
  opening.append(kTag).append(dialect.invoke_tag).append(" name=\"");
  Prompt prompt;
  append(prompt, opening, true);
  if (!tool.empty()) {
    append(prompt, tool, false);
    append(prompt, "\">\n", true);
  }
  return prompt;
}

Prompt encode_v4(const Conversation& conversation,
                 const RenderOptions& options,
                 const Dialect& dialect) {
  Conversation placed = conversation;
  if (conversation.system_messages == SystemMessages::Folded && dialect.system_token.empty()) {
    fold_system_messages(placed.messages);
  }
  place_wishes(placed);
  return Encoder(options, dialect).encode(placed);
}

}  // namespace fathom::text
