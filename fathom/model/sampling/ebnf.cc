// Grammars in EBNF, in the dialect of llama.cpp's GBNF.
#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/sampling/front_ends.h"
#include "fathom/model/sampling/grammar_cursor.h"

namespace fathom::sampling {
namespace {

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class EbnfParser {
 public:
  explicit EbnfParser(std::string_view text) : cursor_(text, "grammar") {}

  Grammar parse() {
    skip_space();
    while (!cursor_.at_end()) {
      rule();
      skip_space();
    }
    for (const auto& [name, use] : first_uses_) {
      if (grammar_.rules[static_cast<std::size_t>(rules_.at(name))].expr < 0) {
        cursor_.go_to(use);
        cursor_.fail_here("rule " + formats::quote(name) + " is not defined");
      }
    }
    const auto root = rules_.find("root");
    if (root == rules_.end()) {
      fail(ErrorCode::InvalidArgument, "grammar: expected a rule named root, found none");
    }
    grammar_.root = root->second;
    return std::move(grammar_);
  }

 private:
  // Line ends are space too: a rule ends where the next one begins.
  void skip_space() {
    do {
      cursor_.take_while([](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; });
      if (cursor_.sees("#")) {
        cursor_.skip_line();
      }
    } while (cursor_.sees("\n"));
  }

  std::string name() {
    const std::string_view letters = cursor_.take_while(is_name_char);
    if (letters.empty()) {
      cursor_.fail_here("expected the name of a rule");
    }
    return std::string(letters);
  }

  RuleId rule_named(const std::string& name) {
    const auto [found, is_first] = rules_.try_emplace(name, 0);
    if (is_first) {
      found->second = grammar_.add_rule(name);
    }
    return found->second;
  }

  void rule() {
    const std::string rule_name = name();
    skip_space();
    if (!cursor_.take("::=")) {
      cursor_.fail_here("expected ::= after the name of a rule");
    }
    const RuleId rule = rule_named(rule_name);
    if (grammar_.rules[static_cast<std::size_t>(rule)].expr >= 0) {
      cursor_.fail_here("rule " + formats::quote(rule_name) + " is defined twice");
    }
    skip_space();
    const ExprId expr = alternatives();
    if (!cursor_.at_end() && !begins_rule()) {
      cursor_.fail_here("expected a part of the rule or the next rule");
    }
    grammar_.define(rule, expr);
  }

  ExprId alternatives() {
    std::vector<ExprId> choices;
    while (true) {
      choices.push_back(sequence());
      if (!cursor_.take("|")) {
        return grammar_.choice(std::move(choices));
      }
      skip_space();
    }
  }

  bool begins_rule() {
    const std::size_t kept = cursor_.offset();
    const bool has_name = !cursor_.take_while(is_name_char).empty();
    skip_space();
    const bool result = has_name && cursor_.sees("::=");
    cursor_.go_to(kept);
    return result;
  }

  ExprId sequence() {
    std::vector<ExprId> parts;
    while (!cursor_.at_end() && !begins_rule()) {
      const char c = cursor_.peek();
      if (c == '"') {
        parts.push_back(string());
      } else if (c == '[') {
        parts.push_back(character_class());
      } else if (c == '(') {
        parts.push_back(group());
      } else if (c == '.') {
        cursor_.take(".");
        parts.push_back(grammar_.code_points({{0, kLastCodePoint}}));
      } else if (is_name_char(c)) {
        const std::size_t begin = cursor_.offset();
        const std::string used = name();
        first_uses_.try_emplace(used, begin);
        parts.push_back(grammar_.reference(rule_named(used)));
      } else {
        break;
      }
      parts.back() = repeated(parts.back());
    }
    return grammar_.sequence(std::move(parts));
  }

  ExprId group() {
    cursor_.take("(");
    if (++depth_ > kMaxConstraintDepth) {
      cursor_.fail_here("nested deeper than 100", ErrorCode::Unsupported);
    }
    skip_space();
    const ExprId expr = alternatives();
    --depth_;
    if (!cursor_.take(")")) {
      cursor_.fail_here("expected )");
    }
    return expr;
  }

  ExprId repeated(ExprId part) {
    for (int count = 0;; ++count) {
      skip_space();
      if (cursor_.take("*")) {
        part = grammar_.repeat(part, 0, Grammar::kNoLimit);
      } else if (cursor_.take("+")) {
        part = grammar_.repeat(part, 1, Grammar::kNoLimit);
      } else if (cursor_.take("?")) {
        part = grammar_.optional(part);
      } else if (cursor_.take("{")) {
        part = bounded(part);
      } else {
        return part;
      }
      if (count >= kMaxConstraintDepth) {
        cursor_.fail_here("more than 100 repetitions in a row", ErrorCode::Unsupported);
      }
    }
  }

  Index count() {
    skip_space();
    const Index value = cursor_.take_count();
    skip_space();
    return value;
  }

  ExprId bounded(ExprId part) {
    const Index first = count();
    const bool has_comma = cursor_.take(",");
    if (first < 0 && !has_comma) {
      cursor_.fail_here("expected a count after {");
    }
    const Index min = std::max<Index>(first, 0);
    const Index max = has_comma ? count() : min;
    if (!cursor_.take("}")) {
      cursor_.fail_here("expected }");
    }
    if (max >= 0 && max < min) {
      cursor_.fail_here("the second count of {m,n} is smaller than the first");
    }
    return grammar_.repeat(part, min, max < 0 ? Grammar::kNoLimit : max);
  }

  std::uint32_t character() {
    if (cursor_.sees("\n") || cursor_.sees("\r")) {
      cursor_.fail_here("expected the closing quote or bracket before the end of the line");
    }
    if (!cursor_.take("\\")) {
      return cursor_.take_code_point();
    }
    if (cursor_.at_end()) {
      cursor_.fail_here("expected a character after the backslash");
    }
    const std::uint32_t letter = cursor_.take_code_point();
    switch (letter) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'x':
        return cursor_.take_hexadecimal(2);
      case 'u':
        return cursor_.take_hexadecimal(4);
      case 'U':
        return cursor_.take_hexadecimal(8);
      default:
        break;
    }
    constexpr std::string_view kPlain = "\\\"'[]-^/.|(){}*+? ";
    if (letter > 0x7F || kPlain.find(static_cast<char>(letter)) == std::string_view::npos) {
      cursor_.fail_here("unknown escape");
    }
    return letter;
  }

