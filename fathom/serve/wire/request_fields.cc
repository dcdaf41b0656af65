#include "fathom/serve/wire/request_fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <limits>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::wire {
namespace {

using engine::ContentRule;
using engine::GenerateRequest;
using text::JsonField;
using Kind = text::JsonValue::Kind;

constexpr Index kMostStopStrings = 16;
constexpr double kLongestTimeoutS = 86400;
constexpr std::int64_t kLowestInt = std::numeric_limits<std::int32_t>::min();
constexpr std::int64_t kHighestInt = std::numeric_limits<std::int32_t>::max();

void set(double& target, const std::optional<double>& value) {
  target = value.value_or(target);
}

void read_logit_bias(const JsonField& field, std::vector<sampling::LogitBias>& biases) {
  if (field.is_absent()) {
    return;
  }
  field.require(Kind::Object, "an object of token ids and numbers");
  for (Index i = 0; i < field.size(); ++i) {
    const std::string& key = field.value().keys[to_size(i)];
    sampling::LogitBias bias;
    const char* const end = key.data() + key.size();
    const auto parsed = std::from_chars(key.data(), end, bias.id);
    if (parsed.ec != std::errc() || parsed.ptr != end || bias.id < 0) {
      fail(ErrorCode::InvalidArgument, field.path(), ": expected token ids as names, found ",
           formats::quote(key));
    }
    const JsonField value = field.member(key);
    if (value.is_absent()) {
      value.refuse("a number from -100 to 100");
    }
    bias.bias = *value.number(-100, 100);
    biases.push_back(bias);
  }
}

// In the grammar's notation; every byte that is not printable ASCII by its number.
std::string grammar_literal(std::string_view text) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string literal = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      literal.push_back('\\');
      literal.push_back(c);
    } else if (c == '\n') {
      literal += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      const auto byte = static_cast<unsigned char>(c);
      literal += "\\x";
      literal.push_back(kDigits[byte >> 4]);
      literal.push_back(kDigits[byte & 15]);
    } else {
      literal.push_back(c);
    }
  }
  literal.push_back('"');
  return literal;
}

std::string choice_grammar(const JsonField& field) {
  if (!field.has_items()) {
    field.refuse("at least one string");
  }
  std::string grammar = "root ::= ";
  for (Index i = 0; i < field.size(); ++i) {
    const std::string choice = field.item(i).text();
    if (choice.empty()) {
      field.item(i).refuse("text that is not empty");
    }
    grammar += (i == 0 ? "" : " | ") + grammar_literal(choice);
  }
  return grammar + "\n";
}

// One of the ways to say what content has to be.
ContentRule read_rule(const JsonField& field, std::string_view way) {
  if (way == "json") {
    if (field.is(Kind::String)) {
      return {.kind = ContentRule::Kind::JsonSchema, .text = field.value().text};
    }
    field.require(Kind::Object, "a JSON schema");
    return {.kind = ContentRule::Kind::JsonSchema, .text = print_json(field.value())};
  }
  if (way == "choice") {
    return {.kind = ContentRule::Kind::Grammar, .text = choice_grammar(field)};
  }
  return {.kind = way == "regex" ? ContentRule::Kind::Regex : ContentRule::Kind::Grammar,
          .text = field.text()};
}

}  // namespace

void read_sampling(const JsonField& body, GenerateRequest& request) {
  sampling::SamplingOptions& options = request.sampling;
  set(options.temperature, body.member("temperature").number(0, 2));
  set(options.top_p, body.member("top_p").number(0, 1));
  if (options.top_p == 0) {
    options.top_p = std::numeric_limits<double>::min();
  }
  const auto top_k = body.member("top_k").integer(-1, kHighestInt);
  options.top_k = top_k ? std::max<Index>(*top_k, 0) : options.top_k;
  set(options.min_p, body.member("min_p").number(0, 1));
  set(options.typical_p, body.member("typical_p").number(0, 1));
  set(options.repetition_penalty, body.member("repetition_penalty").number(0, 100));
  set(options.presence_penalty, body.member("presence_penalty").number(-2, 2));
  set(options.frequency_penalty, body.member("frequency_penalty").number(-2, 2));
  read_logit_bias(body.member("logit_bias"), options.logit_bias);
  const auto seed = body.member("seed").integer(std::numeric_limits<std::int64_t>::min(),
                                                std::numeric_limits<std::int64_t>::max());
  if (seed) {
    options.seed = static_cast<std::uint64_t>(*seed);
    request.has_seed = true;
  }
}

