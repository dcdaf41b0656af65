// Pieces of JSON text as grammar: white space, strings, numbers within bounds.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "fathom/base/core/index.h"
#include "fathom/model/sampling/front_ends.h"
#include "fathom/model/sampling/grammar.h"

namespace fathom::sampling {

// A number as written, without exponent.
struct Decimal {
  bool is_negative = false;
  std::string whole;     // digits without leading zeros; "0" at least
  std::string fraction;  // digits without trailing zeros
};
// Nothing for more than 18 digits before the point or 16 after it.
std::optional<Decimal> decimal_of(std::string_view json_number);

struct Bound {
  Decimal value;
  bool is_exclusive = false;
};
struct NumberRange {
  std::optional<Bound> low;
  std::optional<Bound> high;
};

class JsonText {
 public:
  explicit JsonText(Grammar& grammar);

  // Nothing, a space, or a line end and an indentation: runs end, so a model cannot fill a reply
  // with blanks.
  ExprId space() { return grammar_.reference(space_); }
  ExprId comma() { return grammar_.reference(comma_); }
  // One character of a string, escaped or not.
  ExprId string_character() { return grammar_.reference(character_); }
  ExprId any_string() { return grammar_.reference(string_); }
  // One of these code points, spelt as itself or with its shortest escape.
  ExprId spell(const std::vector<CodePointRange>& ranges);
  ExprId quoted(ExprId characters);

  // At most 18 digits, no -0.
  ExprId integer(const NumberRange& range);
  ExprId integer_multiple_of(Index divisor);
  // Without bounds also with an exponent of up to two digits; at most `max_decimals` after the
  // point.
  ExprId number(const NumberRange& range, Index max_decimals);
  static constexpr Index kMaxDecimals = 16;

 private:
  struct Digits;  // a range without sign, while it is turned into digits
  ExprId digit_between(char low, char high);
  ExprId digits(Index min, Index max);
  ExprId whole_part(const Digits& range, std::size_t place, bool is_low_tight, bool is_high_tight);
  ExprId fraction_part(const Digits& range,
                       std::size_t place,
                       bool is_low_tight,
                       bool is_high_tight);
  ExprId magnitude(const Digits& range);

  Grammar& grammar_;
  RuleId space_;
  RuleId comma_;
  RuleId character_;
  RuleId string_;
};

}  // namespace fathom::sampling
