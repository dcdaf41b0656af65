// Grammars in the notation of PyPI lark, which OpenAI's custom tools use. A text is legal if the
// rules can be read as it: which of several terminals lark's lexer would prefer is not looked at.
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/sampling/front_ends.h"
#include "fathom/model/sampling/grammar_cursor.h"

namespace fathom::sampling {
namespace {

struct CommonTerminal {
  std::string_view name;
  std::string_view pattern;
};
// Of lark's library `common`.
constexpr auto kCommon = std::to_array<CommonTerminal>({
    {"DIGIT", "[0-9]"},
    {"HEXDIGIT", "[0-9A-Fa-f]"},
    {"INT", "[0-9]+"},
    {"SIGNED_INT", "[+-]?[0-9]+"},
    {"DECIMAL", R"([0-9]+\.[0-9]*|\.[0-9]+)"},
    {"FLOAT", R"([0-9]+[Ee][+-]?[0-9]+|([0-9]+\.[0-9]*|\.[0-9]+)([Ee][+-]?[0-9]+)?)"},
    {"SIGNED_FLOAT", R"([+-]?([0-9]+[Ee][+-]?[0-9]+|([0-9]+\.[0-9]*|\.[0-9]+)([Ee][+-]?[0-9]+)?))"},
    {"NUMBER", R"(([0-9]+(\.[0-9]*)?|\.[0-9]+)([Ee][+-]?[0-9]+)?)"},
    {"SIGNED_NUMBER", R"([+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([Ee][+-]?[0-9]+)?)"},
    {"ESCAPED_STRING", R"("([^"\\\n]|\\[^\n])*")"},
    {"LCASE_LETTER", "[a-z]"},
    {"UCASE_LETTER", "[A-Z]"},
    {"LETTER", "[A-Za-z]"},
    {"WORD", "[A-Za-z]+"},
    {"CNAME", "[A-Za-z_][A-Za-z0-9_]*"},
    {"WS_INLINE", R"([ \t]+)"},
    {"WS", R"([ \t\f\r\n]+)"},
    {"CR", R"(\r)"},
    {"LF", R"(\n)"},
    {"NEWLINE", R"((\r?\n)+)"},
    {"SH_COMMENT", R"(#[^\n]*)"},
    {"CPP_COMMENT", R"(//[^\n]*)"},
    {"C_COMMENT", R"(/\*([^*]|\*+[^*/])*\*+/)"},
    {"SQL_COMMENT", R"(--[^\n]*)"},
});

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// Names of terminals are in capitals, names of rules are not.
bool is_terminal_name(std::string_view name) {
  const std::size_t first = name.find_first_not_of('_');
  return first != std::string_view::npos && name[first] >= 'A' && name[first] <= 'Z';
}

std::vector<CodePointRange> with_other_case(std::vector<CodePointRange> ranges) {
  constexpr std::uint32_t kToLower = 'a' - 'A';
  const std::size_t count = ranges.size();
  for (std::size_t idx = 0; idx < count; ++idx) {
    const auto [low, high] = ranges[idx];
    const auto add_cased = [&](std::uint32_t first, std::uint32_t last, std::uint32_t offset) {
      if (std::max(low, first) <= std::min(high, last)) {
        ranges.push_back({std::max(low, first) + offset, std::min(high, last) + offset});
      }
    };
    add_cased('A', 'Z', kToLower);
    add_cased('a', 'z', -kToLower);
  }
  return ranges;
}

class LarkParser {
 public:
  LarkParser(Grammar& grammar,
             std::string_view text,
             const CodePointsToExpr& spell,
             std::string_view where)
      : grammar_(grammar), spell_(spell), where_(where), cursor_(text, where_) {}

  ExprId parse() {
    ignored_ = grammar_.add_rule("%ignore");
    skip_lines();
    while (!cursor_.at_end()) {
      statement();
      skip_lines();
    }
    for (const auto& [name, symbol] : symbols_) {
      if (!is_defined(symbol.rule)) {
        cursor_.go_to(symbol.first_use);
        cursor_.fail_here(formats::quote(name) + " is not defined");
      }
    }
    const auto start = symbols_.find("start");
    if (start == symbols_.end()) {
      fail(ErrorCode::InvalidArgument, where_, ": expected a rule named start, found none");
    }
    const ExprId ignored = grammar_.choice(std::move(ignored_parts_));
    grammar_.define(ignored_, grammar_.repeat(ignored, 0, Grammar::kNoLimit));
    return grammar_.sequence(
        {grammar_.reference(ignored_), grammar_.reference(start->second.rule)});
  }

 private:
  struct Symbol {
    RuleId rule = 0;
    std::size_t first_use = 0;
  };
  static constexpr RuleId kNoRule = -1;

  bool is_defined(RuleId rule) const {
    return grammar_.rules[static_cast<std::size_t>(rule)].expr >= 0;
  }

  void skip_blanks() {
    cursor_.take_while([](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\f'; });
  }

  // Blanks, line ends and comments.
  void skip_lines() {
    do {
      skip_blanks();
      if (cursor_.sees("//") || cursor_.sees("#")) {
        cursor_.skip_line();
      }
    } while (cursor_.take("\n"));
  }

  // Line ends only where the statement goes on behind them: inside brackets, and in front of a |.
  void skip_space() {
    skip_blanks();
    const std::size_t kept = cursor_.offset();
    skip_lines();
    if (depth_ == 0 && !cursor_.sees("|")) {
      cursor_.go_to(kept);
    }
  }

  void expect(std::string_view what, const std::string& place) {
    if (!cursor_.take(what)) {
      cursor_.fail_here("expected " + std::string(what) + " " + place);
    }
  }

  std::string name() {
    const std::string_view letters = cursor_.take_while(is_name_char);
    if (letters.empty()) {
      cursor_.fail_here("expected the name of a rule or of a terminal");
    }
    return std::string(letters);
  }

  Symbol& symbol_named(const std::string& name, std::size_t offset) {
    const auto [found, is_first] = symbols_.try_emplace(name, Symbol{.first_use = offset});
    if (is_first) {
      found->second.rule = grammar_.add_rule(name);
    }
    return found->second;
  }

  void define(const std::string& name, RuleId rule, ExprId expr) {
    if (is_defined(rule)) {
      cursor_.fail_here(formats::quote(name) + " is defined twice");
    }
    grammar_.define(rule, expr);
  }

  void statement() {
    if (cursor_.take("%")) {
      directive();
    } else {
      definition();
    }
    skip_blanks();
    if (!cursor_.at_end() && !cursor_.sees("\n") && !cursor_.sees("//") && !cursor_.sees("#")) {
      cursor_.fail_here("expected a part of the rule or the end of the line");
    }
  }

  void directive() {
    if (cursor_.take("ignore")) {
      in_terminal_ = true;
      ignored_parts_.push_back(alternatives());
    } else if (cursor_.take("import")) {
      import();
    } else {
      cursor_.fail_here("of lines that begin with %, only %ignore and %import are supported",
                        ErrorCode::Unsupported);
    }
  }

  void import() {
    skip_blanks();
    if (!cursor_.take("common")) {
      cursor_.fail_here("only terminals of common can be imported", ErrorCode::Unsupported);
    }
    skip_blanks();
    if (cursor_.take(".")) {
      const CommonTerminal& terminal = common_terminal();
      skip_blanks();
      if (cursor_.take("->")) {
        skip_blanks();
        import_as(name(), terminal);
      } else {
        import_as(std::string(terminal.name), terminal);
      }
      return;
    }
    expect("(", "or . after common");
    do {
      skip_blanks();
      const CommonTerminal& terminal = common_terminal();
      import_as(std::string(terminal.name), terminal);
      skip_blanks();
    } while (cursor_.take(","));
    expect(")", "after the names");
  }

  const CommonTerminal& common_terminal() {
    const std::size_t begin = cursor_.offset();
    const std::string wanted = name();
    const auto* const found =
        std::find_if(kCommon.begin(), kCommon.end(),
                     [&](const CommonTerminal& terminal) { return terminal.name == wanted; });
    if (found == kCommon.end()) {
      cursor_.go_to(begin);
      cursor_.fail_here("common has no " + formats::quote(wanted) + " that is supported",
                        ErrorCode::Unsupported);
    }
    return *found;
  }

  void import_as(const std::string& name, const CommonTerminal& terminal) {
    if (!is_terminal_name(name)) {
      cursor_.fail_here("expected the name of a terminal, in capitals");
    }
    define(name, symbol_named(name, cursor_.offset()).rule,
           add_regex(grammar_, terminal.pattern, RegexMatch::Whole, spell_, where_));
  }

  void definition() {
    // Marks of how lark makes trees: the texts are the same.
    cursor_.take_while([](char c) { return c == '?' || c == '!'; });
    const std::size_t begin = cursor_.offset();
    const std::string defined = name();
    const RuleId rule = symbol_named(defined, begin).rule;
    skip_blanks();
    if (cursor_.take(".")) {  // a priority
      cursor_.take("-");
      if (cursor_.take_count() < 0) {
        cursor_.fail_here("expected a number after .");
      }
      skip_blanks();
    }
    if (cursor_.sees("{")) {
      cursor_.fail_here("templates are not supported", ErrorCode::Unsupported);
    }
    expect(":", "after the name of a rule");
    in_terminal_ = is_terminal_name(defined);
    define(defined, rule, alternatives(rule));
  }

  // One of several sequences. Those of rule `self` that begin with itself (`sum: sum "+" one |
  // one`) say what may follow one of the others, again and again.
  ExprId alternatives(RuleId self = kNoRule) {
    std::vector<ExprId> firsts;
    std::vector<ExprId> followers;
    do {
      std::vector<ExprId> parts = sequence();
      if (!parts.empty() && is_reference(parts.front(), self)) {
        parts.erase(parts.begin());
        followers.push_back(grammar_.sequence(std::move(parts)));
      } else {
        firsts.push_back(grammar_.sequence(std::move(parts)));
      }
      if (cursor_.take("->")) {
        skip_blanks();
        name();
        skip_space();
      }
    } while (cursor_.take("|"));
    const ExprId first = grammar_.choice(std::move(firsts));
    return followers.empty()
               ? first
               : grammar_.sequence({first, grammar_.repeat(grammar_.choice(std::move(followers)), 0,
                                                           Grammar::kNoLimit)});
  }

  bool is_reference(ExprId expr, RuleId rule) const {
    const Grammar::Expr& what = grammar_.exprs[static_cast<std::size_t>(expr)];
    return what.kind == Grammar::Kind::Rule && what.rule == rule;
  }

  std::vector<ExprId> sequence() {
    std::vector<ExprId> parts;
    while (true) {
      skip_space();
      const char c = cursor_.peek();
      if (c != '"' && c != '/' && c != '(' && c != '[' && !is_name_char(c)) {
        return parts;
      }
      if (cursor_.sees("//")) {
        return parts;
      }
      const ExprId part = item();
      skip_space();
      parts.push_back(repeated(part));
    }
  }

  ExprId item() {
    if (cursor_.take("(")) {
      return group(")");
    }
    if (cursor_.take("[")) {
      return grammar_.optional(group("]"));
    }
    if (cursor_.take("\"")) {
      return token(string());
    }
    if (cursor_.take("/")) {
      return token(regex());
    }
    const std::size_t begin = cursor_.offset();
    const std::string used = name();
    const bool is_terminal = is_terminal_name(used);
    if (in_terminal_ && !is_terminal) {
      cursor_.go_to(begin);
      cursor_.fail_here("a terminal is made of terminals, not of rules");
    }
    if (cursor_.sees("{")) {
      cursor_.fail_here("templates are not supported", ErrorCode::Unsupported);
    }
    const ExprId expr = grammar_.reference(symbol_named(used, begin).rule);
    return is_terminal ? token(expr) : expr;
  }

  // What is ignored may stand behind each terminal of a rule.
  ExprId token(ExprId terminal) {
    return in_terminal_ ? terminal : grammar_.sequence({terminal, grammar_.reference(ignored_)});
  }

  ExprId group(std::string_view close) {
    if (++depth_ > kMaxConstraintDepth) {
      cursor_.fail_here("nested deeper than 100", ErrorCode::Unsupported);
    }
    const ExprId expr = alternatives();
    expect(close, "or a part of the rule");
    --depth_;
    return expr;
  }

  ExprId repeated(ExprId part) {
    if (cursor_.take("*")) {
      return grammar_.repeat(part, 0, Grammar::kNoLimit);
    }
    if (cursor_.take("+")) {
      return grammar_.repeat(part, 1, Grammar::kNoLimit);
    }
    if (cursor_.take("?")) {
      return grammar_.optional(part);
    }
    if (!cursor_.take("~")) {
      return part;
    }
    const auto count = [this] {
      skip_blanks();
      const Index value = cursor_.take_count();
      if (value < 0) {
        cursor_.fail_here("expected a count");
      }
      return value;
    };
    const Index min = count();
    skip_blanks();
    const Index max = cursor_.take("..") ? count() : min;
    if (max < min) {
      cursor_.fail_here("the second count is smaller than the first");
    }
    return grammar_.repeat(part, min, max);
  }

  // Behind the first quote: a text, or the first of a range of characters.
  ExprId string() {
    const std::vector<std::uint32_t> text = quoted();
    if (cursor_.take("..")) {
      expect("\"", "after ..");
      const std::vector<std::uint32_t> last = quoted();
      if (text.size() != 1 || last.size() != 1 || last.front() < text.front()) {
        cursor_.fail_here("expected one character on each side of .., the lower first");
      }
      return spell_({{text.front(), last.front()}});
    }
    const bool is_any_case = flags("i").find('i') != std::string_view::npos;
    std::vector<ExprId> letters;
    for (const std::uint32_t letter : text) {
      letters.push_back(spell_(is_any_case ? with_other_case({{letter, letter}})
                                           : std::vector<CodePointRange>{{letter, letter}}));
    }
    return grammar_.sequence(std::move(letters));
  }

  std::vector<std::uint32_t> quoted() {
    std::vector<std::uint32_t> text;
    while (!cursor_.take("\"")) {
      if (cursor_.at_end() || cursor_.sees("\n")) {
        cursor_.fail_here("expected the closing quote before the end of the line");
      }
      const std::uint32_t letter = cursor_.take_code_point();
      text.push_back(letter == '\\' ? escaped() : letter);
    }
    return text;
  }

  std::uint32_t escaped() {
    constexpr std::string_view kLetters = "ntrf\\\"";
    constexpr std::string_view kMeanings = "\n\t\r\f\\\"";
    const char letter = cursor_.peek();
    const std::size_t known = kLetters.find(letter);
    if (known != std::string_view::npos) {
      cursor_.take(kLetters.substr(known, 1));
      return static_cast<std::uint32_t>(kMeanings[known]);
    }
    if (cursor_.take("x")) {
      return cursor_.take_hexadecimal(2);
    }
    if (cursor_.take("u")) {
      return cursor_.take_hexadecimal(4);
    }
    if (cursor_.take("U")) {
      return cursor_.take_hexadecimal(8);
    }
    cursor_.fail_here("unknown escape");
  }

  // Behind the first slash.
  ExprId regex() {
    std::string pattern;
    while (!cursor_.take("/")) {
      if (cursor_.at_end() || cursor_.sees("\n")) {
        cursor_.fail_here("expected the closing / before the end of the line");
      }
      const bool is_escape = cursor_.sees("\\");
      pattern += utf8_of(cursor_.take_code_point());
      if (is_escape && !cursor_.at_end() && !cursor_.sees("\n")) {
        pattern += utf8_of(cursor_.take_code_point());
      }
    }
    if (flags("iu").find('i') == std::string_view::npos) {
      return add_regex(grammar_, pattern, RegexMatch::Whole, spell_, where_);
    }
    if (pattern.find("[^") != std::string::npos) {
      cursor_.fail_here("flag i is not supported beside [^...]", ErrorCode::Unsupported);
    }
    const auto spell = [this](const std::vector<CodePointRange>& ranges) {
      return spell_(with_other_case(ranges));
    };
    return add_regex(grammar_, pattern, RegexMatch::Whole, spell, where_);
  }

  std::string_view flags(std::string_view supported) {
    const std::string_view found = cursor_.take_while(is_name_char);
    if (found.find_first_not_of(supported) != std::string_view::npos) {
      cursor_.fail_here(
          "of the flags behind a terminal only " + std::string(supported) + " is supported",
          ErrorCode::Unsupported);
    }
    return found;
  }

  Grammar& grammar_;
  const CodePointsToExpr& spell_;
  std::string where_;
  GrammarCursor cursor_;
  Index depth_ = 0;
  bool in_terminal_ = false;
  std::map<std::string, Symbol> symbols_;
  RuleId ignored_ = 0;
  std::vector<ExprId> ignored_parts_;
};

}  // namespace

ExprId add_lark(Grammar& grammar,
                std::string_view text,
                const CodePointsToExpr& spell,
                std::string_view where) {
  check_constraint_text(text, where);
  return LarkParser(grammar, text, spell, where).parse();
}

Grammar parse_lark(std::string_view text) {
  Grammar grammar;
  const auto spell = [&](const std::vector<CodePointRange>& ranges) {
    return grammar.code_points(ranges);
  };
  const ExprId whole = add_lark(grammar, text, spell, "grammar");
  grammar.root = grammar.add_rule("whole text");
  grammar.define(grammar.root, whole);
  return grammar;
}

}  // namespace fathom::sampling