void read_scheduling(const JsonField& body, GenerateRequest& request) {
  const std::vector<engine::TokenId> ids = read_token_ids(body.member("stop_token_ids"));
  request.stop_ids.insert(request.stop_ids.end(), ids.begin(), ids.end());
  request.ignores_end = body.member("ignore_eos").boolean_or(request.ignores_end);
  const auto priority = body.member("priority").integer(kLowestInt, kHighestInt);
  request.priority = priority ? static_cast<int>(*priority) : request.priority;
  const auto timeout_s = body.member("timeout").number(0, kLongestTimeoutS);
  if (timeout_s) {
    request.deadline =
        std::chrono::ceil<std::chrono::milliseconds>(std::chrono::duration<double>(*timeout_s));
  }
}

std::vector<std::string> read_stop_strings(const JsonField& field) {
  std::vector<std::string> stops;
  const auto add = [&stops](const JsonField& item) {
    stops.push_back(item.text());
    if (stops.back().empty()) {
      item.refuse("text that is not empty");
    }
  };
  if (field.is_absent()) {
    return stops;
  }
  if (field.is(Kind::String)) {
    add(field);
    return stops;
  }
  field.require(Kind::Array, "a string or a list of strings");
  if (field.size() > kMostStopStrings) {
    fail(ErrorCode::InvalidArgument, field.path(), ": expected at most ", kMostStopStrings,
         " strings, found ", field.size());
  }
  for (Index i = 0; i < field.size(); ++i) {
    add(field.item(i));
  }
  return stops;
}

std::vector<engine::TokenId> read_token_ids(const JsonField& field) {
  std::vector<engine::TokenId> ids;
  if (!field.has_items()) {
    return ids;
  }
  ids.reserve(to_size(field.size()));
  for (Index i = 0; i < field.size(); ++i) {
    const JsonField item = field.item(i);
    if (item.is_absent()) {
      item.refuse("a token id");
    }
    ids.push_back(static_cast<engine::TokenId>(*item.integer(0, kHighestInt)));
  }
  return ids;
}

std::string read_structured_outputs(const JsonField& body, ContentRule& rule) {
  constexpr auto kWays = std::to_array<std::string_view>({"json", "regex", "choice", "grammar"});
  std::string path;
  const auto set_rule = [&](const JsonField& field, std::string_view way) {
    if (field.is_absent()) {
      return;
    }
    if (rule.kind != ContentRule::Kind::Free) {
      field.refuse("at most one constraint on the content");
    }
    rule = read_rule(field, way);
    path = field.path();
  };
  const JsonField outputs = body.member("structured_outputs").object();
  for (const std::string_view way : kWays) {
    set_rule(outputs.member(way), way);
    set_rule(body.member("guided_" + std::string(way)), way);
  }
  const JsonField object = outputs.member("json_object");
  if (object.boolean_or(false)) {
    if (rule.kind != ContentRule::Kind::Free) {
      object.refuse("at most one constraint on the content");
    }
    rule.kind = ContentRule::Kind::JsonObject;
    path = object.path();
  }
  const JsonField tag = outputs.member("structural_tag");
  if (!tag.is_absent()) {
    fail(ErrorCode::Unsupported, tag.path(), ": expected json, regex, choice or grammar instead");
  }
  return path;
}

std::string cache_scope(const http::Request& request, std::string_view user) {
  if (request.key_name.empty() && user.empty()) {
    return {};
  }
  // Lengths keep ("a", "bc") and ("ab", "c") apart.
  return std::to_string(request.key_name.size()) + ":" + request.key_name + std::string(user);
}

}  // namespace fathom::wire
