// Regular expressions, read by recursive descent. Only regular ones: what needs memory or looks
// around (back references, look-ahead, word borders) is refused.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/sampling/front_ends.h"

namespace fathom::sampling {
namespace {

using Ranges = std::vector<CodePointRange>;

const Ranges kDigits = {{'0', '9'}};
const Ranges kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
// ECMA 262: white space and line terminators.
const Ranges kSpace = {{0x9, 0xD},       {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680},
                       {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                       {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
const Ranges kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
const Ranges kEverything = {{0, kLastCodePoint}};

class RegexParser {
 public:
  RegexParser(Grammar& grammar,
              std::string_view pattern,
              RegexMatch match,
              const CodePointsToExpr& spell,
              std::string_view where)
      : grammar_(grammar), pattern_(pattern), match_(match), spell_(spell), where_(where) {}

  ExprId parse() {
    const ExprId expr = alternatives(true);
    if (offset_ < pattern_.size()) {
      fail_here("found a ) without its (");
    }
    return expr;
  }

 private:
  [[noreturn]] void fail_here(std::string_view problem,
                              ErrorCode code = ErrorCode::InvalidArgument) const {
    fail(code, where_, ": ", problem, " at byte ", offset_, " of ", formats::quote(pattern_));
  }

  bool at_end() const { return offset_ >= pattern_.size(); }
  bool sees(std::string_view text) const { return pattern_.substr(offset_).starts_with(text); }
  bool take(std::string_view text) {
    if (!sees(text)) {
      return false;
    }
    offset_ += text.size();
    return true;
  }

  std::uint32_t take_code_point() {
    const auto code_point = next_code_point(pattern_, offset_);
    if (!code_point.has_value()) {
      fail_here("expected UTF-8");
    }
    return *code_point;
  }

  ExprId alternatives(bool is_outermost) {
    std::vector<ExprId> choices;
    do {
      choices.push_back(one_alternative(is_outermost));
    } while (take("|"));
    return grammar_.choice(std::move(choices));
  }

  ExprId one_alternative(bool is_outermost) {
    std::vector<ExprId> parts;
    const bool is_search = is_outermost && match_ == RegexMatch::Search;
    if (is_outermost ? !take("^") : sees("^")) {
      if (!is_outermost) {
        fail_here("^ is supported only at the beginning of the pattern", ErrorCode::Unsupported);
      }
      if (is_search) {
        parts.push_back(anything());
      }
    }
    bool is_anchored = false;
    while (!at_end() && !sees("|") && !sees(")")) {
      if (is_outermost && take("$")) {
        is_anchored = true;
        if (!at_end() && !sees("|")) {
          fail_here("$ is supported only at the end of the pattern", ErrorCode::Unsupported);
        }
        break;
      }
      parts.push_back(repeated());
    }
    if (is_search && !is_anchored) {
      parts.push_back(anything());
    }
    return grammar_.sequence(std::move(parts));
  }

  ExprId anything() { return grammar_.repeat(spell_(kEverything), 0, Grammar::kNoLimit); }

  ExprId repeated() {
    ExprId part = atom();
    while (!at_end()) {
      Index min = 0;
      Index max = Grammar::kNoLimit;
      if (take("*")) {
      } else if (take("+")) {
        min = 1;
      } else if (take("?")) {
        max = 1;
      } else if (sees("{")) {
        read_bounds(min, max);
      } else {
        break;
      }
      part = grammar_.repeat(part, min, max);
      take("?");  // lazy: the same texts
      if (sees("*") || sees("+") || sees("?") || sees("{")) {
        fail_here("found two repetitions in a row");
      }
    }
    return part;
  }

  std::optional<Index> read_count() {
    if (at_end() || pattern_[offset_] < '0' || pattern_[offset_] > '9') {
      return std::nullopt;
    }
    Index count = 0;
    while (!at_end() && pattern_[offset_] >= '0' && pattern_[offset_] <= '9') {
      count = std::min(count * 10 + (pattern_[offset_] - '0'), kMaxRepetition + 1);
      ++offset_;
    }
    if (count > kMaxRepetition) {
      fail_here("repetition beyond 1,000,000", ErrorCode::Unsupported);
    }
    return count;
  }

  void read_bounds(Index& min, Index& max) {
    take("{");
    const auto first = read_count();
    if (!first.has_value() && !sees(",")) {
      fail_here("expected a count after {");
    }
    min = first.value_or(0);
    max = min;
    if (take(",")) {
      max = read_count().value_or(Grammar::kNoLimit);
    }
    if (!take("}")) {
      fail_here("expected }");
    }
    if (max != Grammar::kNoLimit && max < min) {
      fail_here("the second count of {m,n} is smaller than the first");
    }
  }

  ExprId atom() {
    if (take("(")) {
      return group();
    }
    if (take("[")) {
      return spell_(character_class());
    }
    if (take(".")) {
      return spell_(complement(kLineEnds));
    }
    if (sees("*") || sees("+") || sees("?") || sees("{")) {
      fail_here("found a repetition of nothing");
    }
    if (sees("^") || sees("$")) {
      fail_here("^ and $ are supported only at the ends of the pattern", ErrorCode::Unsupported);
    }
    if (take("\\")) {
      return spell_(escape(false));
    }
    const std::uint32_t code_point = take_code_point();
    return spell_({{code_point, code_point}});
  }

  ExprId group() {
    if (take("?")) {
      const bool is_named = (sees("<") && !sees("<=") && !sees("<!")) || sees("P<");
      if (is_named) {
        const auto end = pattern_.find('>', offset_);
        if (end == std::string_view::npos) {
          fail_here("expected > after the name of a group");
        }
        offset_ = end + 1;
      } else if (!take(":")) {
        fail_here("look-around and flags are not supported", ErrorCode::Unsupported);
      }
    }
    if (++depth_ > kMaxConstraintDepth) {
      fail_here("nested deeper than 100", ErrorCode::Unsupported);
    }
    const ExprId expr = alternatives(false);
    --depth_;
    if (!take(")")) {
      fail_here("expected )");
    }
    return expr;
  }

  std::uint32_t read_hex(std::size_t num_digits) {
    const std::string digits(pattern_.substr(offset_, num_digits));
    if (digits.size() < num_digits ||
        digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) {
      fail_here("expected hexadecimal digits");
    }
    offset_ += num_digits;
    return static_cast<std::uint32_t>(std::stoul(digits, nullptr, 16));
  }

  std::uint32_t unicode_escape() {
    if (take("{")) {
      const auto end = pattern_.find('}', offset_);
      if (end == std::string_view::npos || end == offset_ || end - offset_ > 6) {
        fail_here("expected up to six hexadecimal digits and }");
      }
      const std::uint32_t code_point = read_hex(end - offset_);
      ++offset_;
      return code_point;
    }
    const std::uint32_t unit = read_hex(4);
    constexpr std::uint32_t kHigh = 0xD800;
    constexpr std::uint32_t kLow = 0xDC00;
    if (unit >= kHigh && unit < kLow && take("\\u")) {
      const std::uint32_t second = read_hex(4);
      return second >= kLow && second < 0xE000 ? 0x10000 + ((unit - kHigh) << 10) + (second - kLow)
                                               : kHigh;
    }
    return unit;
  }

  // Behind a backslash.
  Ranges escape(bool is_in_class) {
    if (at_end()) {
      fail_here("expected a character after the backslash");
    }
    const std::uint32_t letter = take_code_point();
    switch (letter) {
      case 'd':
        return kDigits;
      case 'D':
        return complement(kDigits);
      case 'w':
        return kWord;
      case 'W':
        return complement(kWord);
      case 's':
        return kSpace;
      case 'S':
        return complement(kSpace);
      case 'n':
        return {{'\n', '\n'}};
      case 'r':
        return {{'\r', '\r'}};
      case 't':
        return {{'\t', '\t'}};
      case 'f':
        return {{'\f', '\f'}};
      case 'v':
        return {{'\v', '\v'}};
      case 'x':
      case 'u': {
        const std::uint32_t code_point = letter == 'x' ? read_hex(2) : unicode_escape();
        if (code_point > kLastCodePoint || (code_point >= 0xD800 && code_point <= 0xDFFF)) {
          fail_here("the escape is no Unicode character");
        }
        return {{code_point, code_point}};
      }
      default:
        break;
    }
    if (letter == 'b' && is_in_class) {
      return {{'\b', '\b'}};
    }
    const bool is_letter = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                           (letter >= '0' && letter <= '9');
    if (is_letter) {
      fail_here("escapes of this letter or digit are not supported", ErrorCode::Unsupported);
    }
    return {{letter, letter}};
  }

  Ranges class_atom() {
    if (take("\\")) {
      return escape(true);
    }
    const std::uint32_t code_point = take_code_point();
    return {{code_point, code_point}};
  }

  Ranges character_class() {
    const bool is_negated = take("^");
    Ranges ranges;
    while (!sees("]")) {
      if (at_end()) {
        fail_here("expected ]");
      }
      if (sees("[:")) {
        fail_here("named classes are not supported", ErrorCode::Unsupported);
      }
      Ranges first = class_atom();
      const auto is_single = [](const Ranges& atom) {
        return atom.size() == 1 && atom[0].low == atom[0].high;
      };
      if (sees("-") && !sees("-]") && is_single(first)) {
        take("-");
        if (at_end()) {
          fail_here("expected ]");
        }
        const Ranges last = class_atom();
        if (!is_single(last) || last[0].low < first[0].low) {
          fail_here("the range of a class ends before it begins");
        }
        first[0].high = last[0].high;
      }
      ranges.insert(ranges.end(), first.begin(), first.end());
    }
    take("]");
    return is_negated ? complement(ranges) : ranges;
  }

  Grammar& grammar_;
  std::string_view pattern_;
  RegexMatch match_;
  const CodePointsToExpr& spell_;
  std::string_view where_;
  std::size_t offset_ = 0;
  Index depth_ = 0;
};

}  // namespace

void check_constraint_text(std::string_view text, std::string_view where) {
  if (text.size() > kMaxConstraintBytes) {
    fail(ErrorCode::InvalidArgument, where, ": expected at most ", kMaxConstraintBytes,
         " bytes, found ", text.size());
  }
  if (!formats::is_utf8(text)) {
    fail(ErrorCode::InvalidArgument, where, ": expected UTF-8");
  }
}

ExprId add_regex(Grammar& grammar,
                 std::string_view pattern,
                 RegexMatch match,
                 const CodePointsToExpr& spell,
                 std::string_view where) {
  return RegexParser(grammar, pattern, match, spell, where).parse();
}

Grammar parse_regex(std::string_view pattern) {
  check_constraint_text(pattern, "regex");
  Grammar grammar;
  grammar.root = grammar.add_rule("regex");
  const auto spell = [&](const Ranges& ranges) { return grammar.code_points(ranges); };
  grammar.define(grammar.root, add_regex(grammar, pattern, RegexMatch::Whole, spell, "regex"));
  return grammar;
}

}  // namespace fathom::sampling
