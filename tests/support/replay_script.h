// What the replay server's models answer: what the conversation itself says they should.
//
// Two ways of saying it. Library clients write one JSON object a turn, in guillemets, into a user
// message: «{"say": "Hi."}», «{"calls": [["get_weather", {"city": "Rome"}]]}»; "think" is the
// reasoning, and {choice} stands for the choice's index. Agents get a task, "create PATH with the
// text TEXT": the reply calls whichever of the declared tools can do it, and reports afterwards.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/base/core/index.h"
#include "fathom/model/text/json_value.h"

namespace fathom::testing {

inline constexpr std::string_view kUserToken = "<｜User｜>";
inline constexpr std::string_view kAssistantToken = "<｜Assistant｜>";
inline constexpr std::string_view kDsmlToken = "｜DSML｜";
inline constexpr std::string_view kTaskIsDone = "The file is written.";

namespace script {

inline std::size_t count(std::string_view text, std::string_view piece) {
  std::size_t num_found = 0;
  for (auto at = text.find(piece); at != text.npos; at = text.find(piece, at + piece.size())) {
    ++num_found;
  }
  return num_found;
}

// What stands between two pieces, from `from` on; nothing where there is no such place.
inline std::string_view between(std::string_view text,
                                std::string_view begin,
                                std::string_view end,
                                std::size_t from = 0) {
  const auto first = text.find(begin, from);
  if (first == text.npos) {
    return {};
  }
  const auto last = text.find(end, first + begin.size());
  return last == text.npos ? std::string_view{}
                           : text.substr(first + begin.size(), last - first - begin.size());
}

inline std::string replace_all(std::string text, std::string_view what, std::string_view with) {
  for (auto at = text.find(what); at != text.npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
  return text;
}

// The JSON objects in guillemets.
inline std::vector<text::JsonValue> turns_of(std::string_view message) {
  std::vector<text::JsonValue> turns;
  constexpr std::string_view kOpen = "«";
  for (auto at = message.find(kOpen); at != message.npos; at = message.find(kOpen, at + 1)) {
    turns.push_back(text::parse_json(between(message, kOpen, "»", at), "the replay script"));
  }
  return turns;
}

inline std::string call_block(const text::JsonValue& calls) {
  const std::string dsml(kDsmlToken);
  std::string block = "\n\n<" + dsml + "tool_calls>\n";
  for (const text::JsonValue& call : calls.items) {
    block += "<" + dsml + "invoke name=\"" + call.items.at(0).text + "\">\n";
    const text::JsonValue& arguments = call.items.at(1);
    for (std::size_t i = 0; i < arguments.items.size(); ++i) {
      const text::JsonValue& value = arguments.items[i];
      const bool is_string = value.kind == text::JsonValue::Kind::String;
      block += "<" + dsml + "parameter name=\"" + arguments.keys[i] + "\" string=\"" +
               (is_string ? "true" : "false") + "\">" +
               (is_string ? value.text : text::print_json(value)) + "</" + dsml + "parameter>\n";
    }
    block += "</" + dsml + "invoke>\n";
  }
  return block + "</" + dsml + "tool_calls>";
}

// One call that writes the file, of the first tool that was declared.
inline text::JsonValue task_turn(std::string_view prompt,
                                 std::string_view path,
                                 std::string_view content) {
  struct Tool {
    std::string_view name;
    std::string_view arguments;  // PATH and TEXT are replaced
  };
  constexpr std::array kTools = {
      Tool{"Write", R"({"file_path": "PATH", "content": "TEXT"})"},
      Tool{"write", R"({"filePath": "PATH", "content": "TEXT"})"},
      Tool{"exec_command", R"({"cmd": "printf TEXT > PATH"})"},
  };
  for (const Tool& tool : kTools) {
    if (prompt.find("\"name\": \"" + std::string(tool.name) + "\"") == prompt.npos) {
      continue;
    }
    std::string turn = "{\"think\": \"A file is asked for.\", \"calls\": [[\"" +
                       std::string(tool.name) + "\", " + std::string(tool.arguments) + "]]}";
    turn = replace_all(replace_all(turn, "TEXT", content), "PATH", path);
    return text::parse_json(turn, "the replay script");
  }
  return text::parse_json("{\"say\": \"None of my tools writes files.\"}", "the replay script");
}

inline text::JsonValue saying(std::string_view text) {
  return text::parse_json("{\"say\": \"" + std::string(text) + "\"}", "the replay script");
}

// The turn that is due of a message's objects: as many are over as the assistant was called upon.
inline text::JsonValue due_turn(std::string_view prompt, std::size_t last_object) {
  const auto begin = prompt.rfind(kUserToken, last_object);
  const std::string_view rest = prompt.substr(begin == prompt.npos ? 0 : begin);
  const std::vector<text::JsonValue> turns = turns_of(rest.substr(0, rest.find(kAssistantToken)));
  const std::size_t num_headers = count(rest, kAssistantToken);
  const std::size_t num_over = num_headers == 0 ? 0 : num_headers - 1;
  return num_over < turns.size() ? turns[num_over] : saying("Nothing is left to say.");
}

inline text::JsonValue turn_of(std::string_view prompt) {
  if (const auto last_object = prompt.rfind("«"); last_object != prompt.npos) {
    return due_turn(prompt, last_object);
  }
  const auto text_begin = prompt.rfind(" with the text ");
  const auto path_begin = prompt.rfind("create ", text_begin);
  const bool has_tools = prompt.find("\"parameters\": ") != prompt.npos;
  if (text_begin == prompt.npos || path_begin == prompt.npos || !has_tools) {
    return saying("Hello.");
  }
  const auto result = prompt.rfind("<tool_result>");
  return result != prompt.npos && result > text_begin
             ? saying(kTaskIsDone)
             : task_turn(prompt, between(prompt, "create ", " with the text ", path_begin),
                         between(prompt, " with the text ", ",", text_begin));
}

}  // namespace script

// The reply to a prompt whose control tokens are spelled, in DeepSeek-V4's preview dialect. A block
// of calls that the prompt has begun goes on.
inline std::string scripted_reply(std::string_view prompt, Index choice_idx) {
  const text::JsonValue turn = script::turn_of(prompt);
  const auto text_of = [&](std::string_view key, std::string otherwise) {
    const text::JsonValue* value = turn.find(key);
    return value == nullptr ? std::move(otherwise) : value->text;
  };
  const text::JsonValue* calls = turn.find("calls");
  const std::string block = calls == nullptr ? std::string{} : script::call_block(*calls);
  const auto begun = prompt.rfind("\n\n<" + std::string(kDsmlToken) + "tool_calls>");
  if (!block.empty() && begun != prompt.npos &&
      block.compare(0, prompt.size() - begun, prompt.substr(begun)) == 0) {
    return block.substr(prompt.size() - begun);
  }
  std::string reply;
  if (prompt.ends_with("<think>")) {
    reply = text_of("think", "I do as I am told.") + "</think>";
  }
  reply += text_of("say", "") + block;
  return script::replace_all(std::move(reply), "{choice}", std::to_string(choice_idx));
}

}  // namespace fathom::testing
