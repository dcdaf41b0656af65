#include "apps/fathom/text_options.h"

#include <charconv>
#include <random>
#include <string_view>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

#include "apps/fathom/input.h"

namespace fathom::app {
namespace {

template <typename Number>
bool parse_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

sampling::LogitBias parse_bias(std::string_view text) {
  const std::size_t colon = text.find(':');
  sampling::LogitBias bias;
  if (colon == std::string_view::npos || !parse_number(text.substr(0, colon), bias.id) ||
      !parse_number(text.substr(colon + 1), bias.bias)) {
    fail(ErrorCode::InvalidArgument, "--logit-bias: expected ID:BIAS, found ",
         formats::quote(text));
  }
  return bias;
}

void add_sampling_options(CLI::App& command, TextOptions& options) {
  sampling::SamplingOptions& sampling = options.sampling;
  const auto number = [&](const char* name, auto& value, const char* help) {
    command.add_option(name, value, help)->capture_default_str()->type_name("X");
  };
  number("--temperature", sampling.temperature, "0: the most probable token each time");
  number("--top-k", sampling.top_k, "Only the K most probable tokens; 0: all");
  number("--top-p", sampling.top_p, "Only the most probable tokens that hold this probability");
  number("--min-p", sampling.min_p, "Only tokens with this share of the best one's probability");
  number("--typical-p", sampling.typical_p, "Only the most typical tokens; 1: all");
  number("--repetition-penalty", sampling.repetition_penalty, "On tokens seen before; 1: none");
  number("--presence-penalty", sampling.presence_penalty, "Once per token the reply holds");
  number("--frequency-penalty", sampling.frequency_penalty, "Per occurrence in the reply");
  command
      .add_option("--logprobs", sampling.num_top_logprobs,
                  "Report the N most probable tokens at every place (run --json)")
      ->type_name("N");
  command
      .add_option("--logit-bias", options.logit_bias, "Added to the logit of a token; repeatable")
      ->type_name("ID:BIAS");
  command
      .add_option_function<std::uint64_t>(
          "--seed",
          [&options](const std::uint64_t& seed) {
            options.sampling.seed = seed;
            options.has_seed = true;
          },
          "The same seed gives the same reply (default: another one each time)")
      ->type_name("N");
}

}  // namespace

void add_text_options(CLI::App& command, TextOptions& options) {
  add_context_options(command, options.run);
  command
      .add_option("--max-tokens", options.max_tokens, "Of a reply (default: as the context holds)")
      ->check(CLI::Range(Index{1}, kMaxCount))
      ->type_name("N");
  command.add_option("--stop", options.stop, "End the reply before this text; repeatable")
      ->type_name("TEXT");
  command.add_option("--system", options.system, "System message of a conversation")
      ->type_name("TEXT");
  command.add_option("--thinking", options.thinking, "on or off (default: on where the model can)")
      ->check(CLI::IsMember({"on", "off"}))
      ->type_name("WHETHER");
  command.add_option("--effort", options.effort, "Reasoning effort: low, high, max ...")
      ->type_name("NAME");
  command
      .add_option("--dialect", options.dialect,
                  "DeepSeek-V4's prompts: preview or 0731 (default: as the model's folder tells)")
      ->type_name("NAME");
  add_sampling_options(command, options);
  auto* const schema =
      command
          .add_option("--json-schema", options.json_schema,
                      "The reply is JSON of this schema (docs/structured-output.md)")
          ->type_name("FILE");
  auto* const regex =
      command.add_option("--regex", options.regex, "The reply matches this pattern")
          ->type_name("PATTERN")
          ->excludes(schema);
  command.add_option("--grammar", options.grammar, "The reply is a text of this EBNF grammar")
      ->type_name("FILE")
      ->excludes(schema)
      ->excludes(regex);
}

TextSession open_session(const TextOptions& options) {
  TextModel text_model = open_text_model(options.run.model, options.dialect);
  return {Model::open(options.run.model, options.run.model_options()), std::move(text_model)};
}

ReplyOptions reply_options(const TextOptions& options, const TextSession& session) {
  using Kind = engine::ContentRule::Kind;
  ReplyOptions result = {.sampling = options.sampling,
                         .max_tokens = options.max_tokens,
                         .stop = options.stop,
                         .content = {}};
  if (!options.has_seed) {
    result.sampling.seed = std::random_device()();
  }
  for (const std::string& bias : options.logit_bias) {
    result.sampling.logit_bias.push_back(parse_bias(bias));
  }
  if (!options.json_schema.empty()) {
    result.content = {.kind = Kind::JsonSchema, .text = read_input(options.json_schema)};
  } else if (!options.regex.empty()) {
    result.content = {.kind = Kind::Regex, .text = options.regex};
  } else if (!options.grammar.empty()) {
    result.content = {.kind = Kind::Grammar, .text = read_input(options.grammar)};
  }
  session.check(result.content);
  return result;
}

text::RenderOptions render_options(const TextOptions& options) {
  text::RenderOptions render;
  render.thinking = options.thinking != "off";
  if (!options.effort.empty()) {
    render.effort = options.effort;
  }
  return render;
}

std::function<void(Index done, Index total)> show_prompt(Progress& progress) {
  return [&progress](Index done, Index total) {
    progress.set_total(total);
    progress.update(done);
    if (done == total) {
      progress.finish();
    }
  };
}

}  // namespace fathom::app
