#include <algorithm>
#include <iterator>
#include <random>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/model/sampling/front_ends.h"
#include "fathom/model/text/json_text.h"
#include "fathom/model/text/json_value.h"
#include "fathom/serve/engine/engine.h"

namespace fathom::engine {
namespace {

using text::ReplyStart;
using text::Tool;

constexpr std::string_view kEndOfThink = "</think>";
constexpr std::string_view kThink = "<think>";
constexpr std::string_view kDsml = "｜DSML｜";
constexpr std::string_view kFillBegin = "<｜fim▁begin｜>";
constexpr std::string_view kFillHole = "<｜fim▁hole｜>";
constexpr std::string_view kFillEnd = "<｜fim▁end｜>";
constexpr Index kMostChoices = 128;
constexpr std::size_t kMostCompiled = 64;

std::vector<Tool> tools_of(const text::Conversation& conversation) {
  std::vector<Tool> tools = conversation.tools;
  for (const text::Message& message : conversation.messages) {
    tools.insert(tools.end(), message.tools.begin(), message.tools.end());
  }
  return tools;
}

TokenId control_id(const text::Tokenizer& tokenizer, std::string_view token) {
  const std::optional<TokenId> id = tokenizer.control_id(token);
  if (!id) {
    fail(ErrorCode::Unsupported, "suffix: this model has no token ", token,
         " and cannot fill in the middle");
  }
  return *id;
}

std::uint64_t any_seed() {
  std::random_device device;
  return std::uint64_t{device()} << 32U | device();
}

// A declared tool's name and what follows it, for a call whose opening stands already.
std::string name_grammar(const std::vector<Tool>& tools) {
  std::string grammar = "root ::= ";
  for (const Tool& tool : tools) {
    grammar += (&tool == &tools.front() ? "" : " | ") + text::json_string(tool.name + "\">\n");
  }
  return grammar;
}

bool is_any_strict(std::span<const Tool> tools) {
  return std::any_of(tools.begin(), tools.end(), [](const Tool& tool) { return tool.is_strict; });
}

sampling::CallMarkup markup_of(const text::ChatFormat& format) {
  const text::CallTags tags = format.call_tags();
  return {.mark = std::string(kDsml),
          .calls = std::string(tags.calls),
          .invoke = std::string(tags.invoke),
          .parameter = std::string(tags.parameter)};
}

sampling::CallableTool callable(const Tool& tool) {
  sampling::CallableTool result = {
      .name = tool.name, .parameters = std::nullopt, .where = tool.schema_field};
  if (tool.is_strict && !tool.held_schema.empty()) {
    result.parameters = tool.held_schema;
  } else if (tool.is_strict) {
    const text::JsonValue function = text::parse_json(tool.function_json, tool.schema_field);
    const text::JsonValue* const schema = function.find("parameters");
    const bool is_absent = schema == nullptr || schema->kind == text::JsonValue::Kind::Null;
    result.parameters = is_absent ? R"({"type": "object"})" : print_json(*schema);
  }
  return result;
}

class Preparation {
 public:
  Preparation(GenerateRequest request, const TextServices& text, const ModelLimits& limits)
      : text_(text), limits_(limits) {
    result_.request = std::move(request);
  }

  PreparedRequest run() {
    check_wishes();
    Prompt prompt = std::move(result_.request.prompt);
    result_.request.prompt = TokenPrompt{};
    rules_.input = text::ReplyInput::Tokens;
    rules_.think_tags = text::ThinkTags::None;
    rules_.drops_leading_newlines = false;
    rules_.stop_strings = result_.request.stop_strings;
    set_generation();
    std::visit([&](auto& form) { set_prompt(form); }, prompt);
    check_room(std::holds_alternative<ChatPrompt>(prompt) ? "messages" : "prompt");
    result_.syntax = std::make_shared<const text::ReplySyntax>(rules_);
    return std::move(result_);
  }

 private:
  const text::Tokenizer& tokenizer() const { return text_.tokenizer(); }
  GenerateRequest& request() { return result_.request; }

