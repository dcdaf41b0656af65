#include "fathom/model/sampling/json_text.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::sampling {
namespace {

constexpr std::size_t kMaxWholeDigits = 18;
constexpr Index kMaxIndentation = 20;
constexpr Index kMaxDivisor = 1000;

const CodePointRange kControl = {0, 0x1F};

struct ShortEscape {
  std::uint32_t code_point;
  std::string_view text;
};
constexpr std::array<ShortEscape, 7> kShortEscapes = {{{'"', "\\\""},
                                                       {'\\', "\\\\"},
                                                       {'\b', "\\b"},
                                                       {'\f', "\\f"},
                                                       {'\n', "\\n"},
                                                       {'\r', "\\r"},
                                                       {'\t', "\\t"}}};

bool holds(const std::vector<CodePointRange>& ranges, std::uint32_t code_point) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const CodePointRange& range) {
    return range.low <= code_point && code_point <= range.high;
  });
}

bool is_zero(const Decimal& value) {
  return value.whole == "0" && value.fraction.empty();
}

// -1, 0, 1, without the sign.
int compare_magnitudes(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) {
    return a.whole.size() < b.whole.size() ? -1 : 1;
  }
  const int whole = a.whole.compare(b.whole);
  const int order = whole != 0 ? whole : a.fraction.compare(b.fraction);
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}

Index whole_number(const Decimal& value) {
  const auto magnitude = static_cast<Index>(std::strtoll(value.whole.c_str(), nullptr, 10));
  return value.is_negative ? -magnitude : magnitude;
}

// The smallest whole number that the bound allows.
Index lowest_whole(const Bound& bound) {
  const Index toward_zero = whole_number(bound.value);
  const bool is_whole = bound.value.fraction.empty();
  if (is_whole) {
    return toward_zero + (bound.is_exclusive ? 1 : 0);
  }
  return bound.value.is_negative ? toward_zero : toward_zero + 1;
}

Bound negated(Bound bound) {
  bound.value.is_negative = !bound.value.is_negative && !is_zero(bound.value);
  return bound;
}

Decimal decimal_of_index(Index value) {
  return {.is_negative = false, .whole = std::to_string(value), .fraction = ""};
}

}  // namespace

// Bounds of numbers without sign; `high` empty: no limit but the number of digits.
struct JsonText::Digits {
  Decimal low;
  Decimal high;
  bool is_low_exclusive = false;
  bool is_high_exclusive = false;
  Index max_decimals = 0;
};

std::optional<Decimal> decimal_of(std::string_view json_number) {
  Decimal result;
  std::string digits;
  Index point = -1;  // digits before the point
  std::size_t i = 0;
  for (; i < json_number.size() && json_number[i] != 'e' && json_number[i] != 'E'; ++i) {
    if (json_number[i] == '-') {
      result.is_negative = true;
    } else if (json_number[i] == '.') {
      point = to_index(digits.size());
    } else {
      digits += json_number[i];
    }
  }
  point = point < 0 ? to_index(digits.size()) : point;
  if (i < json_number.size()) {
    const Index exponent =
        std::strtoll(std::string(json_number.substr(i + 1)).c_str(), nullptr, 10);
    if (std::abs(exponent) > 400) {
      return std::nullopt;
    }
    point += exponent;
  }
  if (point < 0) {
    digits.insert(0, to_size(-point), '0');
    point = 0;
  }
  if (point > to_index(digits.size())) {
    digits.append(to_size(point) - digits.size(), '0');
  }
  result.whole = digits.substr(0, to_size(point));
  result.whole.erase(0, std::min(result.whole.find_first_not_of('0'), result.whole.size()));
  result.fraction = digits.substr(to_size(point));
  result.fraction.erase(result.fraction.find_last_not_of('0') + 1);
  if (result.whole.size() > kMaxWholeDigits ||
      to_index(result.fraction.size()) > JsonText::kMaxDecimals) {
    return std::nullopt;
  }
  result.whole = result.whole.empty() ? "0" : result.whole;
  result.is_negative = result.is_negative && !is_zero(result);
  return result;
}

