// fathom parse-reply: what a model's reply says, apart from its markup.
#include <memory>
#include <string>
#include <string_view>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "fathom/model/text/reply_parser.h"

#include "apps/fathom/input.h"
#include "apps/fathom/options.h"

namespace fathom::app {
namespace {

using Json = nlohmann::ordered_json;

struct ParseReplyCommand {
  std::string file = "-";
  std::string tools;
  std::string start = "content";
  std::string end = "stop";
};

text::ReplyRules rules_of(const ParseReplyCommand& options) {
  text::ReplyRules rules;
  if (!options.tools.empty()) {
    std::string json;
    read_pieces(options.tools, [&](std::string_view piece) { json += piece; });
    rules.tools = text::parse_tools(json, options.tools);
  }
  return rules;
}

Json json_of(const text::Reply& reply) {
  Json calls = Json::array();
  for (const text::ToolCall& call : reply.calls) {
    calls.push_back({{"name", call.name}, {"arguments", call.arguments}});
  }
  return {{"reasoning", reply.reasoning},
          {"content", reply.content},
          {"calls", calls},
          {"finish", text::to_string(reply.finish)}};
}

void run_parse_reply(const ParseReplyCommand& options) {
  const text::ReplyStart start = text::reply_start_from_name(options.start);
  const text::ReplyEnd end = text::reply_end_from_name(options.end);
  const auto syntax = std::make_shared<const text::ReplySyntax>(rules_of(options));
  text::ReplyParser parser(syntax, start);
  read_pieces(options.file, [&](std::string_view piece) {
    parser.push_text(piece);
    parser.take_events();  // only the whole is printed
  });
  print_out(json_of(parser.finish(end)).dump() + "\n");
}

}  // namespace

Command add_parse_reply(CLI::App& program) {
  auto options = std::make_shared<ParseReplyCommand>();
  CLI::App* command = program.add_subcommand(
      "parse-reply", "Take a reply apart: reasoning, content and tool calls as JSON");
  command->add_option("file", options->file, "The sampled text; - for stdin")
      ->type_name("FILE")
      ->capture_default_str();
  command->add_option("--tools", options->tools, "Declared tools; without, no text is a tool call")
      ->type_name("FILE.json");
  command->add_option("--start", options->start, "Where the prompt left off: reasoning or content")
      ->type_name("NAME")
      ->capture_default_str();
  command->add_option("--end", options->end, "Why the reply ended: stop or length")
      ->type_name("NAME")
      ->capture_default_str();
  return {command, [options](InterruptWatch&) { run_parse_reply(*options); }};
}

}  // namespace fathom::app