  void check_wishes() {
    sampling::validate(request().sampling, limits_.vocab_size);
    if (request().num_choices < 1 || request().num_choices > kMostChoices) {
      fail(ErrorCode::InvalidArgument, "n: expected 1 to ", kMostChoices, ", found ",
           request().num_choices);
    }
    if (request().max_tokens && *request().max_tokens < 0) {
      fail(ErrorCode::InvalidArgument, "max_tokens: expected at least 0, found ",
           *request().max_tokens);
    }
    for (const std::string& stop : request().stop_strings) {
      if (stop.empty()) {
        fail(ErrorCode::InvalidArgument, "stop: expected strings that are not empty");
      }
    }
    check_ids(request().stop_ids, "stop_token_ids");
  }

  void check_ids(const std::vector<TokenId>& ids, std::string_view field) const {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < 0 || ids[i] >= limits_.vocab_size) {
        fail(ErrorCode::InvalidArgument, field, "[", i, "]: expected a token id from 0 to ",
             limits_.vocab_size - 1, ", found ", ids[i]);
      }
    }
  }

  void set_generation() {
    if (!request().has_seed) {
      request().sampling.seed = any_seed();
    }
    sampling::GenerationOptions& generation = result_.generation;
    generation.sampling = request().sampling;
    if (!request().ignores_end) {
      generation.stop_ids = text_.model().stop_ids;
    }
    generation.stop_ids.insert(generation.stop_ids.end(), request().stop_ids.begin(),
                               request().stop_ids.end());
    generation.constraint = text_.constraint(request().content);
  }

  void set_prompt(TokenPrompt& prompt) {
    check_ids(prompt.ids, "prompt");
    result_.prompt_ids = std::move(prompt.ids);
  }

  void set_prompt(const TextPrompt& prompt) {
    std::vector<TokenId>& ids = result_.prompt_ids;
    if (prompt.suffix) {
      ids.push_back(control_id(tokenizer(), kFillBegin));
    }
    tokenizer().encode(prompt.text, text::ControlTokens::Recognised, ids);
    if (prompt.suffix) {
      ids.push_back(control_id(tokenizer(), kFillHole));
      tokenizer().encode(*prompt.suffix, text::ControlTokens::Recognised, ids);
      ids.push_back(control_id(tokenizer(), kFillEnd));
    }
    const std::optional<TokenId> bos = text_.model().raw_text_bos;
    if (prompt.add_bos && bos && (ids.empty() || ids.front() != *bos)) {
      ids.insert(ids.begin(), *bos);
    }
  }

  void set_prompt(const ChatPrompt& prompt) {
    const text::ChatFormat* const format = text_.model().format.get();
    if (format == nullptr) {
      fail(ErrorCode::Unsupported, text_.model().no_format);
    }
    text::Prompt rendered = format->render(prompt.conversation, prompt.render);
    const bool is_reasoning = text::opens_reasoning(rendered);
    const std::vector<Tool> tools = tools_of(prompt.conversation);
    check_tool_choice(tools);
    rules_.drops_leading_newlines = true;
    result_.reply_start = is_reasoning ? ReplyStart::Reasoning : ReplyStart::Content;
    if (is_reasoning) {
      result_.generation.constraint_begins_after = tokenizer().control_id(kEndOfThink);
    }
    if (format->reply_style() == text::ReplyStyle::Dsml) {
      rules_.think_tags = text::ThinkTags::Fixed;
      set_calls(*format, tools, rendered);
    }
    result_.prompt_ids = text::encode(tokenizer(), rendered);
  }

  void check_tool_choice(const std::vector<Tool>& tools) {
    const ToolChoice choice = request().tool_choice;
    if (tools.empty() && (choice == ToolChoice::Required || choice == ToolChoice::Named)) {
      fail(ErrorCode::InvalidArgument, "tool_choice: expected auto or none without tools");
    }
    const bool is_declared = std::any_of(tools.begin(), tools.end(), [&](const Tool& tool) {
      return tool.name == request().named_tool;
    });
    if (choice == ToolChoice::Named && !is_declared) {
      fail(ErrorCode::InvalidArgument, "tool_choice: expected the name of one of tools, found \"",
           request().named_tool, "\"");
    }
  }

