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

// Which exprs have a property that a choice has when one part has it and a sequence when all parts
// have it; `bytes_have_it` decides for single bytes. Linear: each part tells its users once.
template <typename BytesHaveIt>
std::vector<bool> exprs_with(const Grammar& grammar, const BytesHaveIt& bytes_have_it) {
  const std::size_t num_exprs = grammar.exprs.size();
  std::vector<bool> has(num_exprs, false);
  std::vector<std::size_t> num_missing(num_exprs, 1);
  std::vector<std::vector<ExprId>> users(num_exprs);
  std::vector<ExprId> found;
  for (std::size_t id = 0; id < num_exprs; ++id) {
    const Grammar::Expr& expr = grammar.exprs[id];
    bool has_already = false;
    switch (expr.kind) {
      case Grammar::Kind::Byte:
        has_already = bytes_have_it(expr.bytes);
        break;
      case Grammar::Kind::Sequence:
        num_missing[id] = expr.parts.size();
        has_already = expr.parts.empty();
        break;
      case Grammar::Kind::Choice:
        break;
      case Grammar::Kind::Repeat:
        has_already = expr.min == 0;
        break;
      case Grammar::Kind::Rule: {
        const ExprId body = grammar.rules[static_cast<std::size_t>(expr.rule)].expr;
        users[static_cast<std::size_t>(body)].push_back(static_cast<ExprId>(id));
        break;
      }
    }
    for (const ExprId part : expr.parts) {
      users[static_cast<std::size_t>(part)].push_back(static_cast<ExprId>(id));
    }
    if (has_already) {
      has[id] = true;
      found.push_back(static_cast<ExprId>(id));
    }
  }
  while (!found.empty()) {
    const auto id = static_cast<std::size_t>(found.back());
    found.pop_back();
    for (const ExprId user : users[id]) {
      const auto user_id = static_cast<std::size_t>(user);
      if (!has[user_id] && --num_missing[user_id] == 0) {
        has[user_id] = true;
        found.push_back(user);
      }
    }
  }
  return has;
}

// Rules that an expr can begin with.
std::vector<RuleId> first_rules(const Grammar& grammar,
                                const std::vector<bool>& nullable,
                                ExprId root) {
  std::vector<RuleId> found;
  std::vector<ExprId> open = {root};
  while (!open.empty()) {
    const Grammar::Expr& expr = grammar.exprs[static_cast<std::size_t>(open.back())];
    open.pop_back();
    if (expr.kind == Grammar::Kind::Rule) {
      found.push_back(expr.rule);
    }
    for (const ExprId part : expr.parts) {
      open.push_back(part);
      if (expr.kind == Grammar::Kind::Sequence && !nullable[static_cast<std::size_t>(part)]) {
        break;
      }
    }
  }
  return found;
}

}  // namespace

std::vector<CodePointRange> normalised(const std::vector<CodePointRange>& ranges) {
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
  return normalised(result);
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

std::vector<bool> nullable_exprs(const Grammar& grammar) {
  return exprs_with(grammar, [](const ByteSet&) { return false; });
}

std::vector<bool> productive_exprs(const Grammar& grammar) {
  return exprs_with(grammar, [](const ByteSet& bytes) { return bytes.any(); });
}

bool prune(Grammar& grammar) {
  const std::vector<bool> productive = productive_exprs(grammar);
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
  const ExprId root = grammar.rules[static_cast<std::size_t>(grammar.root)].expr;
  return productive[static_cast<std::size_t>(root)];
}

std::optional<RuleId> left_recursive_rule(const Grammar& grammar) {
  const std::vector<bool> nullable = nullable_exprs(grammar);
  std::vector<std::vector<RuleId>> begins(grammar.rules.size());
  for (std::size_t rule = 0; rule < grammar.rules.size(); ++rule) {
    begins[rule] = first_rules(grammar, nullable, grammar.rules[rule].expr);
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
  const auto is_left = [&](RuleId rule) { return num_begins[static_cast<std::size_t>(rule)] > 0; };
  const auto found =
      std::find_if(num_begins.begin(), num_begins.end(), [](std::size_t num) { return num > 0; });
  if (found == num_begins.end()) {
    return std::nullopt;
  }
  // It may only lead to a cycle: after as many steps as there are rules one is in it.
  auto rule = static_cast<RuleId>(found - num_begins.begin());
  for (std::size_t step = 0; step < begins.size(); ++step) {
    const std::vector<RuleId>& next = begins[static_cast<std::size_t>(rule)];
    rule = *std::find_if(next.begin(), next.end(), is_left);
  }
  return rule;
}

void refuse_left_recursion(const Grammar& grammar) {
  const std::optional<RuleId> rule = left_recursive_rule(grammar);
  if (rule) {
    fail(ErrorCode::InvalidArgument, "grammar: rule ",
         formats::quote(grammar.rules[static_cast<std::size_t>(*rule)].name),
         " begins with itself, directly or by way of others; write the recursion at the end, or "
         "as a repetition");
  }
}

}  // namespace fathom::sampling
