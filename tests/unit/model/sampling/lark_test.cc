// What is expected of texts is what PyPI lark 1.3.1 says of them (parser="earley").
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/model/sampling/front_ends.h"

#include "tests/support/accepts.h"
#include "tests/support/expect_error.h"

namespace fathom::sampling {
namespace {

using testing::accepts;
using testing::fails_with;

void expect_texts(std::string_view grammar,
                  const std::vector<std::string>& good,
                  const std::vector<std::string>& bad) {
  Automaton automaton(parse_lark(grammar));
  for (const std::string& text : good) {
    EXPECT_TRUE(accepts(automaton, text)) << text;
  }
  for (const std::string& text : bad) {
    EXPECT_FALSE(accepts(automaton, text)) << text;
  }
}

// The format in which agents edit files.
constexpr std::string_view kPatch = R"lark(start: begin file+ end
begin: "*** Begin Patch" LF
end: "*** End Patch" LF?
file: added | removed  // a rename is a change
    | changed
added: "*** Add File: " path LF ("+" rest LF)+
removed: "*** Delete File: " path LF
changed: "*** Update File: " path LF moved? hunk+
moved: "*** Move to: " path LF
hunk: "@@" (" " rest)? LF line+
line: ("+" | "-" | " ") rest LF -> one
path: /.+/
rest: /.*/
%import common.LF
)lark";

TEST(Lark, HoldsPatchesToTheirFormat) {
  expect_texts(
      kPatch,
      {"*** Begin Patch\n*** Add File: a.txt\n+one\n+\n*** End Patch\n",
       "*** Begin Patch\n*** Delete File: a\n*** Update File: b c\n*** Move to: d\n@@ f()\n"
       "-x\n+é\n y\n*** End Patch"},
      {"*** Begin Patch\n*** End Patch\n", "*** Begin Patch\n*** Add File: a.txt\n*** End Patch\n",
       "*** Begin Patch\n*** Delete File: \n*** End Patch\n",
       "*** Begin Patch\n*** Update File: b\n@@\nx\n*** End Patch\n",
       "*** Begin Patch\n*** Delete File: a\n*** End Patch\n\n", "text"});
}

TEST(Lark, RulesThatBeginWithThemselvesAreRepetitions) {
  const std::string_view arithmetic = R"lark(
?start: sum
?sum: product | sum "+" product -> add | sum "-" product -> sub
?product: atom | product "*" atom
atom: NUMBER | "-" atom | "(" sum ")"
%import common.NUMBER
%import common.WS_INLINE
%ignore WS_INLINE
)lark";
  expect_texts(arithmetic,
               {"1", "1+2", " 1 + 2*3 - (4 - -5.5e-3)  ", "((7))", "1\t+\t2", "1-2-3", "- 4"},
               {"", " ", "1+", "(1", "1)", "a", "1++2", "1\n+2", "1 2", "5.5e"});
}

TEST(Lark, KnowsTerminalsRangesCountsAndOptionalParts) {
  const std::string_view text = R"lark(
start: KEY? pair~2..3 [TAIL] WORDS~2
KEY.2: "Key"i ":"
pair: "a".."c" /[xy]{2}/ | "\x41\u00e9\"\\\t"
TAIL: ("<" | /\//) DIGITS
DIGITS.-1: "0".."9"+
WORDS: /no/i "!"
)lark";
  expect_texts(text, {"kEy:axxbyyno!NO!", "axxcxy<12nO!No!", "A\u00e9\"\\\tbyyaxx/7no!no!"},
               {"axxno!no!", "axxbxxcxxaxxno!no!", "kEydxxaxxno!no!", "axxbxx<no!no!", "axxbxxno!",
                "dxxaxxno!no!", "axbxxno!no!"});
}

