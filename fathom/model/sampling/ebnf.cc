// Grammars in EBNF, in the dialect of llama.cpp's GBNF.
#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/sampling/front_ends.h"

namespace fathom::sampling {
namespace {

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class EbnfParser {
 public:
  explicit EbnfParser(std::string_view text) : text_(text) {}

  Grammar parse() {
    skip_space();
    while (offset_ < text_.size()) {
      rule();
      skip_space();
    }
    for (const auto& [name, use] : first_uses_) {
      if (grammar_.rules[static_cast<std::size_t>(rules_.at(name))].expr < 0) {
        offset_ = use;
        fail_here("rule " + formats::quote(name) + " is not defined");
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
  [[noreturn]] void fail_here(const std::string& problem,
                              ErrorCode code = ErrorCode::InvalidArgument) const {
    const std::string_view before = text_.substr(0, offset_);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const auto line_begin = before.rfind('\n');
    const std::size_t column =
        line_begin == std::string_view::npos ? before.size() + 1 : before.size() - line_begin;
    fail(code, "grammar: ", problem, " at line ", line, ", column ", column);
  }

  bool at_end() const { return offset_ >= text_.size(); }
  bool sees(char c) const { return !at_end() && text_[offset_] == c; }
  bool take(char c) {
    if (!sees(c)) {
      return false;
    }
    ++offset_;
    return true;
  }

  // Line ends are space too: a rule ends where the next one begins.
  void skip_space() {
    while (!at_end()) {
      const char c = text_[offset_];
      if (c == '#') {
        offset_ = std::min(text_.find('\n', offset_), text_.size());
      } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        ++offset_;
      } else {
        break;
      }
    }
  }

  std::string name() {
    const std::size_t begin = offset_;
    while (!at_end() && is_name_char(text_[offset_])) {
      ++offset_;
    }
    if (begin == offset_) {
      fail_here("expected the name of a rule");
    }
    return std::string(text_.substr(begin, offset_ - begin));
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
    if (text_.substr(offset_, 3) != "::=") {
      fail_here("expected ::= after the name of a rule");
    }
    offset_ += 3;
    const RuleId rule = rule_named(rule_name);
    if (grammar_.rules[static_cast<std::size_t>(rule)].expr >= 0) {
      fail_here("rule " + formats::quote(rule_name) + " is defined twice");
    }
    skip_space();
    const ExprId expr = alternatives();
    if (!at_end() && !begins_rule()) {
      fail_here("expected a part of the rule or the next rule");
    }
    grammar_.define(rule, expr);
  }

  ExprId alternatives() {
    std::vector<ExprId> choices;
    while (true) {
      choices.push_back(sequence());
      if (!take('|')) {
        return grammar_.choice(std::move(choices));
      }
      skip_space();
    }
  }

  bool begins_rule() {
    const std::size_t kept = offset_;
    while (!at_end() && is_name_char(text_[offset_])) {
      ++offset_;
    }
    skip_space();
    const bool result = offset_ > kept && text_.substr(offset_, 3) == "::=";
    offset_ = kept;
    return result;
  }

  ExprId sequence() {
    std::vector<ExprId> parts;
    while (!at_end() && !begins_rule()) {
      const char c = text_[offset_];
      if (c == '"') {
        parts.push_back(string());
      } else if (c == '[') {
        parts.push_back(character_class());
      } else if (c == '(') {
        parts.push_back(group());
      } else if (c == '.') {
        ++offset_;
        parts.push_back(grammar_.code_points({{0, kLastCodePoint}}));
      } else if (is_name_char(c)) {
        const std::size_t begin = offset_;
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
    ++offset_;
    if (++depth_ > kMaxConstraintDepth) {
      fail_here("nested deeper than 100", ErrorCode::Unsupported);
    }
    skip_space();
    const ExprId expr = alternatives();
    --depth_;
    if (!take(')')) {
      fail_here("expected )");
    }
    return expr;
  }

  ExprId repeated(ExprId part) {
    for (int count = 0;; ++count) {
      skip_space();
      if (take('*')) {
        part = grammar_.repeat(part, 0, Grammar::kNoLimit);
      } else if (take('+')) {
        part = grammar_.repeat(part, 1, Grammar::kNoLimit);
      } else if (take('?')) {
        part = grammar_.optional(part);
      } else if (take('{')) {
        part = bounded(part);
      } else {
        return part;
      }
      if (count >= kMaxConstraintDepth) {
        fail_here("more than 100 repetitions in a row", ErrorCode::Unsupported);
      }
    }
  }

  Index count() {
    skip_space();
    if (at_end() || text_[offset_] < '0' || text_[offset_] > '9') {
      return -1;
    }
    Index value = 0;
    while (!at_end() && text_[offset_] >= '0' && text_[offset_] <= '9') {
      value = std::min(value * 10 + (text_[offset_] - '0'), kMaxRepetition + 1);
      ++offset_;
    }
    if (value > kMaxRepetition) {
      fail_here("repetition beyond 1,000,000", ErrorCode::Unsupported);
    }
    skip_space();
    return value;
  }

  ExprId bounded(ExprId part) {
    const Index first = count();
    const bool has_comma = take(',');
    if (first < 0 && !has_comma) {
      fail_here("expected a count after {");
    }
    const Index min = std::max<Index>(first, 0);
    const Index max = has_comma ? count() : min;
    if (!take('}')) {
      fail_here("expected }");
    }
    if (max >= 0 && max < min) {
      fail_here("the second count of {m,n} is smaller than the first");
    }
    return grammar_.repeat(part, min, max < 0 ? Grammar::kNoLimit : max);
  }

  std::uint32_t character() {
    const auto read = [&] {
      const auto code_point = next_code_point(text_, offset_);
      if (!code_point.has_value()) {
        fail_here("expected UTF-8");
      }
      return *code_point;
    };
    if (sees('\n') || sees('\r')) {
      fail_here("expected the closing quote or bracket before the end of the line");
    }
    if (!take('\\')) {
      return read();
    }
    if (at_end()) {
      fail_here("expected a character after the backslash");
    }
    const std::uint32_t letter = read();
    switch (letter) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'x':
        return hexadecimal(2);
      case 'u':
        return hexadecimal(4);
      case 'U':
        return hexadecimal(8);
      default:
        break;
    }
    constexpr std::string_view kPlain = "\\\"'[]-^/.|(){}*+? ";
    if (letter > 0x7F || kPlain.find(static_cast<char>(letter)) == std::string_view::npos) {
      fail_here("unknown escape");
    }
    return letter;
  }

  std::uint32_t hexadecimal(std::size_t num_digits) {
    const std::string digits(text_.substr(offset_, num_digits));
    if (digits.size() < num_digits ||
        digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) {
      fail_here("expected hexadecimal digits");
    }
    const auto value = static_cast<std::uint32_t>(std::stoul(digits, nullptr, 16));
    if (value > kLastCodePoint || (value >= 0xD800 && value <= 0xDFFF)) {
      fail_here("the escape is no Unicode character");
    }
    offset_ += num_digits;
    return value;
  }

  ExprId string() {
    ++offset_;
    std::string text;
    while (!sees('"')) {
      if (at_end()) {
        fail_here("expected \"");
      }
      text += utf8_of(character());
    }
    ++offset_;
    return grammar_.literal(text);
  }

  ExprId character_class() {
    ++offset_;
    const bool is_negated = take('^');
    std::vector<CodePointRange> ranges;
    while (!sees(']')) {
      if (at_end()) {
        fail_here("expected ]");
      }
      const std::uint32_t low = character();
      std::uint32_t high = low;
      if (sees('-') && text_.substr(offset_, 2) != "-]") {
        ++offset_;
        if (at_end()) {
          fail_here("expected ]");
        }
        high = character();
        if (high < low) {
          fail_here("the range of a class ends before it begins");
        }
      }
      ranges.push_back({low, high});
    }
    ++offset_;
    return grammar_.code_points(is_negated ? complement(ranges) : ranges);
  }

  std::string_view text_;
  std::size_t offset_ = 0;
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