JsonText::JsonText(Grammar& grammar)
    : grammar_(grammar),
      space_(grammar.add_rule("space")),
      comma_(grammar.add_rule("comma")),
      character_(grammar.add_rule("character")),
      string_(grammar.add_rule("string")) {
  const ExprId indentation =
      grammar_.repeat(grammar_.code_points({{' ', ' '}, {'\t', '\t'}}), 0, kMaxIndentation);
  grammar_.define(space_,
                  grammar_.choice({grammar_.empty(), grammar_.literal(" "),
                                   grammar_.sequence({grammar_.literal("\n"), indentation})}));
  grammar_.define(comma_, grammar_.sequence({grammar_.literal(","), space()}));
  const auto hex = [&] { return grammar_.code_points({{'0', '9'}, {'A', 'F'}, {'a', 'f'}}); };
  const auto one_of = [&](std::string_view characters) {
    std::vector<CodePointRange> ranges;
    for (const char c : characters) {
      ranges.push_back({static_cast<unsigned char>(c), static_cast<unsigned char>(c)});
    }
    return grammar_.code_points(ranges);
  };
  // A code point beyond 16 bits is two escapes; half of such a pair is no text.
  const ExprId escape = grammar_.choice(
      {one_of("\"\\/bfnrt"),
       grammar_.sequence(
           {grammar_.literal("u"), one_of("0123456789abcefABCEF"), hex(), hex(), hex()}),
       grammar_.sequence({grammar_.literal("u"), one_of("dD"), one_of("01234567"), hex(), hex()}),
       grammar_.sequence({grammar_.literal("u"), one_of("dD"), one_of("89abAB"), hex(), hex(),
                          grammar_.literal("\\u"), one_of("dD"), one_of("cdefCDEF"), hex(),
                          hex()})});
  grammar_.define(
      character_,
      grammar_.choice({grammar_.code_points(complement({kControl, {'"', '"'}, {'\\', '\\'}})),
                       grammar_.sequence({grammar_.literal("\\"), escape})}));
  grammar_.define(string_, quoted(grammar_.repeat(string_character(), 0, Grammar::kNoLimit)));
}

ExprId JsonText::spell(const std::vector<CodePointRange>& ranges) {
  const auto wanted = normalised(ranges);
  std::vector<CodePointRange> unwanted = complement(wanted);
  unwanted.insert(unwanted.end(), {kControl, {'"', '"'}, {'\\', '\\'}});
  std::vector<ExprId> choices = {grammar_.code_points(complement(unwanted))};
  for (const ShortEscape& escape : kShortEscapes) {
    if (holds(wanted, escape.code_point)) {
      choices.push_back(grammar_.literal(escape.text));
    }
  }
  constexpr std::string_view kHex = "0123456789abcdef";
  for (std::uint32_t code_point = 0; code_point <= kControl.high; ++code_point) {
    const bool has_short =
        std::any_of(kShortEscapes.begin(), kShortEscapes.end(),
                    [&](const ShortEscape& escape) { return escape.code_point == code_point; });
    if (!has_short && holds(wanted, code_point)) {
      std::string text = "\\u00";
      text += kHex[code_point >> 4];
      text += kHex[code_point & 0xF];
      choices.push_back(grammar_.literal(text));
    }
  }
  return grammar_.choice(std::move(choices));
}

ExprId JsonText::quoted(ExprId characters) {
  return grammar_.sequence({grammar_.literal("\""), characters, grammar_.literal("\"")});
}

ExprId JsonText::digit_between(char low, char high) {
  if (low > high) {
    return grammar_.nothing();
  }
  return grammar_.code_points(
      {{static_cast<unsigned char>(low), static_cast<unsigned char>(high)}});
}

ExprId JsonText::digits(Index min, Index max) {
  return grammar_.repeat(digit_between('0', '9'), min, max);
}

