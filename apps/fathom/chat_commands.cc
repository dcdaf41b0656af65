#include "apps/fathom/chat_commands.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/tool_schema.h"

#include "apps/fathom/conversation_file.h"
#include "apps/fathom/input.h"

namespace fathom::app {
namespace {

using text::Role;

using Messages = std::vector<text::Message>;

struct Invocation {
  std::string argument;
  ChatState& state;
  TextSession& session;
};

CommandOutcome system(const Invocation& call) {
  set_system_message(call.state.conversation, call.argument);
  return {.message = call.argument.empty() ? "no system message" : "system message set"};
}

CommandOutcome effort(const Invocation& call) {
  call.state.render.effort.reset();
  if (!call.argument.empty()) {
    call.state.render.effort = call.argument;
  }
  return {.message = "effort: " + call.state.render.effort.value_or("the model's default")};
}

CommandOutcome think(const Invocation& call) {
  if (call.argument != "on" && call.argument != "off" && !call.argument.empty()) {
    fail(ErrorCode::InvalidArgument, "/think: expected on or off, found ",
         formats::quote(call.argument));
  }
  call.state.render.thinking =
      call.argument.empty() ? !call.state.render.thinking : call.argument == "on";
  return {.message = call.state.render.thinking ? "thinking: on" : "thinking: off"};
}

CommandOutcome tools(const Invocation& call) {
  text::Conversation& conversation = call.state.conversation;
  if (call.argument.empty()) {
    std::string names;
    for (const text::Tool& tool : conversation.tools) {
      names += " " + tool.name;
    }
    return {.message = "tools:" + (names.empty() ? " none" : names)};
  }
  conversation.tools = call.argument == "off"
                           ? std::vector<text::Tool>{}
                           : text::parse_tools(read_text_input(call.argument), call.argument);
  return {.message = fmt::format("{} tools", conversation.tools.size())};
}

CommandOutcome save(const Invocation& call) {
  save_conversation(call.state.conversation, call.argument);
  return {.message = fmt::format("{} messages in {}", call.state.conversation.messages.size(),
                                 call.argument)};
}

CommandOutcome load(const Invocation& call) {
  call.state.conversation = load_conversation(call.argument);
  return {.message = fmt::format("{} messages from {}", call.state.conversation.messages.size(),
                                 call.argument)};
}

// The last message of the user, or the end.
Messages::iterator last_user(Messages& messages) {
  const auto found = std::find_if(messages.rbegin(), messages.rend(),
                                  [](const auto& message) { return message.role == Role::User; });
  return found == messages.rend() ? messages.end() : std::prev(found.base());
}

CommandOutcome undo(const Invocation& call) {
  Messages& messages = call.state.conversation.messages;
  const auto user = last_user(messages);
  if (user == messages.end()) {
    return {.message = "nothing to undo"};
  }
  const std::string text = text_of(*user);
  messages.erase(user, messages.end());
  return {.message = "taken back: " + text.substr(0, 60)};
}

CommandOutcome retry(const Invocation& call) {
  Messages& messages = call.state.conversation.messages;
  const auto user = last_user(messages);
  if (user == messages.end()) {
    return {.message = "nothing to answer"};
  }
  messages.erase(std::next(user), messages.end());
  return {.replies = true};
}

CommandOutcome clear(const Invocation& call) {
  Messages& messages = call.state.conversation.messages;
  messages.erase(std::remove_if(messages.begin(), messages.end(),
                                [](const auto& message) { return message.role != Role::System; }),
                 messages.end());
  return {.message = "a new conversation"};
}

CommandOutcome stats(const Invocation& call) {
  const ReplyStats& last = call.state.last;
  const ModelFacts& facts = call.session.model().facts();
  return {.message = fmt::format(
              "{}: {} layers, vocabulary {}, context {} tokens\n"
              "in the cache: {} tokens, {:.1f} MB\n"
              "last reply: prompt {} tokens, {} of them known, {:.2f} s; {} tokens, {:.2f} s, "
              "{:.1f} tokens/s",
              facts.family, facts.num_layers, facts.vocab_size, facts.max_context,
              call.session.num_tokens(), static_cast<double>(call.session.cache_bytes()) * 1e-6,
              last.prompt_tokens, last.cached_tokens, last.prompt_seconds, last.reply_tokens,
              last.reply_seconds, last.reply_tokens_per_s())};
}

CommandOutcome quit(const Invocation& /*call*/) {
  return {.quits = true};
}

CommandOutcome help(const Invocation& call);

struct Row {
  std::string_view name;
  std::string_view argument;  // in brackets: may be left out
  std::string_view help;
  CommandOutcome (*run)(const Invocation& call);
};

constexpr std::array kRows = {
    Row{"/help", "", "this list", &help},
    Row{"/system", "[TEXT]", "set the system message, or remove it", &system},
    Row{"/effort", "[NAME]", "reasoning effort: low, high, max", &effort},
    Row{"/think", "[on|off]", "whether the model reasons before it answers", &think},
    Row{"/tools", "[FILE|off]", "tools that the model may call; you type their results", &tools},
    Row{"/save", "FILE", "write the conversation as JSON", &save},
    Row{"/load", "FILE", "go on with a conversation", &load},
    Row{"/undo", "", "take back your last message and the reply", &undo},
    Row{"/retry", "", "another reply to your last message", &retry},
    Row{"/clear", "", "begin anew, with the same system message", &clear},
    Row{"/stats", "", "speed and memory", &stats},
    Row{"/quit", "", "leave (or Ctrl-D)", &quit},
};

CommandOutcome help(const Invocation& /*call*/) {
  std::string text;
  for (const Row& row : kRows) {
    text += fmt::format("{:<8} {:<11} {}\n", row.name, row.argument, row.help);
  }
  return {.message = text + "Ctrl-C stops a reply; Alt-Enter begins a new line; Ctrl-R searches."};
}

}  // namespace

CommandOutcome run_chat_command(const std::string& line, ChatState& state, TextSession& session) {
  const std::size_t space = std::min(line.find_first_of(" \t\n"), line.size());
  const std::string name = line.substr(0, space);
  const std::size_t first = std::min(line.find_first_not_of(" \t\n", space), line.size());
  const std::size_t last = line.find_last_not_of(" \t\n");
  const std::string argument = first > last ? "" : line.substr(first, last + 1 - first);
  for (const Row& row : kRows) {
    if (row.name == name) {
      const bool is_required = !row.argument.empty() && row.argument.front() != '[';
      if (argument.empty() ? is_required : row.argument.empty()) {
        fail(ErrorCode::InvalidArgument, name, ": expected ",
             row.argument.empty() ? "nothing behind it" : row.argument, ", found ",
             formats::quote(argument));
      }
      return row.run({argument, state, session});
    }
  }
  fail(ErrorCode::InvalidArgument, "no command ", formats::quote(name), " (/help lists them)");
}

void set_system_message(text::Conversation& conversation, const std::string& text) {
  Messages& messages = conversation.messages;
  if (!messages.empty() && messages.front().role == Role::System) {
    messages.erase(messages.begin());
  }
  if (!text.empty()) {
    messages.insert(messages.begin(), {.role = Role::System, .content = {{.text = text}}});
  }
}

void add_reply(text::Conversation& conversation, const text::Reply& reply) {
  text::Message message = {.role = Role::Assistant};
  message.content.push_back({.text = reply.content});
  message.reasoning = reply.reasoning;
  message.tool_calls = reply.calls;
  for (std::size_t i = 0; i < message.tool_calls.size(); ++i) {
    message.tool_calls[i].id = fmt::format("call_{}_{}", conversation.messages.size(), i + 1);
  }
  conversation.messages.push_back(std::move(message));
}

void take_back_unanswered(text::Conversation& conversation) {
  Messages& messages = conversation.messages;
  while (!messages.empty() && messages.back().role != Role::Assistant &&
         messages.back().role != Role::System) {
    messages.pop_back();
  }
}

}  // namespace fathom::app
