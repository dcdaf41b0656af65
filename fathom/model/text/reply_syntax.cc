#include "fathom/model/text/reply_syntax.h"

#include <algorithm>
#include <string_view>

#include "fathom/base/core/error.h"

namespace fathom::text {
namespace {

// The names of the element that holds a block: V4, V3.2 and V4.1.
constexpr std::string_view kWrappers[] = {"tool_calls", "function_calls", " calls"};

}  // namespace

ReplySyntax::ReplySyntax(const ReplyRules& rules)
    : input_(rules.input),
      think_tags_(rules.think_tags),
      finds_json_(rules.finds_json),
      drops_leading_newlines_(rules.drops_leading_newlines) {
  Markers stops;
  for (std::size_t i = 0; i < rules.stop_strings.size(); ++i) {
    if (rules.stop_strings[i].empty()) {
      fail(ErrorCode::InvalidArgument, "stop string ", i, " is empty");
    }
    stops.push_back({symbols_of(rules.stop_strings[i]), static_cast<int>(i)});
  }
  stops_ = MarkerSet(stops);

  Markers reasoning;
  Markers content;
  add_think_tags(reasoning);
  add_think_tags(content);
  if (rules.tools) {
    tools_.emplace(*rules.tools);
    add_openers(reasoning, BlockForm::Dsml);
    add(content, symbols_of("<") + prefix_of(BlockForm::Dsml), {.kind = MarkerKind::BlockOpen});
    add(content, prefix_of(BlockForm::Dsml), {.kind = MarkerKind::StrayDsml});
    const bool has_strict = std::any_of(tools_->schemas().begin(), tools_->schemas().end(),
                                        [](const ToolSchema& tool) { return tool.is_strict(); });
    for (const BlockForm form : kBlockForms) {
      // In text the spelled form is the first.
      const bool is_known = form != BlockForm::Spelled || input_ == ReplyInput::Tokens;
      const bool is_needed = is_known && (form == BlockForm::Dsml || !has_strict);
      if (is_needed) {
        forms_[to_size(form)] = make_form(form);
      }
      if (is_needed && form != BlockForm::Dsml) {
        add_openers(content, form);
      }
    }
  }
  reasoning_ = MarkerSet(reasoning);
  content_ = MarkerSet(content);

  Markers quote;
  add(quote, symbols_of("\""), {.kind = MarkerKind::Quote});
  quote_ = MarkerSet(quote);
  Markers type;
  add(type, symbols_of("true\">"), {.kind = MarkerKind::StringType});
  add(type, symbols_of("false\">"), {.kind = MarkerKind::JsonType});
  add(type, symbols_of(">"), {.kind = MarkerKind::UnknownType});
  type_ = MarkerSet(type);
}

const ToolSchema* ReplySyntax::find_tool(std::string_view name) const {
  return tools_ ? tools_->find(name) : nullptr;
}

void ReplySyntax::add(Markers& markers, Symbols symbols, const MarkerMeaning& meaning) {
  markers.push_back({std::move(symbols), static_cast<int>(meanings_.size())});
  meanings_.push_back(meaning);
}

void ReplySyntax::add_think_tags(Markers& markers) {
  if (think_tags_ != ThinkTags::None) {
    add(markers, control(kThinkCloseSymbol), {.kind = MarkerKind::ThinkClose});
    add(markers, control(kThinkOpenSymbol), {.kind = MarkerKind::ThinkOpen});
  }
}

void ReplySyntax::add_openers(Markers& markers, BlockForm form) {
  const Symbols open = symbols_of("<") + prefix_of(form);
  for (const std::string_view wrapper : kWrappers) {
    add(markers, open + symbols_of(wrapper) + symbols_of(">"),
        {.kind = MarkerKind::Wrapper, .form = form});
  }
  for (const ToolSchema& tool : tools_->schemas()) {
    // A name ends at a quote; with a tag or a newline in it, a marker could begin inside another.
    if (tool.name().find_first_of("\"<\n") != std::string::npos) {
      continue;
    }
    for (const std::string_view invoke : {"invoke name=\"", " invoke name=\""}) {
      add(markers, open + symbols_of(invoke) + symbols_of(tool.name()) + symbols_of("\""),
          {.kind = MarkerKind::DeclaredInvoke, .form = form, .tool = &tool});
    }
  }
}

ReplySyntax::FormMarkers ReplySyntax::make_form(BlockForm form) {
  const Symbols close = symbols_of("</") + prefix_of(form);
  // A plain block has nothing but names to tell its closers from text by.
  const bool is_plain = form == BlockForm::Plain;
  const auto closer = [&](std::string_view name) {
    return is_plain ? close + symbols_of(name) + symbols_of(">") : close;
  };
  Markers block;
  add(block, symbols_of("invoke name=\""), {.kind = MarkerKind::Invoke});
  for (const std::string_view wrapper : kWrappers) {
    add(block, close + symbols_of(wrapper) + symbols_of(">"), {.kind = MarkerKind::BlockClose});
  }
  Markers arguments;
  add(arguments, symbols_of("parameter name=\""), {.kind = MarkerKind::Parameter});
  add(arguments, symbols_of("invoke name=\""), {.kind = MarkerKind::Invoke});
  add(arguments, closer("invoke"), {.kind = MarkerKind::Closer});
  Markers value;
  add(value, closer("parameter"), {.kind = MarkerKind::Closer});
  return {MarkerSet(block), MarkerSet(arguments), MarkerSet(value)};
}

Symbols ReplySyntax::prefix_of(BlockForm form) const {
  switch (form) {
    case BlockForm::Dsml:
      return control(kDsmlSymbol);
    case BlockForm::NoBar:
      return symbols_of("DSML｜");
    case BlockForm::Plain:
      return {};
    case BlockForm::Spelled:
      return symbols_of(kDsmlText);
  }
  return {};
}

Symbols ReplySyntax::control(Symbol symbol) const {
  if (input_ == ReplyInput::Tokens) {
    return Symbols(1, symbol);
  }
  std::string text;
  append_text(symbol, text);
  return symbols_of(text);
}

}  // namespace fathom::text
