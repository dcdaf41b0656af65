// What is a marker in each state of a reply, compiled once for all replies to a request.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fathom/model/text/conversation.h"
#include "fathom/model/text/marker_matcher.h"
#include "fathom/model/text/tool_schema.h"

namespace fathom::text {

enum class ReplyInput {
  Text,    // all is text: what spells a marker is one
  Tokens,  // think tags and ｜DSML｜ come as control tokens: text that spells them is text
};

enum class ThinkTags {
  None,    // they are text
  Fixed,   // the prompt says whether the reply begins inside reasoning; a stray tag is dropped
  Leading  // as Fixed, and a reply that begins with <think> begins with reasoning
};

struct ReplyRules {
  ReplyInput input = ReplyInput::Text;
  ThinkTags think_tags = ThinkTags::Fixed;
  // Without tools nothing is a marker but think tags and stop strings. An empty list switches tool
  // calls on and declares none. With a strict one among them only the form that calls are held to
  // is a call.
  std::optional<std::vector<Tool>> tools = std::nullopt;
  std::vector<std::string> stop_strings = {};
  // Only the JSON of the content is content (P13). Not for replies constrained by a grammar.
  bool finds_json = false;
  // Newlines that reasoning and content begin with are dropped (P9). Not for text that goes on.
  bool drops_leading_newlines = true;
};

// How a block of calls spells ｜DSML｜ (P7); the same in all of the block.
enum class BlockForm {
  Dsml,     // <｜DSML｜invoke
  NoBar,    // <DSML｜invoke
  Plain,    // <invoke
  Spelled,  // <｜DSML｜invoke in plain tokens, where ｜DSML｜ is a control token
};
inline constexpr std::array kBlockForms = {BlockForm::Dsml, BlockForm::NoBar, BlockForm::Plain,
                                           BlockForm::Spelled};

enum class MarkerKind {
  ThinkClose,
  ThinkOpen,
  BlockOpen,       // <｜DSML｜ in content
  StrayDsml,       // ｜DSML｜ in content without a `<`
  Wrapper,         // the opening tag of a block
  DeclaredInvoke,  // <｜DSML｜invoke name="NAME" of a declared tool
  Invoke,          // invoke name="
  Parameter,       // parameter name="
  Closer,          // ends a value or a call
  BlockClose,
  Quote,
  StringType,   // true">
  JsonType,     // false">
  UnknownType,  // >
};

struct MarkerMeaning {
  MarkerKind kind = MarkerKind::Quote;
  BlockForm form = BlockForm::Dsml;
  const ToolSchema* tool = nullptr;  // of a DeclaredInvoke
};

class ReplySyntax {
 public:
  // Throws InvalidArgument for an empty stop string or a tool that is no JSON object.
  explicit ReplySyntax(const ReplyRules& rules);
  ReplySyntax(const ReplySyntax&) = delete;
  ReplySyntax& operator=(const ReplySyntax&) = delete;

  ReplyInput input() const { return input_; }
  ThinkTags think_tags() const { return think_tags_; }
  bool has_tools() const { return tools_.has_value(); }
  bool finds_json() const { return finds_json_; }
  bool drops_leading_newlines() const { return drops_leading_newlines_; }
  const ToolSchema* find_tool(std::string_view name) const;

  // Ids of matches are indices of stop strings in stops(), else what meaning() takes.
  const MarkerSet& stops() const { return stops_; }
  const MarkerSet& reasoning() const { return reasoning_; }
  const MarkerSet& content() const { return content_; }
  const MarkerSet& quote() const { return quote_; }
  const MarkerSet& type() const { return type_; }
  const MarkerSet& block(BlockForm form) const { return forms_[to_size(form)].block; }
  const MarkerSet& arguments(BlockForm form) const { return forms_[to_size(form)].arguments; }
  const MarkerSet& value(BlockForm form) const { return forms_[to_size(form)].value; }
  const MarkerMeaning& meaning(int id) const { return meanings_[to_size(Index{id})]; }

 private:
  struct FormMarkers {
    MarkerSet block;
    MarkerSet arguments;
    MarkerSet value;
  };
  using Markers = std::vector<Marker>;

  static std::size_t to_size(BlockForm form) { return static_cast<std::size_t>(form); }
  static std::size_t to_size(Index value) { return fathom::to_size(value); }
  void add(Markers& markers, Symbols symbols, const MarkerMeaning& meaning);
  void add_think_tags(Markers& markers);
  // The tags that open a block: wrappers, and calls of declared tools.
  void add_openers(Markers& markers, BlockForm form);
  FormMarkers make_form(BlockForm form);
  // ｜DSML｜ as the form has it.
  Symbols prefix_of(BlockForm form) const;
  // A tag that the tokenizer may have as a control token.
  Symbols control(Symbol symbol) const;

  ReplyInput input_;
  ThinkTags think_tags_;
  bool finds_json_;
  bool drops_leading_newlines_;
  std::optional<ToolSet> tools_;
  std::vector<MarkerMeaning> meanings_;
  MarkerSet stops_;
  MarkerSet reasoning_;
  MarkerSet content_;
  MarkerSet quote_;
  MarkerSet type_;
  std::array<FormMarkers, kBlockForms.size()> forms_;
};

}  // namespace fathom::text