  ExprId string() {
    cursor_.take("\"");
    std::string text;
    while (!cursor_.sees("\"")) {
      if (cursor_.at_end()) {
        cursor_.fail_here("expected \"");
      }
      text += utf8_of(character());
    }
    cursor_.take("\"");
    return grammar_.literal(text);
  }

  ExprId character_class() {
    cursor_.take("[");
    const bool is_negated = cursor_.take("^");
    std::vector<CodePointRange> ranges;
    while (!cursor_.sees("]")) {
      if (cursor_.at_end()) {
        cursor_.fail_here("expected ]");
      }
      const std::uint32_t low = character();
      std::uint32_t high = low;
      if (cursor_.sees("-") && !cursor_.sees("-]")) {
        cursor_.take("-");
        if (cursor_.at_end()) {
          cursor_.fail_here("expected ]");
        }
        high = character();
        if (high < low) {
          cursor_.fail_here("the range of a class ends before it begins");
        }
      }
      ranges.push_back({low, high});
    }
    cursor_.take("]");
    return grammar_.code_points(is_negated ? complement(ranges) : ranges);
  }

  GrammarCursor cursor_;
  Index depth_ = 0;
  Grammar grammar_;
  std::map<std::string, RuleId> rules_;
  std::map<std::string, std::size_t> first_uses_;
};

}  // namespace

Grammar parse_ebnf(std::string_view text) {
  check_constraint_text(text, "grammar");
  return EbnfParser(text).parse();
}

}  // namespace fathom::sampling
