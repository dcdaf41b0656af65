// The languages in which a constraint may be written, each read into a grammar.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "fathom/model/sampling/constraint.h"
#include "fathom/model/sampling/grammar.h"

namespace fathom::sampling {

// Texts longer, and nesting deeper than this are refused by all of them.
inline constexpr std::size_t kMaxConstraintBytes = std::size_t{1} << 20;
inline constexpr Index kMaxConstraintDepth = 100;
inline constexpr Index kMaxRepetition = 1'000'000;

Grammar parse_json_schema(std::string_view schema);
Grammar parse_regex(std::string_view pattern);
Grammar parse_ebnf(std::string_view text);
Grammar parse_lark(std::string_view text);
// compile_tool_calls in constraint.h says what it is.
Grammar parse_tool_calls(const CallMarkup& markup, std::span<const CallableTool> tools);

// Whether a call can say the name and is read back with it: a quote would end it, and the mark is
// taken out of names.
bool can_be_in_call(std::string_view name, const CallMarkup& markup);

// How a regular expression spells one of some code points: as itself, or escaped in a JSON string.
using CodePointsToExpr = std::function<ExprId(const std::vector<CodePointRange>&)>;

enum class RegexMatch {
  Whole,   // the pattern is the text: anchors at its ends change nothing
  Search,  // ECMA 262, as JSON schema has it: the pattern is found inside unless ^ and $ say
           // otherwise
};

// Adds a regular expression to a grammar; `where` begins the messages of errors.
ExprId add_regex(Grammar& grammar,
                 std::string_view pattern,
                 RegexMatch match,
                 const CodePointsToExpr& spell,
                 std::string_view where);

// The same for a grammar in the notation of PyPI lark: all that its rule `start` can be.
ExprId add_lark(Grammar& grammar,
                std::string_view text,
                const CodePointsToExpr& spell,
                std::string_view where);

// Throws InvalidArgument unless the text is UTF-8 of at most kMaxConstraintBytes.
void check_constraint_text(std::string_view text, std::string_view where);

}  // namespace fathom::sampling