  void set_calls(const text::ChatFormat& format,
                 const std::vector<Tool>& tools,
                 text::Prompt& rendered) {
    const std::optional<TokenId> dsml = tokenizer().control_id(kDsml);
    if (tools.empty() || request().tool_choice == ToolChoice::None) {
      if (dsml) {
        result_.generation.banned_ids.push_back(*dsml);  // nothing may be called (ruling P8)
      }
      return;
    }
    rules_.tools = tools;
    if (is_any_strict(tools)) {
      result_.generation.call_constraint = text_.call_constraint(callable_tools(tools));
    }
    if (request().tool_choice == ToolChoice::Auto) {
      allow_call_instead_of_content(format);
    } else {
      force_call(format, tools, rendered);
    }
  }

  std::vector<Tool> callable_tools(const std::vector<Tool>& tools) {
    if (request().tool_choice != ToolChoice::Named) {
      return tools;
    }
    const auto named = std::find_if(tools.begin(), tools.end(), [&](const Tool& tool) {
      return tool.name == request().named_tool;
    });
    return {*named};
  }

  // A reply whose content has to be of a form may be a call of a tool all the same.
  void allow_call_instead_of_content(const text::ChatFormat& format) {
    if (result_.generation.constraint == nullptr) {
      return;
    }
    std::vector<TokenId> opening = text::encode(tokenizer(), format.call_opening(""));
    const std::optional<TokenId> dsml = tokenizer().control_id(kDsml);
    const auto marker = std::find(opening.begin(), opening.end(), dsml.value_or(-1));
    if (marker != opening.end()) {
      opening.erase(marker + 1, opening.end());
      result_.generation.bypass_ids = std::move(opening);
    }
  }

  // Without reasoning the prompt itself opens the call (P12); with it, the opening is forced when
  // reasoning ends.
  void force_call(const text::ChatFormat& format,
                  const std::vector<Tool>& tools,
                  text::Prompt& rendered) {
    const bool is_named = request().tool_choice == ToolChoice::Named;
    const std::string name = is_named ? request().named_tool : "";
    const text::Prompt opening = format.call_opening(name);
    sampling::GenerationOptions& generation = result_.generation;
    const bool is_held = generation.call_constraint != nullptr;
    generation.constraint =
        is_named || is_held
            ? nullptr
            : text_.constraint({.kind = ContentRule::Kind::Grammar, .text = name_grammar(tools)});
    generation.is_constraint_prefix = true;
    if (result_.reply_start == ReplyStart::Reasoning) {
      generation.forced_ids = text::encode(tokenizer(), opening);
      // Reasoning ends with </think>, and neither with the reply nor with a call of its own.
      generation.banned_ids_before_turn = text_.ending_ids();
      if (const std::optional<TokenId> dsml = tokenizer().control_id(kDsml)) {
        generation.banned_ids_before_turn.push_back(*dsml);
      }
      return;
    }
    if (is_held) {
      generation.begun_call = sampling::call_beginning(markup_of(format), name);
    }
    for (const text::PromptPart& part : opening) {
      text::append(rendered, part.text, part.is_trusted);
    }
    result_.reply_start = is_named ? ReplyStart::ToolArguments : ReplyStart::ToolName;
    result_.forced_tool = request().named_tool;
  }

  void check_room(std::string_view field) {
    const Index num_prompt = result_.num_prompt_tokens();
    if (num_prompt == 0) {
      fail(ErrorCode::InvalidArgument, field, ": expected at least one token, found none");
    }
    // A prompt that is only scored may fill the context.
    const bool is_scored_only = request().max_tokens == 0;
    const Index most = is_scored_only ? limits_.max_context : limits_.max_context - 1;
    if (num_prompt > most) {
      fail(ErrorCode::ContextTooLong, field, ": ", num_prompt, " tokens, expected at most ", most,
           " (the context of ", limits_.max_context, ")");
    }
    const Index room = limits_.max_context - num_prompt;
    result_.generation.max_tokens = std::min(request().max_tokens.value_or(room), room);
  }

  const TextServices& text_;
  const ModelLimits& limits_;
  PreparedRequest result_;
  text::ReplyRules rules_;
};

}  // namespace

