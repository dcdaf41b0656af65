// The JSON schema front end: values but objects, which are in schema_objects.cc.
#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "fathom/base/formats/text.h"
#include "fathom/model/sampling/front_ends.h"
#include "fathom/model/sampling/schema_compiler.h"

namespace fathom::sampling {
namespace {

struct Format {
  std::string_view name;
  std::string_view pattern;
};
// Every date of this pattern exists: 29 February is left out rather than leap years worked in.
#define FATHOM_DATE                                           \
  "[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|" \
  "(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
#define FATHOM_TIME \
  "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
constexpr std::array<Format, 9> kFormats = {{
    {"date", "^" FATHOM_DATE "$"},
    {"time", "^" FATHOM_TIME "$"},
    {"date-time", "^" FATHOM_DATE "T" FATHOM_TIME "$"},
    {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    {"ipv4",
     "^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?"
     "[0-9])$"},
    {"ipv6", "^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$"},
    {"hostname",
     "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?){0,3}$"},
    {"email",
     "^[A-Za-z0-9_+-]{1,64}(\\.[A-Za-z0-9_+-]{1,64}){0,3}@[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-"
     "z0-9]([a-z0-9-]{0,61}[a-z0-9])?){1,3}$"},
    {"uri",
     "^[a-z][a-z0-9+.-]{0,30}://[A-Za-z0-9._~-]{1,255}(:[0-9]{1,5})?(/"
     "[A-Za-z0-9._~!$&'()*+,;=:@-]*)*(\\?[A-Za-z0-9._~!$&'()*+,;=:@/-]*)?(#[A-Za-z0-9._~-]*)?$"},
}};
#undef FATHOM_DATE
#undef FATHOM_TIME

double schema_minimum(const SchemaJson& schema) {
  return std::max(schema.value("minimum", -1e308), schema.value("exclusiveMinimum", -1e308));
}

double schema_maximum(const SchemaJson& schema) {
  return std::min(schema.value("maximum", 1e308), schema.value("exclusiveMaximum", 1e308));
}

}  // namespace

ValueRules::ValueRules(Grammar& grammar)
    : grammar_(grammar),
      text_(grammar),
      value_(grammar.add_rule("value")),
      value_but_string_(grammar.add_rule("value but string")),
      plain_character_(grammar.add_rule("plain character")),
      plain_text_(grammar.add_rule("plain text")) {
  const ExprId comma_value = grammar_.sequence({text_.comma(), any_value()});
  const ExprId elements =
      grammar_.sequence({any_value(), grammar_.repeat(comma_value, 0, Grammar::kNoLimit)});
  const ExprId any_object =
      wrapped("{", members(pair(text_.any_string(), any_value()), 0, -1), false, "}");
  grammar_.define(
      value_but_string_,
      grammar_.choice({grammar_.literal("null"), grammar_.literal("true"),
                       grammar_.literal("false"), text_.number({}, JsonText::kMaxDecimals),
                       wrapped("[", elements, true, "]"), any_object}));
  grammar_.define(value_, grammar_.choice({any_value_but_string(), text_.any_string()}));
  grammar_.define(plain_character_, grammar_.code_points({{0, kLastCodePoint}}));
  grammar_.define(plain_text_, grammar_.repeat(plain_character(), 0, Grammar::kNoLimit));
}

ExprId ValueRules::wrapped(std::string_view open,
                           ExprId content,
                           bool is_optional,
                           std::string_view close) {
  const ExprId inner = grammar_.sequence({content, text_.space()});
  return grammar_.sequence({grammar_.literal(open), text_.space(),
                            is_optional ? grammar_.optional(inner) : inner,
                            grammar_.literal(close)});
}

ExprId ValueRules::pair(ExprId name, ExprId value) {
  return grammar_.sequence({name, grammar_.literal(":"), text_.space(), value});
}

ExprId ValueRules::members(ExprId part, Index min, Index max) {
  if (max == 0) {
    return grammar_.empty();
  }
  const ExprId next = grammar_.sequence({text_.comma(), part});
  const ExprId list = grammar_.sequence(
      {part, grammar_.repeat(next, std::max<Index>(min - 1, 0), max < 0 ? max : max - 1)});
  return min > 0 ? list : grammar_.optional(list);
}

SchemaCompiler::SchemaCompiler(ValueRules& rules, std::string_view schema, CallMarkup markup)
    : rules_(rules),
      grammar_(rules.grammar()),
      text_(rules.text()),
      markup_(std::move(markup)),
      root_(std::make_unique<const SchemaJson>(parse_schema_document(schema))),
      document_{.root = *root_} {
  if (!root_->is_boolean() && !root_->is_object()) {
    fail(ErrorCode::InvalidArgument, "schema: expected an object, true or false");
  }
}

SchemaCompiler::~SchemaCompiler() = default;

RuleId SchemaCompiler::compile(Spelling spelling) {
  try {
    const RuleId root = rule_for("#", spelling);
    // References are compiled one after another, not inside each other: chains of them are no
    // recursion here.
    while (!pending_.empty()) {
      const auto [wanted, rule] = pending_.front();
      const auto& [ref, how] = wanted;
      grammar_.define(rule, schema_expr(resolve(document_, ref, "#"), ref, how));
      pending_.pop_front();
    }
    return root;
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::InvalidArgument, "schema: ", formats::quote(error.what()));
  }
}

void SchemaCompiler::fail_unsatisfiable() const {
  fail_schema(
      ErrorCode::InvalidArgument, problem_.empty() ? "#" : problem_where_,
      "nothing satisfies the schema: " +
          (problem_.empty() ? "a value would have to contain itself without end" : problem_));
}

RuleId SchemaCompiler::rule_for(const std::string& ref, Spelling spelling) {
  const Wanted wanted = {ref, spelling};
  const auto [found, is_first] = rule_ids_.try_emplace(wanted, 0);
  if (is_first) {
    found->second = grammar_.add_rule(ref);
    pending_.emplace_back(wanted, found->second);
  }
  return found->second;
}

ExprId SchemaCompiler::impossible(const std::string& where, const std::string& problem) {
  note_problem(where, problem);
  return grammar_.nothing();
}

void SchemaCompiler::note_problem(const std::string& where, const std::string& problem) {
  if (problem_.empty()) {
    problem_where_ = where;
    problem_ = problem;
  }
}

ExprId SchemaCompiler::anything(Spelling spelling) {
  switch (spelling) {
    case Spelling::Json:
      return rules_.any_value();
    case Spelling::JsonButString:
      return rules_.any_value_but_string();
    case Spelling::PlainText:
      return rules_.plain_text();
    case Spelling::Parameters:
      return grammar_.empty();  // none is listed
  }
  return grammar_.nothing();
}

ExprId SchemaCompiler::schema_expr(const SchemaJson& schema,
                                   const std::string& where,
                                   Spelling spelling) {
  if (schema.is_boolean()) {
    return schema.get<bool>() ? anything(spelling) : impossible(where, "it is false");
  }
  check_keywords(schema, where);
  if (schema.contains("$ref") && is_alone(schema, "$ref")) {
    const auto& ref = schema.at("$ref").get_ref<const std::string&>();
    resolve(document_, ref, where);
    return grammar_.reference(rule_for(ref, spelling));
  }
  if (schema.contains("$ref") || schema.contains("allOf")) {
    const SchemaJson flat = flattened(document_, schema, where);
    return schema_expr(flat, where, spelling);
  }
  for (const char* name : {"anyOf", "oneOf"}) {
    if (schema.contains(name)) {
      return branches(schema, name, where, spelling);
    }
  }
  if (schema.contains("const") || schema.contains("enum")) {
    return enumeration(schema, where, spelling);
  }
  return typed(schema, where, spelling);
}

bool SchemaCompiler::is_alone(const SchemaJson& schema, const std::string& keyword) {
  SchemaJson rest = schema;
  rest.erase(keyword);
  return merged(document_, rest, SchemaJson::object(), "#").empty();
}

ExprId SchemaCompiler::branches(const SchemaJson& schema,
                                const std::string& keyword,
                                const std::string& where,
                                Spelling spelling) {
  const std::string here = where + "/" + keyword;
  SchemaJson rest = schema;
  rest.erase(keyword);
  const bool has_rest = !is_alone(schema, keyword);
  std::vector<ExprId> choices;
  std::vector<SchemaJson> flat_branches;
  Index branch_idx = 0;
  for (const SchemaJson& branch : schema.at(keyword)) {
    const std::string branch_where = here + "/" + std::to_string(branch_idx++);
    if (has_rest || keyword == "oneOf") {
      const SchemaJson flat = flattened(document_, branch, branch_where);
      flat_branches.push_back(has_rest ? merged(document_, rest, flat, branch_where) : flat);
      // A reference alone keeps its rule, so that recursion through oneOf stays finite.
      choices.push_back(
          schema_expr(has_rest ? flat_branches.back() : branch, branch_where, spelling));
    } else {
      choices.push_back(schema_expr(branch, branch_where, spelling));
    }
  }
  if (keyword == "oneOf") {
    require_disjoint(document_, flat_branches, here);
  }
  return grammar_.choice(std::move(choices));
}

ExprId SchemaCompiler::enumeration(const SchemaJson& schema,
                                   const std::string& where,
                                   Spelling spelling) {
  if (spelling == Spelling::Parameters) {
    fail_schema(ErrorCode::Unsupported, where,
                "expected properties, found enum or const of whole objects");
  }
  for (const auto& [name, value] : schema.items()) {
    const bool is_checked = name == "const" || name == "enum" || name == "type";
    SchemaJson only = {{name, value}};
    if (!is_checked && !merged(document_, only, SchemaJson::object(), where).empty()) {
      fail_schema(ErrorCode::Unsupported, where,
                  "keyword " + formats::quote(name) + " beside enum or const is not supported");
    }
  }
  SchemaJson values = schema.contains("enum") ? schema.at("enum") : SchemaJson::array();
  if (schema.contains("const")) {
    const SchemaJson& constant = schema.at("const");
    const bool fits = !schema.contains("enum") ||
                      std::find(values.begin(), values.end(), constant) != values.end();
    values = fits ? SchemaJson::array({constant}) : SchemaJson::array();
  }
  const unsigned types = schema.contains("type") ? types_of(schema, where) : unsigned{kAnyType};
  std::vector<std::string> texts;
  bool is_any_allowed = false;
  for (const SchemaJson& value : values) {
    const bool is_integral_float = value.is_number_float() &&
                                   value.dump().find_first_of("eE") == std::string::npos &&
                                   value.dump().ends_with(".0") && (types & kInteger) != 0;
    if ((types & type_of_value(value)) == 0 && !is_integral_float) {
      continue;
    }
    is_any_allowed = true;
    if (spelling == Spelling::Json || value.is_string() == (spelling == Spelling::PlainText)) {
      texts.push_back(spelling == Spelling::PlainText ? value.get<std::string>() : value.dump());
    }
  }
  if (!is_any_allowed) {
    return impossible(where, "no value of enum or const is allowed");
  }
  if (texts.empty()) {
    return grammar_.nothing();  // all are spelt another way
  }
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return any_of(texts, 0, texts.size(), 0);
}

ExprId SchemaCompiler::any_of(const std::vector<std::string>& texts,
                              std::size_t begin,
                              std::size_t end,
                              std::size_t place) {
  const std::string& first = texts[begin];
  const std::string& last = texts[end - 1];
  std::size_t shared = place;
  while (shared < first.size() && shared < last.size() && first[shared] == last[shared]) {
    ++shared;
  }
  std::vector<ExprId> choices;
  if (first.size() == shared) {
    choices.push_back(grammar_.empty());
    ++begin;
  }
  while (begin < end) {
    std::size_t group_end = begin;
    while (group_end < end && texts[group_end][shared] == texts[begin][shared]) {
      ++group_end;
    }
    choices.push_back(any_of(texts, begin, group_end, shared));
    begin = group_end;
    if (choices.size() == 1 && begin == end) {
      break;
    }
  }
  return grammar_.sequence(
      {grammar_.literal(first.substr(place, shared - place)), grammar_.choice(std::move(choices))});
}

ExprId SchemaCompiler::typed(const SchemaJson& schema,
                             const std::string& where,
                             Spelling spelling) {
  unsigned types = types_of(schema, where);
  if (types == kAnyType) {
    return anything(spelling);
  }
  if (types == 0) {
    return impossible(where, "it allows no type");
  }
  if (spelling == Spelling::Parameters) {
    return (types & kObject) != 0 ? parameters(schema, where)
                                  : impossible(where, "parameters are an object");
  }
  if (spelling != Spelling::Json) {
    types &= spelling == Spelling::PlainText ? unsigned{kString} : ~unsigned{kString};
  }
  std::vector<ExprId> choices;
  if ((types & kNull) != 0) {
    choices.push_back(grammar_.literal("null"));
  }
  if ((types & kBoolean) != 0) {
    choices.push_back(grammar_.choice({grammar_.literal("true"), grammar_.literal("false")}));
  }
  if ((types & (kInteger | kNumber)) != 0) {
    choices.push_back(number(schema, (types & kNumber) == 0, where));
  }
  if ((types & kString) != 0) {
    choices.push_back(string(schema, where, spelling));
  }
  if ((types & kArray) != 0) {
    choices.push_back(array(schema, where));
  }
  if ((types & kObject) != 0) {
    choices.push_back(object(schema, where));
  }
  return grammar_.choice(std::move(choices));
}

std::optional<Bound> SchemaCompiler::bound(const SchemaJson& schema,
                                           const std::string& keyword,
                                           bool is_exclusive,
                                           bool is_low,
                                           const std::string& where) {
  const SchemaJson& value = schema.at(keyword);
  const double number = value.get<double>();
  constexpr double kFar = 1e18;
  if (is_low ? number <= -kFar : number >= kFar) {
    return std::nullopt;
  }
  const auto decimal = decimal_of(value.dump());
  if (!decimal.has_value()) {
    fail_schema(ErrorCode::Unsupported, where + "/" + keyword,
                "expected at most 18 digits before the point and 16 after it");
  }
  return Bound{*decimal, is_exclusive};
}

ExprId SchemaCompiler::number(const SchemaJson& schema, bool is_integer, const std::string& where) {
  NumberRange range;
  const auto tighter = [&](const char* plain, const char* exclusive, bool is_low) {
    const bool has_plain = schema.contains(plain);
    const bool has_exclusive = schema.contains(exclusive);
    if (!has_plain && !has_exclusive) {
      return std::optional<Bound>();
    }
    const bool takes_plain =
        has_plain && (!has_exclusive || (is_low ? schema.at(plain) > schema.at(exclusive)
                                                : schema.at(plain) < schema.at(exclusive)));
    return bound(schema, takes_plain ? plain : exclusive, !takes_plain, is_low, where);
  };
  range.low = tighter("minimum", "exclusiveMinimum", true);
  range.high = tighter("maximum", "exclusiveMaximum", false);
  ExprId result = -1;
  if (schema.contains("multipleOf")) {
    result = multiple(schema, is_integer, range, where);
  } else {
    result = is_integer ? text_.integer(range) : text_.number(range, JsonText::kMaxDecimals);
  }
  if (range.low.has_value() && range.high.has_value() &&
      schema_minimum(schema) > schema_maximum(schema)) {
    return impossible(where, "minimum is greater than maximum");
  }
  if (range.low.has_value() || range.high.has_value()) {
    note_problem(where, "no number lies within its bounds");
  }
  return result;
}

ExprId SchemaCompiler::multiple(const SchemaJson& schema,
                                bool is_integer,
                                const NumberRange& range,
                                const std::string& where) {
  const SchemaJson& divisor = schema.at("multipleOf");
  const std::string here = where + "/multipleOf";
  if (!(divisor > 0)) {
    fail_schema(ErrorCode::InvalidArgument, here, "expected a number above 0");
  }
  const bool is_one = divisor == 1;
  const bool has_bounds = range.low.has_value() || range.high.has_value();
  if (is_one) {
    return text_.integer(range);
  }
  if (divisor.is_number_integer() && divisor <= 1000 && !has_bounds) {
    return text_.integer_multiple_of(divisor.get<Index>());
  }
  const auto decimal = decimal_of(divisor.dump());
  const bool is_power_of_tenth =
      decimal.has_value() && decimal->whole == "0" &&
      decimal->fraction == std::string(decimal->fraction.size() - 1, '0') + "1";
  if (is_power_of_tenth) {
    return is_integer ? text_.integer(range)
                      : text_.number(range, to_index(decimal->fraction.size()));
  }
  fail_schema(ErrorCode::Unsupported, here,
              "supported are 1, 0.1, 0.01 ..., and whole numbers to 1000 without bounds");
}

ExprId SchemaCompiler::spelt_string(
    Spelling spelling, const std::function<ExprId(const CodePointsToExpr&)>& characters) {
  if (spelling == Spelling::PlainText) {
    return characters(
        [this](const std::vector<CodePointRange>& ranges) { return grammar_.code_points(ranges); });
  }
  return text_.quoted(characters(
      [this](const std::vector<CodePointRange>& ranges) { return text_.spell(ranges); }));
}

ExprId SchemaCompiler::regex(std::string_view pattern,
                             const std::string& where,
                             Spelling spelling) {
  return spelt_string(spelling, [&](const CodePointsToExpr& spell) {
    return add_regex(grammar_, pattern, RegexMatch::Search, spell, "schema: " + where);
  });
}

ExprId SchemaCompiler::lark(std::string_view text, const std::string& where, Spelling spelling) {
  return spelt_string(spelling, [&](const CodePointsToExpr& spell) {
    return add_lark(grammar_, text, spell, "schema: " + where);
  });
}

ExprId SchemaCompiler::string(const SchemaJson& schema,
                              const std::string& where,
                              Spelling spelling) {
  const Index min = schema.value("minLength", Index{0});
  const Index max = schema.contains("maxLength") ? schema.at("maxLength").get<Index>() : -1;
  require_count(min, where + "/minLength");
  require_count(max, where + "/maxLength");
  const bool has_length = min > 0 || max >= 0;
  const bool has_pattern = schema.contains("pattern");
  const bool has_format = schema.contains("format");
  const bool has_grammar = schema.contains("lark");
  if (int{has_length} + int{has_pattern} + int{has_format} + int{has_grammar} > 1) {
    fail_schema(ErrorCode::Unsupported, where,
                "of length, pattern, format and lark only one is supported");
  }
  if (has_grammar) {
    note_problem(where + "/lark", "no text is of the grammar");
    return lark(schema.at("lark").get<std::string>(), where + "/lark", spelling);
  }
  if (has_pattern) {
    note_problem(where + "/pattern", "no text matches the pattern");
    return regex(schema.at("pattern").get<std::string>(), where + "/pattern", spelling);
  }
  if (has_format) {
    const auto name = schema.at("format").get<std::string>();
    const auto format = std::find_if(kFormats.begin(), kFormats.end(),
                                     [&](const Format& entry) { return entry.name == name; });
    if (format == kFormats.end()) {
      fail_schema(ErrorCode::Unsupported, where + "/format",
                  "format " + formats::quote(name) + " is not supported");
    }
    return regex(format->pattern, where + "/format", spelling);
  }
  if (max >= 0 && min > max) {
    return impossible(where, "minLength " + std::to_string(min) + " is greater than maxLength " +
                                 std::to_string(max));
  }
  if (!has_length) {
    return spelling == Spelling::PlainText ? rules_.plain_text() : text_.any_string();
  }
  return spelling == Spelling::PlainText
             ? grammar_.repeat(rules_.plain_character(), min, max)
             : text_.quoted(grammar_.repeat(text_.string_character(), min, max));
}

ExprId SchemaCompiler::array(const SchemaJson& schema, const std::string& where) {
  if (schema.value("uniqueItems", false)) {
    fail_schema(ErrorCode::Unsupported, where + "/uniqueItems", "true is not supported");
  }
  const Index min = schema.value("minItems", Index{0});
  Index max = schema.contains("maxItems") ? schema.at("maxItems").get<Index>() : -1;
  require_count(min, where + "/minItems");
  require_count(max, where + "/maxItems");
  std::vector<ExprId> first;
  if (schema.contains("prefixItems")) {
    for (const SchemaJson& item : schema.at("prefixItems")) {
      first.push_back(schema_expr(item, where + "/prefixItems/" + std::to_string(first.size())));
    }
  }
  const bool has_rest = schema.contains("items") || first.empty();
  const auto num_first = to_index(first.size());
  max = has_rest ? max : max < 0 ? num_first : std::min(max, num_first);
  if (max >= 0 && min > max) {
    return impossible(where, "minItems " + std::to_string(min) + " is greater than the " +
                                 std::to_string(max) + " items that are allowed");
  }
  const ExprId item = schema.contains("items") ? schema_expr(schema.at("items"), where + "/items")
                                               : rules_.any_value();
  if (first.empty()) {
    return max == 0 ? rules_.wrapped("[", grammar_.empty(), true, "]")
                    : rules_.wrapped("[", rules_.members(item, std::max<Index>(min, 1), max),
                                     min == 0, "]");
  }
  return rules_.wrapped("[", tuple(first, item, min, max), false, "]");
}

ExprId SchemaCompiler::tuple(const std::vector<ExprId>& first, ExprId item, Index min, Index max) {
  const auto num_first = to_index(first.size());
  const ExprId next = grammar_.sequence({text_.comma(), item});
  const Index max_rest = max < 0 ? Index{-1} : std::max<Index>(max - num_first, 0);
  ExprId after = grammar_.repeat(next, std::max<Index>(min - num_first, 0), max_rest);
  for (Index i = num_first - 1; i >= 0; --i) {
    if (max >= 0 && i >= max) {
      after = grammar_.empty();
      continue;
    }
    const RuleId rule = grammar_.add_rule("item");
    grammar_.define(rule, grammar_.sequence({i == 0 ? grammar_.empty() : text_.comma(),
                                             first[to_size(i)], after}));
    after = i >= min ? grammar_.optional(grammar_.reference(rule)) : grammar_.reference(rule);
  }
  return after;
}

void require_count(Index count, const std::string& where) {
  if (count > kMaxRepetition) {
    fail_schema(ErrorCode::Unsupported, where,
                "expected at most " + std::to_string(kMaxRepetition));
  }
}

Grammar parse_json_schema(std::string_view schema) {
  Grammar grammar;
  ValueRules rules(grammar);
  SchemaCompiler compiler(rules, schema);
  grammar.root = compiler.compile(Spelling::Json);
  if (!prune(grammar)) {
    compiler.fail_unsatisfiable();
  }
  return grammar;
}

}  // namespace fathom::sampling
