// Any bytes as a reply: the result does not depend on the split, the events are the reply, and
// whatever was in it, what comes out is UTF-8 and the arguments of a finished call are JSON.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/formats/text.h"
#include "fathom/model/text/json_text.h"
#include "fathom/model/text/reply_parser.h"

namespace {

using namespace fathom::text;
using Syntax = std::shared_ptr<const ReplySyntax>;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

std::vector<Syntax> make_syntaxes() {
  const std::vector<Tool> tools = parse_tools(
      R"([{"name": "get_weather", "parameters": {"properties": {"city": {"type": "string"},
           "days": {"type": "integer"}, "opts": {"type": "object"}}}}, {"name": "write"}])",
      "tools");
  ReplyRules rules;
  std::vector<Syntax> syntaxes = {std::make_shared<const ReplySyntax>(rules)};
  rules.tools = tools;
  rules.stop_strings = {"\n\n\n", "END", "<｜DSML｜tool_calls>\n\n"};
  syntaxes.push_back(std::make_shared<const ReplySyntax>(rules));
  rules.input = ReplyInput::Tokens;
  syntaxes.push_back(std::make_shared<const ReplySyntax>(rules));
  rules.finds_json = true;
  rules.think_tags = ThinkTags::Leading;
  syntaxes.push_back(std::make_shared<const ReplySyntax>(rules));
  return syntaxes;
}

// All that a reply says, as one string. The bytes 1 to 3 of the input are control tokens.
class Run {
 public:
  Run(const Syntax& syntax, ReplyStart start) : parser_(syntax, start, "get_weather") {}

  void push(std::string_view piece) {
    constexpr std::string_view kTokens[] = {"</think>", "<think>", "｜DSML｜"};
    std::size_t begin = 0;
    for (std::size_t i = 0; i < piece.size(); ++i) {
      if (piece[i] >= 1 && piece[i] <= 3) {
        parser_.push_text(piece.substr(begin, i - begin));
        parser_.push_control(kTokens[piece[i] - 1]);
        begin = i + 1;
      }
    }
    parser_.push_text(piece.substr(begin));
    take();
  }

  std::string finish(ReplyEnd end) {
    const Reply& reply = parser_.finish(end);
    take();
    std::string expected = reply.reasoning + "\xff" + reply.content;
    require(fathom::formats::is_utf8(reply.reasoning) && fathom::formats::is_utf8(reply.content));
    for (std::size_t i = 0; i < reply.calls.size(); ++i) {
      const ToolCall& call = reply.calls[i];
      require(fathom::formats::is_utf8(call.name) && fathom::formats::is_utf8(call.arguments));
      const auto json = read_json(call.arguments);
      require(!is_finished_[i] || (json && json->kind == JsonKind::Object));
      require(end == ReplyEnd::Length || is_finished_[i]);
      expected += "\xff" + call.name + "\xff" + call.arguments;
    }
    require(reasoning_ + "\xff" + content_ + calls_ == expected);
    return expected + std::string(to_string(reply.finish)) +
           std::to_string(reply.num_bytes_after_end) +
           std::to_string(reply.stop_string_idx.value_or(-1));
  }

 private:
  void take() {
    for (const ReplyEvent& event : parser_.take_events()) {
      switch (event.kind) {
        case ReplyEvent::Kind::Reasoning:
          reasoning_ += event.text;
          break;
        case ReplyEvent::Kind::Content:
          content_ += event.text;
          break;
        case ReplyEvent::Kind::CallBegin:
          calls_ += "\xff" + event.text + "\xff";
          is_finished_.push_back(false);
          break;
        case ReplyEvent::Kind::CallArguments:
          calls_ += event.text;
          break;
        case ReplyEvent::Kind::CallEnd:
          is_finished_.back() = true;
          break;
      }
    }
  }

  ReplyParser parser_;
  std::string reasoning_;
  std::string content_;
  std::string calls_;
  std::vector<bool> is_finished_;
};

}  // namespace

// The first byte says how the rest is parsed and cut.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<Syntax> syntaxes = make_syntaxes();
  if (size == 0) {
    return 0;
  }
  const unsigned choice = data[0];
  const Syntax& syntax = syntaxes[choice % 4];
  const auto end = (choice & 4) != 0 ? ReplyEnd::Length : ReplyEnd::Stop;
  auto start = static_cast<ReplyStart>((choice >> 3) % 4);
  if (!syntax->has_tools() && start != ReplyStart::Reasoning) {
    start = ReplyStart::Content;
  }
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Run whole(syntax, start);
  whole.push(text);
  const std::string expected = whole.finish(end);
  Run bytewise(syntax, start);
  for (std::size_t i = 0; i < text.size(); ++i) {
    bytewise.push(text.substr(i, 1));
  }
  require(bytewise.finish(end) == expected);
  Run halves(syntax, start);
  const std::size_t cut = text.size() * (choice >> 5) / 8;
  halves.push(text.substr(0, cut));
  halves.push(text.substr(cut));
  require(halves.finish(end) == expected);
  return 0;
}
