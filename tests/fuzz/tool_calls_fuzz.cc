// Any text as the schema of a strict tool: it is compiled or refused, and every block that it
// accepts is read back as calls with JSON arguments.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/model/sampling/automaton.h"
#include "fathom/model/sampling/front_ends.h"
#include "fathom/model/text/reply_parser.h"

#include "tests/fuzz/walk.h"

namespace {

constexpr std::string_view kDsml = "｜DSML｜";

void require_calls(const std::string& block) {
  using namespace fathom::text;
  ReplyRules rules;
  rules.input = ReplyInput::Tokens;
  rules.tools = {{.name = "f", .function_json = "{}", .is_strict = true}};
  ReplyParser parser(std::make_shared<const ReplySyntax>(rules), ReplyStart::Content);
  parser.push_text("<");
  parser.push_control(kDsml);
  for (const char byte : block) {
    if (byte == fathom::sampling::kCallMark.front()) {
      parser.push_control(kDsml);
    } else {
      parser.push_text(std::string_view(&byte, 1));
    }
  }
  const Reply& reply = parser.finish(ReplyEnd::Stop);
  if (reply.calls.empty() || !reply.content.empty()) {
    std::abort();
  }
  for (const ToolCall& call : reply.calls) {
    if (call.name != "f" || !nlohmann::json::accept(call.arguments)) {
      std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const fathom::sampling::CallMarkup markup = {.mark = std::string(kDsml),
                                               .calls = "tool_calls",
                                               .invoke = "invoke",
                                               .parameter = "parameter"};
  const std::vector<fathom::sampling::CallableTool> tools = {
      {.name = "f", .parameters = std::string(text), .where = "tools[0]"}};
  const auto found = fathom::fuzz::walk_or_refuse(
      text, [&] { return fathom::sampling::parse_tool_calls(markup, tools); });
  if (found.has_value()) {
    require_calls(*found);
  }
  return 0;
}
