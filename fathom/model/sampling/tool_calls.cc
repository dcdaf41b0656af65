// Blocks of tool calls to grammar: DeepSeek's DSML (text specification 2.4), with whichever names a
// dialect has for its tags. A string is a parameter of plain text, anything else is JSON.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/sampling/front_ends.h"
#include "fathom/model/sampling/schema_compiler.h"

namespace fathom::sampling {
namespace {

std::string open_tag(std::string_view name) {
  return std::string("<").append(kCallMark).append(name);
}

std::string close_tag(std::string_view name) {
  return std::string("</").append(kCallMark).append(name).append(">");
}

class CallCompiler {
 public:
  explicit CallCompiler(const CallMarkup& markup) : markup_(markup), rules_(grammar_) {}

  Grammar compile(std::span<const CallableTool> tools) {
    std::vector<ExprId> calls;
    for (const CallableTool& tool : tools) {
      const bool is_first = std::none_of(tools.data(), &tool, [&](const CallableTool& earlier) {
        return earlier.name == tool.name;
      });
      if (is_first) {
        calls.push_back(call_of(tool));
      }
    }
    refuse_unsatisfiable();
    const ExprId call = grammar_.sequence(
        {grammar_.literal(open_tag(markup_.invoke) + " name=\""), grammar_.choice(std::move(calls)),
         grammar_.literal("\n" + close_tag(markup_.invoke) + "\n")});
    grammar_.root = grammar_.add_rule("calls");
    grammar_.define(grammar_.root, grammar_.sequence({grammar_.literal(markup_.calls + ">\n"),
                                                      grammar_.repeat(call, 1, Grammar::kNoLimit),
                                                      grammar_.literal(close_tag(markup_.calls))}));
    prune(grammar_);
    refuse_left_recursion_of_tools();
    return std::move(grammar_);
  }

 private:
  // A tool whose arguments have a schema.
  struct Held {
    const CallableTool* tool = nullptr;
    std::unique_ptr<SchemaCompiler> schema = {};
    RuleId first_rule = 0;  // of its own; they go on to the next tool's
    RuleId parameters = 0;
  };

  // From the name to the end of the parameters.
  ExprId call_of(const CallableTool& tool) {
    if (!can_be_in_call(tool.name, markup_)) {
      fail(ErrorCode::Unsupported, "tools: a call cannot have a name with a quote or ",
           markup_.mark, " in it, found ", formats::quote(tool.name));
    }
    return grammar_.sequence({grammar_.literal(tool.name + "\">\n"),
                              tool.parameters ? held_parameters(tool) : free_parameters()});
  }

  ExprId held_parameters(const CallableTool& tool) {
    Held held = {.tool = &tool, .first_rule = static_cast<RuleId>(grammar_.rules.size())};
    try {
      held.schema = std::make_unique<SchemaCompiler>(rules_, *tool.parameters, markup_);
      held.parameters = held.schema->compile(Spelling::Parameters);
    } catch (const Error& error) {
      fail(error.code(), tool.where, ": ", error.what());
    }
    const ExprId parameters = grammar_.reference(held.parameters);
    held_.push_back(std::move(held));
    return parameters;
  }

  // Any number of parameters of any name, their values text of any kind.
  ExprId free_parameters() {
    if (!free_parameters_) {
      const ExprId letter = grammar_.code_points(complement({{'"', '"'}}));
      const ExprId parameter = grammar_.sequence(
          {grammar_.literal(open_tag(markup_.parameter) + " name=\""),
           grammar_.repeat(letter, 0, Grammar::kNoLimit), grammar_.literal("\" string=\""),
           grammar_.choice({grammar_.literal("true"), grammar_.literal("false")}),
           grammar_.literal("\">"), rules_.plain_text(),
           grammar_.literal(close_tag(markup_.parameter))});
      const ExprId next = grammar_.sequence({grammar_.literal("\n"), parameter});
      free_parameters_ = grammar_.add_rule("any parameters");
      grammar_.define(*free_parameters_,
                      grammar_.optional(grammar_.sequence(
                          {parameter, grammar_.repeat(next, 0, Grammar::kNoLimit)})));
    }
    return grammar_.reference(*free_parameters_);
  }

  void refuse_unsatisfiable() {
    const std::vector<bool> productive = productive_exprs(grammar_);
    for (const Held& held : held_) {
      const ExprId body = grammar_.rules[static_cast<std::size_t>(held.parameters)].expr;
      if (!productive[static_cast<std::size_t>(body)]) {
        try {
          held.schema->fail_unsatisfiable();
        } catch (const Error& error) {
          fail(error.code(), held.tool->where, ": ", error.what());
        }
      }
    }
  }

  void refuse_left_recursion_of_tools() const {
    const std::optional<RuleId> recursive = left_recursive_rule(grammar_);
    const auto owner = std::find_if(held_.rbegin(), held_.rend(), [&](const Held& held) {
      return recursive && held.first_rule <= *recursive;
    });
    if (owner != held_.rend()) {
      fail(ErrorCode::InvalidArgument, owner->tool->where,
           ": schema: ", grammar_.rules[static_cast<std::size_t>(*recursive)].name,
           ": it begins with itself, directly or by way of others");
    }
  }

  const CallMarkup& markup_;
  Grammar grammar_;
  ValueRules rules_;
  std::vector<Held> held_;
  std::optional<RuleId> free_parameters_;
};

}  // namespace

bool can_be_in_call(std::string_view name, const CallMarkup& markup) {
  return name.find('"') == std::string_view::npos &&
         (markup.mark.empty() || name.find(markup.mark) == std::string_view::npos);
}

std::string call_beginning(const CallMarkup& markup, std::string_view tool) {
  std::string text = markup.calls + ">\n" + open_tag(markup.invoke) + " name=\"";
  return tool.empty() ? text : text.append(tool).append("\">\n");
}

Grammar parse_tool_calls(const CallMarkup& markup, std::span<const CallableTool> tools) {
  return CallCompiler(markup).compile(tools);
}

}  // namespace fathom::sampling