// Numbers of as many digits as both bounds have, from `place` on; a bound is tight while all digits
// so far are its own.
ExprId JsonText::whole_part(const Digits& range,
                            std::size_t place,
                            bool is_low_tight,
                            bool is_high_tight) {
  const std::size_t num_digits = range.high.whole.size();
  if (place == num_digits) {
    return fraction_part(range, 0, is_low_tight, is_high_tight);
  }
  if (!is_low_tight && !is_high_tight) {
    const Index num_left = to_index(num_digits - place);
    return grammar_.sequence({digits(num_left, num_left), fraction_part(range, 0, false, false)});
  }
  const char low = is_low_tight ? range.low.whole[place] : '0';
  const char high = is_high_tight ? range.high.whole[place] : '9';
  if (is_low_tight && is_high_tight && low == high) {
    return grammar_.sequence({digit_between(low, low), whole_part(range, place + 1, true, true)});
  }
  const auto above = static_cast<char>(is_low_tight ? low + 1 : low);
  const auto below = static_cast<char>(is_high_tight ? high - 1 : high);
  std::vector<ExprId> choices = {
      grammar_.sequence({digit_between(above, below), whole_part(range, place + 1, false, false)})};
  if (is_low_tight) {
    choices.push_back(
        grammar_.sequence({digit_between(low, low), whole_part(range, place + 1, true, false)}));
  }
  if (is_high_tight) {
    choices.push_back(
        grammar_.sequence({digit_between(high, high), whole_part(range, place + 1, false, true)}));
  }
  return grammar_.choice(std::move(choices));
}

// What may follow `place` digits behind the point; at 0 the point itself is still to come.
ExprId JsonText::fraction_part(const Digits& range,
                               std::size_t place,
                               bool is_low_tight,
                               bool is_high_tight) {
  const Index num_left = range.max_decimals - to_index(place);
  const std::string& low_digits = range.low.fraction;
  const std::string& high_digits = range.high.fraction;
  // The number may end here unless it would be below the lower bound or on an excluded one.
  const bool is_at_low = is_low_tight && place >= low_digits.size();
  const bool is_at_high = is_high_tight && place >= high_digits.size();
  const bool can_end = !(is_low_tight && !is_at_low) && !(is_at_low && range.is_low_exclusive) &&
                       !(is_at_high && range.is_high_exclusive);
  std::vector<ExprId> choices;
  if (can_end) {
    choices.push_back(grammar_.empty());
  }
  if (num_left > 0) {
    const ExprId point = place == 0 ? grammar_.literal(".") : grammar_.empty();
    if (!is_low_tight && !is_high_tight) {
      choices.push_back(grammar_.sequence({point, digits(1, num_left)}));
      return grammar_.choice(std::move(choices));
    }
    const char low = is_low_tight && !is_at_low ? low_digits[place] : '0';
    const char high = !is_high_tight ? '9' : is_at_high ? '0' : high_digits[place];
    const auto next = [&](char digit, bool low_tight, bool high_tight) {
      return grammar_.sequence({point, digit_between(digit, digit),
                                fraction_part(range, place + 1, low_tight, high_tight)});
    };
    if (is_low_tight && is_high_tight && low == high) {
      choices.push_back(next(low, true, true));
      return grammar_.choice(std::move(choices));
    }
    const auto above = static_cast<char>(is_low_tight ? low + 1 : low);
    const auto below = static_cast<char>(is_high_tight ? high - 1 : high);
    choices.push_back(
        grammar_.sequence({point, digit_between(above, below), digits(0, num_left - 1)}));
    if (is_low_tight) {
      choices.push_back(next(low, true, false));
    }
    if (is_high_tight) {
      choices.push_back(next(high, false, true));
    }
  }
  return grammar_.choice(std::move(choices));
}

ExprId JsonText::magnitude(const Digits& range) {
  const int order = compare_magnitudes(range.low, range.high);
  if (order > 0 || (order == 0 && (range.is_low_exclusive || range.is_high_exclusive))) {
    return grammar_.nothing();
  }
  std::vector<ExprId> choices;
  for (std::size_t length = range.low.whole.size(); length <= range.high.whole.size(); ++length) {
    Digits part = range;
    if (length > range.low.whole.size()) {
      part.low = {.is_negative = false,
                  .whole = std::string(length, '0').replace(0, 1, "1"),
                  .fraction = ""};
      part.is_low_exclusive = false;
    }
    if (length < range.high.whole.size()) {
      // All of this length: as if the bound were 99.999... with as many digits as can be written.
      part.high = {.is_negative = false,
                   .whole = std::string(length, '9'),
                   .fraction = std::string(to_size(range.max_decimals), '9')};
      part.is_high_exclusive = false;
    }
    choices.push_back(whole_part(part, 0, true, true));
  }
  return grammar_.choice(std::move(choices));
}

