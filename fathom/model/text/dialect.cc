// Protocol data of DeepSeek-V4, byte for byte: models were trained on these texts.
// They are part of its published prompt encoder (DeepSeek, MIT licence; see NOTICE).
#include "fathom/model/text/dialect.h"

#include <array>
#include <fstream>
#include <iterator>
#include <string>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::text {
namespace {

constexpr std::string_view kAbsoluteMaximum =
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
    "You MUST be very thorough in your thinking and comprehensively decompose the "
    "problem to resolve the root cause, rigorously stress-testing your logic against all "
    "potential paths, edge cases, and adversarial scenarios.\n"
    "Explicitly write out your entire deliberation process, documenting every "
    "intermediate step, considered alternative, and rejected hypothesis to ensure "
    "absolutely no assumption is left unchecked.\n"
    "\n";

constexpr std::string_view kBeyondMaximum =
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
    "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to "
    "chance: exhaustively decompose the problem into its most fundamental components, "
    "trace every causal chain to its root, and resolve the underlying cause rather than "
    "any surface symptom.\n"
    "Do not stop reasoning until you have independently verified the solution from "
    "multiple angles and are certain that no assumption remains unchecked and no error "
    "remains undiscovered.\n"
    "\n";

constexpr std::string_view kToolsHead =
    "## Tools\n"
    "\n"
    "You have access to a set of tools to help answer the user's question. You can "
    "invoke tools by writing a \"<｜DSML｜tool_calls>\" block like the following:\n"
    "\n"
    "<｜DSML｜tool_calls>\n"
    "<｜DSML｜invoke name=\"$TOOL_NAME\">\n"
    "<｜DSML｜parameter name=\"$PARAMETER_NAME\" "
    "string=\"true|false\">$PARAMETER_VALUE</｜DSML｜parameter>\n"
    "...\n"
    "</｜DSML｜invoke>\n"
    "<｜DSML｜invoke name=\"$TOOL_NAME2\">\n"
    "...\n"
    "</｜DSML｜invoke>\n"
    "</｜DSML｜tool_calls>\n"
    "\n"
    "String parameters should be specified as is and set `string=\"true\"`. For all other "
    "types (numbers, booleans, arrays, objects), pass the value in JSON format and set "
    "`string=\"false\"`.\n"
    "\n"
    "If thinking_mode is enabled (triggered by <think>), you MUST output your complete "
    "reasoning inside <think>...</think> BEFORE any tool calls or final response.\n"
    "\n"
    "Otherwise, output directly after </think> with tool calls or final response.\n"
    "\n"
    "### Available Tool Schemas\n"
    "\n";

constexpr std::string_view kToolsTail =
    "\n"
    "\n"
    "You MUST strictly follow the above defined tool name and parameter schemas to "
    "invoke tool calls.\n";

// Clients name more levels than a dialect has; each name stands for the level that the hosted API
// gives it.
constexpr auto kPreviewEfforts = std::to_array<EffortLevel>({
    {"minimal", ""},
    {"low", ""},
    {"medium", ""},
    {"high", ""},
    {"xhigh", kAbsoluteMaximum},
    {"max", kAbsoluteMaximum},
    {"ultra", kAbsoluteMaximum},
});

constexpr auto k0731Efforts = std::to_array<EffortLevel>({
    {"minimal", ""},
    {"low", ""},
    {"medium", kAbsoluteMaximum},
    {"high", kAbsoluteMaximum},
    {"xhigh", kAbsoluteMaximum},
    {"max", kBeyondMaximum},
    {"ultra", kBeyondMaximum},
});

constexpr auto kDialects = std::to_array<Dialect>({
    {.name = "preview",
     .encoder_symbol = "REASONING_EFFORT_MAX",
     .efforts = kPreviewEfforts,
     .default_effort = "high",
     .tools_head = kToolsHead,
     .tools_tail = kToolsTail,
     .calls_tag = "tool_calls",
     .invoke_tag = "invoke",
     .parameter_tag = "parameter",
     .system_token = ""},
    {.name = "0731",
     .encoder_symbol = "REASONING_EFFORT_PROMPTS",
     .efforts = k0731Efforts,
     .default_effort = "low",
     .tools_head = kToolsHead,
     .tools_tail = kToolsTail,
     .calls_tag = "tool_calls",
     .invoke_tag = "invoke",
     .parameter_tag = "parameter",
     .system_token = ""},
});

constexpr const Dialect& kFallback = kDialects.front();

template <typename Rows>
std::string names_of(const Rows& rows) {
  std::string names;
  for (const auto& row : rows) {
    names += names.empty() ? "\"" : ", \"";
    names += row.name;
    names += '"';
  }
  return names;
}

bool is_word(char letter) {
  return letter == '_' || (letter >= '0' && letter <= '9') || (letter >= 'A' && letter <= 'Z') ||
         (letter >= 'a' && letter <= 'z');
}

// The whole identifier, not a part of a longer one.
bool has_symbol(std::string_view source, std::string_view symbol) {
  for (std::size_t at = source.find(symbol); at != std::string_view::npos;
       at = source.find(symbol, at + 1)) {
    const std::size_t end = at + symbol.size();
    if ((at == 0 || !is_word(source[at - 1])) && (end == source.size() || !is_word(source[end]))) {
      return true;
    }
  }
  return false;
}

}  // namespace

const std::string_view kResponseFormatHead =
    "## Response Format:\n"
    "\n"
    "You MUST strictly adhere to the following schema to reply:\n";

std::span<const Dialect> dialects() {
  return kDialects;
}

const Dialect& dialect_from_name(std::string_view name) {
  for (const Dialect& dialect : kDialects) {
    if (dialect.name == name) {
      return dialect;
    }
  }
  fail(ErrorCode::InvalidArgument, "dialect: expected one of ", names_of(kDialects), ", found ",
       formats::quote(name));
}

const Dialect& detect_dialect(const std::filesystem::path& checkpoint) {
  std::ifstream file(checkpoint / kBundledEncoder, std::ios::binary);
  const std::string source((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
  // The later dialect first: its encoder may keep a symbol of the earlier one.
  for (auto dialect = kDialects.rbegin(); dialect != kDialects.rend(); ++dialect) {
    if (has_symbol(source, dialect->encoder_symbol)) {
      return *dialect;
    }
  }
  return kFallback;
}

std::string_view effort_text(const Dialect& dialect, std::string_view effort) {
  for (const EffortLevel& level : dialect.efforts) {
    if (level.name == effort) {
      return level.text;
    }
  }
  fail(ErrorCode::InvalidArgument, "reasoning effort: expected one of ", names_of(dialect.efforts),
       ", found ", formats::quote(effort));
}

}  // namespace fathom::text