TEST(Lark, KnowsTheCommonTerminals) {
  const auto of = [](const std::string& name) {
    return "start: " + name + "\n%import common." + name + "\n";
  };
  expect_texts(of("ESCAPED_STRING"), {R"("")", R"("a\"b\\")", R"("\n")"},
               {R"(")", R"("\")", "\"a\nb\"", R"("a"b")"});
  expect_texts(of("SIGNED_NUMBER"), {"1", "-1.", "+.5", "1e9", "2.5E-3", "0012"},
               {"", "-", ".", "e9", "1e", "1.2.3"});
  expect_texts(of("FLOAT"), {"1.", ".5", "1e9", "1.5e+2"}, {"1", "1e", "."});
  expect_texts(of("CNAME"), {"_", "a1_B"}, {"1a", "", "a-b"});
  expect_texts(of("C_COMMENT"), {"/**/", "/* a * / **/", "/*\n*/"}, {"/*/", "/* */ */", "/*"});
  expect_texts(of("NEWLINE"), {"\n", "\r\n\n"}, {"", "\r", " \n"});
  expect_texts(
      "start: A B C\n%import common (DIGIT , LETTER)\n%import common.HEXDIGIT -> A\n"
      "B: DIGIT\nC: LETTER",
      {"f1z"}, {"g1z", "ffz", "f11"});
}

TEST(Lark, ErrorsSayWhatAndWhere) {
  const auto refuses = [](std::string_view text, const std::string& part,
                          ErrorCode code = ErrorCode::InvalidArgument) {
    return fails_with(code, part, [&] { parse_lark(text); });
  };
  EXPECT_TRUE(refuses("", "expected a rule named start"));
  EXPECT_TRUE(refuses("a: \"x\"", "expected a rule named start"));
  EXPECT_TRUE(refuses("start: a\nb: c", "\"a\" is not defined at line 1, column 8"));
  EXPECT_TRUE(refuses("start = \"a\"", "expected : after the name of a rule at line 1, column 7"));
  EXPECT_TRUE(refuses("start: (\"a\"\nb: \"c\"", "expected ) or a part of the rule"));
  EXPECT_TRUE(refuses("start: \"a", "expected the closing quote"));
  EXPECT_TRUE(refuses("start: /a", "expected the closing /"));
  EXPECT_TRUE(refuses("start: /a(/", "expected )"));
  EXPECT_TRUE(refuses("start: \"b\"..\"a\"", "the lower first"));
  EXPECT_TRUE(refuses("start: \"\\q\"", "unknown escape"));
  EXPECT_TRUE(refuses("start: \"a\"~3..2", "smaller than the first"));
  EXPECT_TRUE(refuses("start: \"a\"~", "expected a count"));
  EXPECT_TRUE(refuses("start: \"a\"\nstart: \"b\"", "defined twice"));
  EXPECT_TRUE(refuses("start: \"a\" )", "the end of the line"));
  EXPECT_TRUE(refuses("start: A\nA: b\nb: \"c\"", "made of terminals, not of rules at line 2"));
  EXPECT_TRUE(refuses("start: \"\xFF\"", "UTF-8"));
  for (const auto& [text, part] : std::vector<std::pair<const char*, const char*>>{
           {"%declare A\nstart: A", "only %ignore and %import"},
           {"%import python.NAME\nstart: NAME", "only terminals of common"},
           {"%import common.OTHER\nstart: OTHER", "common has no \"OTHER\""},
           {"start: pair{a}", "templates"},
           {"start: /a/s", "of the flags behind a terminal only iu"},
           {"start: /[^a]/i", "flag i is not supported beside [^...]"},
           {"start: /(?=a)/", "look-around"}}) {
    EXPECT_TRUE(refuses(text, part, ErrorCode::Unsupported)) << text;
  }
  EXPECT_TRUE(
      refuses("start: " + std::string(20'000, '('), "deeper than 100", ErrorCode::Unsupported));
}

TEST(Lark, EndlessRulesAreRefused) {
  const auto compile = [](std::string_view text) { Automaton automaton(parse_lark(text)); };
  for (const char* endless : {"start: start", "start: \"a\" start", "start: a\na: b\nb: a"}) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "no text satisfies it", [&] {
      compile(endless);
    })) << endless;
  }
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "begins with itself",
                         [&] { compile("start: a | \"x\"\na: start \"y\""); }));
}

}  // namespace
}  // namespace fathom::sampling
