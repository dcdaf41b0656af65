#include "fathom/model/sampling/grammar.h"

#include <algorithm>
#include <array>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::sampling {
namespace {

constexpr std::size_t kMaxExprs = std::size_t{1} << 20;
constexpr CodePointRange kSurrogates = {0xD800, 0xDFFF};

ByteSet bytes_between(std::uint32_t low, std::uint32_t high) {
  ByteSet set;
  for (std::uint32_t byte = low; byte <= high; ++byte) {
    set.set(byte);
  }
  return set;
}

std::uint32_t last_of_length(std::size_t num_bytes) {
  constexpr std::array<std::uint32_t, 5> kLast = {0, 0x7F, 0x7FF, 0xFFFF, kLastCodePoint};
  return kLast[num_bytes];
}

// Splits a range into boxes: ranges whose encodings are all combinations of one byte range per
// place.
void add_boxes(Grammar& grammar, CodePointRange range, std::vector<ExprId>& choices) {
  for (std::size_t length = 1; length <= 4; ++length) {
    const std::uint32_t last = last_of_length(length);
    if (range.low <= last && range.high > last) {
      add_boxes(grammar, {range.low, last}, choices);
      add_boxes(grammar, {last + 1, range.high}, choices);
      return;
    }
  }
  // Where the ends differ above the last k places, those places must run through all their values.
  for (std::uint32_t mask = 0x3F; mask <= 0x3FFFF; mask = (mask << 6) | 0x3F) {
    if (range.high <= 0x7F || (range.low & ~mask) == (range.high & ~mask)) {
      break;
    }
    if ((range.low & mask) != 0) {
      add_boxes(grammar, {range.low, range.low | mask}, choices);
      add_boxes(grammar, {(range.low | mask) + 1, range.high}, choices);
      return;
    }
    if ((range.high & mask) != mask) {
      add_boxes(grammar, {range.low, (range.high & ~mask) - 1}, choices);
      add_boxes(grammar, {range.high & ~mask, range.high}, choices);
      return;
    }
  }
  const std::string low = utf8_of(range.low);
  const std::string high = utf8_of(range.high);
  std::vector<ExprId> places;
  for (std::size_t i = 0; i < low.size(); ++i) {
    places.push_back(grammar.add({.kind = Grammar::Kind::Byte,
                                  .bytes = bytes_between(static_cast<unsigned char>(low[i]),
                                                         static_cast<unsigned char>(high[i]))}));
  }
  choices.push_back(grammar.sequence(std::move(places)));
}

bool is_productive(const Grammar::Expr& expr,
                   const std::vector<bool>& productive,
                   const std::vector<bool>& productive_rules) {
  const auto part_is = [&](ExprId part) { return productive[static_cast<std::size_t>(part)]; };
  switch (expr.kind) {
    case Grammar::Kind::Byte:
      return expr.bytes.any();
    case Grammar::Kind::Sequence:
      return std::all_of(expr.parts.begin(), expr.parts.end(), part_is);
    case Grammar::Kind::Choice:
      return std::any_of(expr.parts.begin(), expr.parts.end(), part_is);
    case Grammar::Kind::Repeat:
      return expr.min == 0 || part_is(expr.parts[0]);
    case Grammar::Kind::Rule:
      return productive_rules[static_cast<std::size_t>(expr.rule)];
  }
  return false;
}

// Which exprs may be the empty text. Parts have smaller ids than the whole, so that only rules make
// another round necessary; the same holds for productivity.
std::vector<bool> nullable_exprs(const Grammar& grammar) {
  std::vector<bool> nullable(grammar.exprs.size(), false);
  std::vector<bool> nullable_rules(grammar.rules.size(), false);
  const auto part_is = [&](ExprId part) { return nullable[static_cast<std::size_t>(part)]; };
  for (bool has_changed = true; has_changed;) {
    has_changed = false;
    for (std::size_t id = 0; id < grammar.exprs.size(); ++id) {
      const Grammar::Expr& expr = grammar.exprs[id];
      switch (expr.kind) {
        case Grammar::Kind::Byte:
          break;
        case Grammar::Kind::Sequence:
          nullable[id] = std::all_of(expr.parts.begin(), expr.parts.end(), part_is);
          break;
        case Grammar::Kind::Choice:
          nullable[id] = std::any_of(expr.parts.begin(), expr.parts.end(), part_is);
          break;
        case Grammar::Kind::Repeat:
          nullable[id] = expr.min == 0 || part_is(expr.parts[0]);
          break;
        case Grammar::Kind::Rule:
          nullable[id] = nullable_rules[static_cast<std::size_t>(expr.rule)];
          break;
      }
    }
    for (std::size_t rule = 0; rule < grammar.rules.size(); ++rule) {
      const ExprId expr = grammar.rules[rule].expr;
      if (!nullable_rules[rule] && nullable[static_cast<std::size_t>(expr)]) {
        nullable_rules[rule] = true;
        has_changed = true;
      }
    }
  }
  return nullable;
}

}  // namespace