TextServices::TextServices(text::TextModel model, Index vocab_size) : model_(std::move(model)) {
  if (model_.tokenizer->num_ids() > vocab_size) {
    fail(ErrorCode::InvalidCheckpoint, "tokenizer: ", model_.tokenizer->num_ids(),
         " ids, expected at most ", vocab_size, " (the model's vocabulary)");
  }
  for (Index id = 0; id < tokenizer().num_ids(); ++id) {
    const auto token = static_cast<TokenId>(id);
    if (tokenizer().is_control(token) && !is_reply_markup(tokenizer().bytes_of(token))) {
      ending_ids_.push_back(token);
    }
  }
}

sampling::ConstraintVocabularyPtr TextServices::vocabulary() const {
  if (vocabulary_ == nullptr) {
    std::vector<std::string> bytes(to_size(tokenizer().num_ids()));
    for (Index id = 0; id < tokenizer().num_ids(); ++id) {
      const auto token = static_cast<TokenId>(id);
      if (!tokenizer().is_control(token)) {
        bytes[to_size(id)] = tokenizer().bytes_of(token);
      }
    }
    vocabulary_ = std::make_shared<const sampling::ConstraintVocabulary>(
        std::move(bytes), model_.stop_ids, tokenizer().control_id(kDsml));
  }
  return vocabulary_;
}

template <typename Compile>
sampling::ConstraintPtr TextServices::compiled(const std::string& key,
                                               const Compile& compile) const {
  const std::lock_guard lock(mutex_);
  const auto known = std::find_if(compiled_.begin(), compiled_.end(),
                                  [&](const auto& entry) { return entry.first == key; });
  if (known != compiled_.end()) {
    std::rotate(known, known + 1, compiled_.end());
    return compiled_.back().second;
  }
  sampling::ConstraintPtr made = compile();
  if (compiled_.size() == kMostCompiled) {
    compiled_.erase(compiled_.begin());
  }
  compiled_.emplace_back(key, made);
  return made;
}

sampling::ConstraintPtr TextServices::constraint(const ContentRule& rule) const {
  using Kind = ContentRule::Kind;
  if (rule.kind == Kind::Free) {
    return nullptr;
  }
  return compiled(std::to_string(static_cast<int>(rule.kind)) + rule.text, [&] {
    switch (rule.kind) {
      case Kind::JsonObject:
        return sampling::compile_json_object(vocabulary());
      case Kind::JsonSchema:
        return sampling::compile_json_schema(rule.text, vocabulary());
      case Kind::Regex:
        return sampling::compile_regex(rule.text, vocabulary());
      default:
        return sampling::compile_ebnf(rule.text, vocabulary());
    }
  });
}

sampling::ConstraintPtr TextServices::call_constraint(std::span<const Tool> tools) const {
  if (!tokenizer().control_id(kDsml)) {
    const auto strict =
        std::find_if(tools.begin(), tools.end(), [](const Tool& tool) { return tool.is_strict; });
    fail(ErrorCode::Unsupported, strict == tools.end() ? "tools" : strict->schema_field,
         ": this model's tokenizer has no token ", kDsml, ", so strict tools cannot be held to it");
  }
  // Lengths keep the parts apart; no rule of content begins so.
  std::string key = "calls";
  for (const Tool& tool : tools) {
    key += (tool.is_strict ? "!" : "?") + std::to_string(tool.name.size()) + tool.name + ":" +
           std::to_string(tool.function_json.size()) + tool.function_json +
           std::to_string(tool.held_schema.size()) + tool.held_schema;
  }
  return compiled(key, [&] {
    std::vector<sampling::CallableTool> callables;
    std::transform(tools.begin(), tools.end(), std::back_inserter(callables), callable);
    return sampling::compile_tool_calls(markup_of(*model_.format), callables, vocabulary());
  });
}

bool is_reply_markup(std::string_view token) {
  return token == kThink || token == kEndOfThink || token == kDsml;
}

PreparedRequest prepare(GenerateRequest request,
                        const TextServices& text,
                        const ModelLimits& limits) {
  return Preparation(std::move(request), text, limits).run();
}

}  // namespace fathom::engine
