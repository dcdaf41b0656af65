// Objects of a JSON schema, and parameters of calls: which properties come, in which order.
#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "fathom/base/formats/text.h"
#include "fathom/model/sampling/front_ends.h"
#include "fathom/model/sampling/schema_compiler.h"

namespace fathom::sampling {

ExprId SchemaCompiler::object(const SchemaJson& schema, const std::string& where) {
  const SchemaJson properties = schema.value("properties", SchemaJson::object());
  const SchemaJson required = schema.value("required", SchemaJson::array());
  const auto is_required = [&](const std::string& name) {
    return std::find(required.begin(), required.end(), name) != required.end();
  };
  std::vector<Member> list;
  const std::string prefix = where + "/properties/";
  for (const auto& [name, property] : properties.items()) {
    const ExprId value = schema_expr(property, prefix + name);
    list.push_back(
        {rules_.pair(grammar_.literal(SchemaJson(name).dump()), value), is_required(name)});
  }
  const ExprId extra = extra_pair(schema, properties, where);
  for (const SchemaJson& name : required) {
    const auto& text = name.get_ref<const std::string&>();
    if (!properties.contains(text)) {
      list.push_back({required_extra(schema, text, where), true});
    }
  }
  refuse_counting(schema, list, extra >= 0, where);
  if (!list.empty()) {
    return rules_.wrapped("{", in_order(list, text_.comma(), extra), false, "}");
  }
  const Index min = schema.value("minProperties", Index{0});
  const Index max = schema.contains("maxProperties") ? schema.at("maxProperties").get<Index>() : -1;
  if (max >= 0 && min > max) {
    return impossible(where, "minProperties is greater than maxProperties");
  }
  return extra < 0 || max == 0
             ? (min > 0 ? impossible(where, "minProperties without any property")
                        : rules_.wrapped("{", grammar_.empty(), true, "}"))
             : rules_.wrapped("{", rules_.members(extra, std::max<Index>(min, 1), max), min == 0,
                              "}");
}

void SchemaCompiler::refuse_counting(const SchemaJson& schema,
                                     const std::vector<Member>& list,
                                     bool has_extra,
                                     const std::string& where) {
  const Index min = schema.value("minProperties", Index{0});
  const Index max = schema.contains("maxProperties") ? schema.at("maxProperties").get<Index>() : -1;
  require_count(min, where + "/minProperties");
  require_count(max, where + "/maxProperties");
  const auto num_required = std::count_if(list.begin(), list.end(),
                                          [](const Member& member) { return member.is_required; });
  const bool needs_counting =
      min > num_required || (max >= 0 && (has_extra || max < to_index(list.size())));
  if (!list.empty() && needs_counting) {
    fail_schema(ErrorCode::Unsupported, where,
                "minProperties and maxProperties are supported only without properties");
  }
}

ExprId SchemaCompiler::parameters(const SchemaJson& schema, const std::string& where) {
  for (const char* name : {"patternProperties", "propertyNames"}) {
    if (schema.contains(name)) {
      fail_schema(ErrorCode::Unsupported, where + "/" + name,
                  "expected properties: a strict call has no other parameters");
    }
  }
  if (schema.contains("additionalProperties") && schema.at("additionalProperties") != false) {
    fail_schema(ErrorCode::Unsupported, where + "/additionalProperties",
                "expected false: a strict call has no other parameters");
  }
  const SchemaJson properties = schema.value("properties", SchemaJson::object());
  const SchemaJson required = schema.value("required", SchemaJson::array());
  std::vector<Member> list;
  const std::string prefix = where + "/properties/";
  for (const auto& [name, property] : properties.items()) {
    list.push_back({parameter(name, property, prefix + name),
                    std::find(required.begin(), required.end(), name) != required.end()});
  }
  for (const SchemaJson& name : required) {
    const auto& text = name.get_ref<const std::string&>();
    if (!properties.contains(text)) {
      const bool is_closed = schema.contains("additionalProperties");
      list.push_back({parameter(text, !is_closed, where + "/required"), true});
    }
  }
  refuse_counting(schema, list, false, where);
  if (list.empty() && schema.value("minProperties", Index{0}) > 0) {
    return impossible(where, "minProperties without any property");
  }
  return in_order(list, grammar_.literal("\n"), -1);
}

ExprId SchemaCompiler::parameter(const std::string& name,
                                 const SchemaJson& schema,
                                 const std::string& where) {
  if (!can_be_in_call(name, markup_)) {
    fail_schema(
        ErrorCode::Unsupported, where,
        "a call cannot have a parameter whose name has a quote or " + markup_.mark + " in it");
  }
  // One after the other, so that what is wrong is found in the order of the schema.
  const ExprId as_text = schema_expr(schema, where, Spelling::PlainText);
  const ExprId as_json = schema_expr(schema, where, Spelling::JsonButString);
  const std::string tag = std::string(kCallMark) + markup_.parameter;
  return grammar_.sequence(
      {grammar_.literal("<" + tag + " name=\"" + name + "\" string=\""),
       grammar_.choice({grammar_.sequence({grammar_.literal("true\">"), as_text}),
                        grammar_.sequence({grammar_.literal("false\">"), as_json})}),
       grammar_.literal("</" + tag + ">")});
}

ExprId SchemaCompiler::required_extra(const SchemaJson& schema,
                                      const std::string& name,
                                      const std::string& where) {
  if (schema.contains("patternProperties") || schema.contains("propertyNames")) {
    fail_schema(ErrorCode::Unsupported, where + "/required",
                "a name outside properties beside patternProperties or propertyNames");
  }
  const ExprId key = grammar_.literal(SchemaJson(name).dump());
  if (!schema.contains("additionalProperties")) {
    return rules_.pair(key, rules_.any_value());
  }
  return rules_.pair(
      key, schema_expr(schema.at("additionalProperties"), where + "/additionalProperties"));
}

ExprId SchemaCompiler::in_order(const std::vector<Member>& list, ExprId separator, ExprId extra) {
  std::array<ExprId, 2> rest = {grammar_.empty(), grammar_.empty()};
  if (extra >= 0) {
    rest[1] = grammar_.repeat(grammar_.sequence({separator, extra}), 0, Grammar::kNoLimit);
    rest[0] = grammar_.optional(grammar_.sequence({extra, rest[1]}));
  }
  for (auto member = list.rbegin(); member != list.rend(); ++member) {
    std::array<ExprId, 2> next = {};
    for (const std::size_t has_before : {std::size_t{0}, std::size_t{1}}) {
      const RuleId rule = grammar_.add_rule("members");
      ExprId present = grammar_.sequence({member->text, rest[1]});
      if (has_before == 1) {
        present = grammar_.sequence({separator, present});
      }
      grammar_.define(rule,
                      member->is_required ? present : grammar_.choice({present, rest[has_before]}));
      next[has_before] = grammar_.reference(rule);
    }
    rest = next;
  }
  return rest[0];
}

ExprId SchemaCompiler::extra_pair(const SchemaJson& schema,
                                  const SchemaJson& properties,
                                  const std::string& where) {
  const bool has_patterns = schema.contains("patternProperties");
  const bool has_additional = schema.contains("additionalProperties");
  const bool has_names = schema.contains("propertyNames");
  if (has_patterns) {
    const SchemaJson& patterns = schema.at("patternProperties");
    const bool is_closed = !has_additional || schema.at("additionalProperties") == false;
    if (patterns.size() != 1 || !properties.empty() || !is_closed || has_names) {
      fail_schema(
          ErrorCode::Unsupported, where + "/patternProperties",
          "supported is one pattern, without properties, additionalProperties or propertyNames");
    }
    const std::string here = where + "/patternProperties/" + patterns.begin().key();
    return rules_.pair(regex(patterns.begin().key(), here, Spelling::Json),
                       schema_expr(patterns.begin().value(), here));
  }
  if (has_additional ? schema.at("additionalProperties") == false : !properties.empty()) {
    return -1;
  }
  const ExprId value = has_additional ? schema_expr(schema.at("additionalProperties"),
                                                    where + "/additionalProperties")
                                      : rules_.any_value();
  if (has_names) {
    if (!properties.empty()) {
      fail_schema(ErrorCode::Unsupported, where + "/propertyNames",
                  "supported only without properties");
    }
    return rules_.pair(property_name(schema.at("propertyNames"), where + "/propertyNames"), value);
  }
  std::vector<std::string> names;
  for (const auto& [name, property] : properties.items()) {
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return rules_.pair(names.empty() ? text_.any_string() : name_outside(names), value);
}

ExprId SchemaCompiler::property_name(const SchemaJson& schema, const std::string& where) {
  SchemaJson flat = flattened(document_, schema, where);
  if (!flat.is_object()) {
    return schema_expr(flat, where);
  }
  return schema_expr(merged(document_, flat, {{"type", "string"}}, where), where);
}

ExprId SchemaCompiler::name_outside(const std::vector<std::string>& names) {
  return text_.quoted(outside(names, 0, names.size(), 0, 0));
}

ExprId SchemaCompiler::outside(const std::vector<std::string>& names,
                               std::size_t begin,
                               std::size_t end,
                               std::size_t place,
                               Index depth) {
  if (depth > 1000) {
    fail_schema(ErrorCode::Unsupported, "#", "property names longer than 1000 characters");
  }
  std::vector<CodePointRange> excluded = {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}};
  const ExprId plain = grammar_.code_points(complement(excluded));
  std::vector<ExprId> choices;
  if (names[begin].size() == place) {
    ++begin;  // this name itself must go on
  } else {
    choices.push_back(grammar_.empty());
  }
  while (begin < end) {
    std::size_t after = place;
    const auto letter = next_code_point(names[begin], after);
    const std::string bytes = names[begin].substr(place, after - place);
    std::size_t group_end = begin;
    while (group_end < end && names[group_end].compare(place, bytes.size(), bytes) == 0) {
      ++group_end;
    }
    const std::uint32_t code_point = letter.value_or(0);
    // A name with characters that need escapes cannot be met by this spelling.
    if (code_point > 0x1F && code_point != '"' && code_point != '\\') {
      excluded.push_back({code_point, code_point});
      choices.push_back(grammar_.sequence(
          {grammar_.literal(bytes), outside(names, begin, group_end, after, depth + 1)}));
    }
    begin = group_end;
  }
  choices.push_back(grammar_.sequence(
      {grammar_.code_points(complement(excluded)), grammar_.repeat(plain, 0, Grammar::kNoLimit)}));
  return grammar_.choice(std::move(choices));
}

}  // namespace fathom::sampling