std::vector<CodePointRange> normalised(std::vector<CodePointRange> ranges) {
  std::vector<CodePointRange> pieces;
  for (const CodePointRange& range : ranges) {
    if (range.low < kSurrogates.low) {
      pieces.push_back({range.low, std::min(range.high, kSurrogates.low - 1)});
    }
    if (range.high > kSurrogates.high) {
      pieces.push_back(
          {std::max(range.low, kSurrogates.high + 1), std::min(range.high, kLastCodePoint)});
    }
  }
  std::erase_if(pieces, [](const CodePointRange& range) { return range.low > range.high; });
  std::sort(pieces.begin(), pieces.end(),
            [](const CodePointRange& a, const CodePointRange& b) { return a.low < b.low; });
  std::vector<CodePointRange> joined;
  for (const CodePointRange& range : pieces) {
    if (!joined.empty() && range.low <= joined.back().high + 1) {
      joined.back().high = std::max(joined.back().high, range.high);
    } else {
      joined.push_back(range);
    }
  }
  return joined;
}

std::vector<CodePointRange> complement(const std::vector<CodePointRange>& ranges) {
  std::vector<CodePointRange> result;
  std::uint32_t next = 0;
  for (const CodePointRange& range : normalised(ranges)) {
    if (range.low > next) {
      result.push_back({next, range.low - 1});
    }
    next = range.high + 1;
  }
  if (next <= kLastCodePoint) {
    result.push_back({next, kLastCodePoint});
  }
  return normalised(std::move(result));
}

std::string utf8_of(std::uint32_t code_point) {
  const auto tail = [&](int shift) {
    return static_cast<char>(0x80U | ((code_point >> shift) & 0x3FU));
  };
  if (code_point <= 0x7F) {
    return {static_cast<char>(code_point)};
  }
  if (code_point <= 0x7FF) {
    return {static_cast<char>(0xC0U | (code_point >> 6)), tail(0)};
  }
  if (code_point <= 0xFFFF) {
    return {static_cast<char>(0xE0U | (code_point >> 12)), tail(6), tail(0)};
  }
  return {static_cast<char>(0xF0U | (code_point >> 18)), tail(12), tail(6), tail(0)};
}

std::optional<std::uint32_t> next_code_point(std::string_view text, std::size_t& offset) {
  const auto byte = static_cast<unsigned char>(text[offset]);
  const std::size_t length = byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
  if (!formats::is_utf8(text.substr(offset, length))) {
    return std::nullopt;
  }
  std::uint32_t code_point = length == 1 ? byte : byte & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    code_point = (code_point << 6) | (static_cast<unsigned char>(text[offset + i]) & 0x3FU);
  }
  offset += length;
  return code_point;
}

ExprId Grammar::add(Expr expr) {
  if (exprs.size() >= kMaxExprs) {
    fail(ErrorCode::InvalidArgument, "grammar: more than ", kMaxExprs,
         " parts; shorten enumerations and fixed texts");
  }
  exprs.push_back(std::move(expr));
  return static_cast<ExprId>(exprs.size() - 1);
}

ExprId Grammar::literal(std::string_view bytes) {
  std::vector<ExprId> parts;
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    parts.push_back(add({.kind = Kind::Byte, .bytes = bytes_between(value, value)}));
  }
  return sequence(std::move(parts));
}

ExprId Grammar::sequence(std::vector<ExprId> parts) {
  return parts.size() == 1 ? parts[0] : add({.kind = Kind::Sequence, .parts = std::move(parts)});
}

ExprId Grammar::choice(std::vector<ExprId> parts) {
  return parts.size() == 1 ? parts[0] : add({.kind = Kind::Choice, .parts = std::move(parts)});
}

ExprId Grammar::repeat(ExprId part, Index min, Index max) {
  if (min == 1 && max == 1) {
    return part;
  }
  return max == 0 ? empty() : add({.kind = Kind::Repeat, .parts = {part}, .min = min, .max = max});
}

