// A context-free grammar over bytes, as the front ends (JSON schema, regex, EBNF) build it.
//
// Texts are UTF-8: a code point becomes the byte sequences that spell it, so that tokens which end
// inside a character are matched as well as any other.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::sampling {

using ByteSet = std::bitset<256>;
using ExprId = std::int32_t;
using RuleId = std::int32_t;

struct CodePointRange {
  std::uint32_t low = 0;
  std::uint32_t high = 0;  // inclusive
};
inline constexpr std::uint32_t kLastCodePoint = 0x10FFFF;

// Sorted, joined where they touch, without surrogates.
std::vector<CodePointRange> normalised(const std::vector<CodePointRange>& ranges);
// Everything else.
std::vector<CodePointRange> complement(const std::vector<CodePointRange>& ranges);
std::string utf8_of(std::uint32_t code_point);
// The code point at `offset`, which moves behind it; nothing if the bytes are not UTF-8.
std::optional<std::uint32_t> next_code_point(std::string_view text, std::size_t& offset);

class Grammar {
 public:
  enum class Kind {
    Byte,      // one byte of a set
    Sequence,  // all parts in order; none: the empty text
    Choice,    // one of the parts; none: no text at all
    Repeat,    // min to max times its one part; max -1: no limit
    Rule,      // what the rule says
  };
  struct Expr {
    Kind kind = Kind::Sequence;
    std::vector<ExprId> parts = {};
    ByteSet bytes = {};
    Index min = 0;
    Index max = 0;
    RuleId rule = 0;
  };
  struct Rule {
    std::string name;
    ExprId expr = -1;
  };
  static constexpr Index kNoLimit = -1;

  // Throws InvalidArgument when the grammar becomes larger than any honest one.
  ExprId add(Expr expr);
  ExprId empty() { return sequence({}); }
  ExprId nothing() { return choice({}); }
  ExprId literal(std::string_view bytes);
  ExprId sequence(std::vector<ExprId> parts);
  ExprId choice(std::vector<ExprId> parts);
  ExprId optional(ExprId part) { return repeat(part, 0, 1); }
  ExprId repeat(ExprId part, Index min, Index max);
  ExprId code_points(const std::vector<CodePointRange>& ranges);

  RuleId add_rule(std::string name);
  void define(RuleId rule, ExprId expr) { rules[static_cast<std::size_t>(rule)].expr = expr; }
  ExprId reference(RuleId rule);

  std::vector<Expr> exprs;
  std::vector<Rule> rules;
  RuleId root = 0;
};

// Which exprs can become a text at all.
std::vector<bool> productive_exprs(const Grammar& grammar);

// Removes whatever cannot become a text, so that every prefix the grammar accepts can be completed.
// False when nothing is left of the root.
bool prune(Grammar& grammar);

// Which exprs may be the empty text.
std::vector<bool> nullable_exprs(const Grammar& grammar);

// A rule that can begin with itself, directly or by way of others: it has no first byte.
std::optional<RuleId> left_recursive_rule(const Grammar& grammar);
// Throws InvalidArgument naming such a rule.
void refuse_left_recursion(const Grammar& grammar);

}  // namespace fathom::sampling