ExprId JsonText::integer(const NumberRange& range) {
  const Decimal most = {
      .is_negative = false, .whole = std::string(kMaxWholeDigits, '9'), .fraction = ""};
  const Index limit = whole_number(most);
  const Index low = range.low.has_value() ? std::max(lowest_whole(*range.low), -limit) : -limit;
  const Index high =
      range.high.has_value() ? std::min(-lowest_whole(negated(*range.high)), limit) : limit;
  std::vector<ExprId> choices;
  if (high >= 0 && low <= high) {
    choices.push_back(magnitude(
        {.low = decimal_of_index(std::max<Index>(low, 0)), .high = decimal_of_index(high)}));
  }
  if (low < 0 && low <= high) {
    choices.push_back(grammar_.sequence(
        {grammar_.literal("-"), magnitude({.low = decimal_of_index(std::max<Index>(-high, 1)),
                                           .high = decimal_of_index(-low)})}));
  }
  return grammar_.choice(std::move(choices));
}

// One rule per remainder: what may follow digits whose number leaves it.
ExprId JsonText::integer_multiple_of(Index divisor) {
  if (divisor < 1 || divisor > kMaxDivisor) {
    fail(ErrorCode::Unsupported, "multipleOf beyond ", kMaxDivisor);
  }
  std::vector<RuleId> rules;
  for (Index remainder = 0; remainder < divisor; ++remainder) {
    rules.push_back(grammar_.add_rule("remainder"));
  }
  const auto digit_then_rest = [&](Index remainder, char digit) {
    const Index next = (remainder * 10 + (digit - '0')) % divisor;
    return grammar_.sequence(
        {digit_between(digit, digit), grammar_.reference(rules[to_size(next)])});
  };
  for (Index remainder = 0; remainder < divisor; ++remainder) {
    std::vector<ExprId> choices;
    if (remainder == 0) {
      choices.push_back(grammar_.empty());
    }
    for (char digit = '0'; digit <= '9'; ++digit) {
      choices.push_back(digit_then_rest(remainder, digit));
    }
    grammar_.define(rules[to_size(remainder)], grammar_.choice(std::move(choices)));
  }
  std::vector<ExprId> first_digits;
  for (char digit = '1'; digit <= '9'; ++digit) {
    first_digits.push_back(digit_then_rest(0, digit));
  }
  return grammar_.choice(
      {grammar_.literal("0"), grammar_.sequence({grammar_.optional(grammar_.literal("-")),
                                                 grammar_.choice(std::move(first_digits))})});
}

ExprId JsonText::number(const NumberRange& range, Index max_decimals) {
  const Decimal zero = {.is_negative = false, .whole = "0", .fraction = ""};
  const Decimal most = {.is_negative = false,
                        .whole = std::string(kMaxWholeDigits, '9'),
                        .fraction = std::string(to_size(max_decimals), '9')};
  if (!range.low.has_value() && !range.high.has_value()) {
    const auto sign = grammar_.optional(grammar_.literal("-"));
    const ExprId mantissa = magnitude({.low = zero, .high = most, .max_decimals = max_decimals});
    if (max_decimals < kMaxDecimals) {
      return grammar_.sequence({sign, mantissa});
    }
    const ExprId exponent = grammar_.sequence(
        {grammar_.code_points({{'e', 'e'}, {'E', 'E'}}),
         grammar_.optional(grammar_.code_points({{'+', '+'}, {'-', '-'}})), digits(1, 2)});
    return grammar_.sequence({sign, mantissa, grammar_.optional(exponent)});
  }
  // The part from 0 up, and the part from 0 down turned round.
  const auto half = [&](const std::optional<Bound>& low, const std::optional<Bound>& high) {
    if (high.has_value() && high->value.is_negative) {
      return grammar_.nothing();
    }
    const bool has_low = low.has_value() && !low->value.is_negative;
    return magnitude({.low = has_low ? low->value : zero,
                      .high = high.has_value() ? high->value : most,
                      .is_low_exclusive = has_low && low->is_exclusive,
                      .is_high_exclusive = high.has_value() && high->is_exclusive,
                      .max_decimals = max_decimals});
  };
  const auto turned = [](const std::optional<Bound>& bound) {
    return bound.has_value() ? std::optional(negated(*bound)) : std::nullopt;
  };
  return grammar_.choice(
      {half(range.low, range.high),
       grammar_.sequence({grammar_.literal("-"), half(turned(range.high), turned(range.low))})});
}

}  // namespace fathom::sampling