ExprId Grammar::code_points(const std::vector<CodePointRange>& ranges) {
  std::vector<ExprId> choices;
  ByteSet ascii;
  for (const CodePointRange& range : normalised(ranges)) {
    if (range.low <= 0x7F) {
      ascii |= bytes_between(range.low, std::min(range.high, 0x7FU));
    }
    if (range.high > 0x7F) {
      add_boxes(*this, {std::max(range.low, 0x80U), range.high}, choices);
    }
  }
  if (ascii.any()) {
    choices.push_back(add({.kind = Kind::Byte, .bytes = ascii}));
  }
  return choice(std::move(choices));
}

RuleId Grammar::add_rule(std::string name) {
  rules.push_back({.name = std::move(name)});
  return static_cast<RuleId>(rules.size() - 1);
}

ExprId Grammar::reference(RuleId rule) {
  return add({.kind = Kind::Rule, .rule = rule});
}

bool prune(Grammar& grammar) {
  std::vector<bool> productive(grammar.exprs.size(), false);
  std::vector<bool> productive_rules(grammar.rules.size(), false);
  for (bool has_changed = true; has_changed;) {
    has_changed = false;
    for (std::size_t id = 0; id < grammar.exprs.size(); ++id) {
      productive[id] = is_productive(grammar.exprs[id], productive, productive_rules);
    }
    for (std::size_t rule = 0; rule < grammar.rules.size(); ++rule) {
      const ExprId expr = grammar.rules[rule].expr;
      if (!productive_rules[rule] && productive[static_cast<std::size_t>(expr)]) {
        productive_rules[rule] = true;
        has_changed = true;
      }
    }
  }
  for (std::size_t id = 0; id < grammar.exprs.size(); ++id) {
    Grammar::Expr& expr = grammar.exprs[id];
    if (!productive[id]) {
      expr = {.kind = Grammar::Kind::Choice};
    } else if (expr.kind == Grammar::Kind::Choice) {
      std::erase_if(expr.parts,
                    [&](ExprId part) { return !productive[static_cast<std::size_t>(part)]; });
    } else if (expr.kind == Grammar::Kind::Repeat &&
               !productive[static_cast<std::size_t>(expr.parts[0])]) {
      expr = {.kind = Grammar::Kind::Sequence};
    }
  }
  return productive_rules[static_cast<std::size_t>(grammar.root)];
}

void refuse_left_recursion(const Grammar& grammar) {
  const std::vector<bool> nullable = nullable_exprs(grammar);
  // Rules that a rule can begin with.
  std::vector<std::vector<RuleId>> begins(grammar.rules.size());
  for (std::size_t rule = 0; rule < grammar.rules.size(); ++rule) {
    std::vector<ExprId> open = {grammar.rules[rule].expr};
    while (!open.empty()) {
      const Grammar::Expr& expr = grammar.exprs[static_cast<std::size_t>(open.back())];
      open.pop_back();
      if (expr.kind == Grammar::Kind::Rule) {
        begins[rule].push_back(expr.rule);
      }
      for (const ExprId part : expr.parts) {
        open.push_back(part);
        if (expr.kind == Grammar::Kind::Sequence && !nullable[static_cast<std::size_t>(part)]) {
          break;
        }
      }
    }
  }
  // Removes rules without unremoved ones to begin with, until none or only cycles are left.
  std::vector<std::vector<RuleId>> used_by(grammar.rules.size());
  std::vector<std::size_t> num_begins(grammar.rules.size(), 0);
  std::vector<RuleId> free;
  for (std::size_t rule = 0; rule < begins.size(); ++rule) {
    num_begins[rule] = begins[rule].size();
    for (const RuleId begin : begins[rule]) {
      used_by[static_cast<std::size_t>(begin)].push_back(static_cast<RuleId>(rule));
    }
    if (begins[rule].empty()) {
      free.push_back(static_cast<RuleId>(rule));
    }
  }
  while (!free.empty()) {
    const RuleId rule = free.back();
    free.pop_back();
    for (const RuleId user : used_by[static_cast<std::size_t>(rule)]) {
      if (--num_begins[static_cast<std::size_t>(user)] == 0) {
        free.push_back(user);
      }
    }
  }
  for (std::size_t rule = 0; rule < num_begins.size(); ++rule) {
    if (num_begins[rule] > 0) {
      fail(ErrorCode::InvalidArgument, "grammar: rule ", formats::quote(grammar.rules[rule].name),
           " begins with itself, directly or by way of others; write the recursion at the end, or "
           "as a repetition");
    }
  }
}

}  // namespace fathom::sampling
