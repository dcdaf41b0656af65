#include "fathom/model/text/reply_syntax.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::text {
namespace {

using testing::fails_with;

// The kind of the marker that a text ends in.
std::optional<MarkerKind> kind_of(const ReplySyntax& syntax,
                                  const MarkerSet& set,
                                  const Symbols& text) {
  MarkerSet::Node node = 0;
  for (const Symbol symbol : text) {
    node = set.next(node, symbol);
  }
  const auto match = set.match(node);
  return match ? std::optional(syntax.meaning(match->id).kind) : std::nullopt;
}

const std::vector<Tool> kTools = {{"write", "{}"}, {"odd\"name", "{}"}, {"a<b", "{}"}};

TEST(ReplySyntax, WithoutToolsOnlyThinkTagsAreMarkers) {
  const ReplySyntax syntax({});
  EXPECT_FALSE(syntax.has_tools());
  EXPECT_EQ(syntax.find_tool("write"), nullptr);
  EXPECT_EQ(kind_of(syntax, syntax.content(), symbols_of("</think>")), MarkerKind::ThinkClose);
  EXPECT_EQ(kind_of(syntax, syntax.reasoning(), symbols_of("<think>")), MarkerKind::ThinkOpen);
  EXPECT_EQ(kind_of(syntax, syntax.content(), symbols_of("<｜DSML｜")), std::nullopt);
}

TEST(ReplySyntax, WithoutThinkTagsNothingIsAMarker) {
  const ReplySyntax syntax({.think_tags = ThinkTags::None});
  EXPECT_EQ(kind_of(syntax, syntax.content(), symbols_of("</think>")), std::nullopt);
}

TEST(ReplySyntax, AmongTokensSpelledTagsAreText) {
  const ReplySyntax syntax({.input = ReplyInput::Tokens, .tools = kTools});
  EXPECT_EQ(kind_of(syntax, syntax.content(), symbols_of("</think>")), std::nullopt);
  EXPECT_EQ(kind_of(syntax, syntax.content(), symbols_of("<｜DSML｜")), std::nullopt);
  EXPECT_EQ(kind_of(syntax, syntax.content(), Symbols{kThinkCloseSymbol}), MarkerKind::ThinkClose);
  EXPECT_EQ(kind_of(syntax, syntax.content(), Symbols{'<', kDsmlSymbol}), MarkerKind::BlockOpen);
  EXPECT_EQ(kind_of(syntax, syntax.content(), symbols_of("<｜DSML｜invoke name=\"write\"")),
            MarkerKind::DeclaredInvoke);
}

TEST(ReplySyntax, ReasoningNeedsAWrapperOrADeclaredTool) {
  const ReplySyntax syntax({.tools = kTools});
  const auto kind = [&](const std::string& text) {
    return kind_of(syntax, syntax.reasoning(), symbols_of(text));
  };
  EXPECT_EQ(kind("<｜DSML｜"), std::nullopt);
  for (const char* wrapper : {"tool_calls", "function_calls", " calls"}) {
    EXPECT_EQ(kind("<｜DSML｜" + std::string(wrapper) + ">"), MarkerKind::Wrapper);
  }
  EXPECT_EQ(kind("<｜DSML｜invoke name=\"write\""), MarkerKind::DeclaredInvoke);
  EXPECT_EQ(kind("<｜DSML｜ invoke name=\"write\""), MarkerKind::DeclaredInvoke);
  EXPECT_EQ(kind("<｜DSML｜invoke name=\"nope\""), std::nullopt);
  EXPECT_EQ(kind("<invoke name=\"write\""), std::nullopt);
}

TEST(ReplySyntax, NamesThatHoldATagOrAQuoteAreNotLookedFor) {
  const ReplySyntax syntax({.tools = kTools});
  for (const char* name : {"odd\"name", "a<b"}) {
    EXPECT_EQ(
        kind_of(syntax, syntax.content(), symbols_of("<invoke name=\"" + std::string(name) + "\"")),
        std::nullopt);
    EXPECT_NE(syntax.find_tool(name), nullptr);
  }
}

TEST(ReplySyntax, ClosersOfAPlainBlockAreWholeTags) {
  const ReplySyntax syntax({.tools = kTools});
  const auto ends_value = [&](BlockForm form, const std::string& text) {
    return kind_of(syntax, syntax.value(form), symbols_of(text)) == MarkerKind::Closer;
  };
  EXPECT_TRUE(ends_value(BlockForm::Dsml, "</｜DSML｜"));
  EXPECT_TRUE(ends_value(BlockForm::NoBar, "</DSML｜"));
  EXPECT_FALSE(ends_value(BlockForm::Dsml, "</DSML｜"));
  EXPECT_FALSE(ends_value(BlockForm::Plain, "</"));
  EXPECT_TRUE(ends_value(BlockForm::Plain, "</parameter>"));
  EXPECT_FALSE(ends_value(BlockForm::Plain, "</invoke>"));
  EXPECT_EQ(kind_of(syntax, syntax.arguments(BlockForm::Plain), symbols_of("</invoke>")),
            MarkerKind::Closer);
  EXPECT_EQ(kind_of(syntax, syntax.block(BlockForm::Plain), symbols_of("</ calls>")),
            MarkerKind::BlockClose);
}

TEST(ReplySyntax, EmptyStopStringIsRefused) {
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "stop string 1 is empty", [] {
    ReplySyntax({.stop_strings = {"a", ""}});
  }));
}

}  // namespace
}  // namespace fathom::text
