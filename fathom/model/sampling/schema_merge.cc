#include "fathom/model/sampling/schema_merge.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "fathom/base/formats/text.h"
#include "fathom/model/sampling/front_ends.h"

namespace fathom::sampling {
namespace {

constexpr Index kMaxCopied = 1'000'000;  // values of JSON; flattening itself counts as ten
constexpr int kMaxFlattening = 64;       // references and allOf inside each other

enum class Shape { Anything, Schema, Schemas, SchemaMap, Text, Texts, Number, Count, Flag, List };

// How two values of a keyword that both hold become one.
enum class Merge { Drop, Larger, Smaller, Same, Special };

struct Keyword {
  std::string_view name;
  Shape shape;
  Merge merge;
  unsigned types;  // what a schema without `type` is taken to speak about
};

constexpr std::array<Keyword, 45> kKeywords = {{
    {"type", Shape::Anything, Merge::Special, 0},
    {"enum", Shape::List, Merge::Special, 0},
    {"const", Shape::Anything, Merge::Special, 0},
    {"anyOf", Shape::Schemas, Merge::Same, 0},
    {"oneOf", Shape::Schemas, Merge::Same, 0},
    {"allOf", Shape::Schemas, Merge::Special, 0},
    {"$ref", Shape::Text, Merge::Special, 0},
    {"properties", Shape::SchemaMap, Merge::Special, kObject},
    {"required", Shape::Texts, Merge::Special, kObject},
    {"additionalProperties", Shape::Schema, Merge::Special, kObject},
    {"patternProperties", Shape::SchemaMap, Merge::Same, kObject},
    {"propertyNames", Shape::Schema, Merge::Special, kObject},
    {"minProperties", Shape::Count, Merge::Larger, kObject},
    {"maxProperties", Shape::Count, Merge::Smaller, kObject},
    {"items", Shape::Schema, Merge::Special, kArray},
    {"prefixItems", Shape::Schemas, Merge::Same, kArray},
    {"minItems", Shape::Count, Merge::Larger, kArray},
    {"maxItems", Shape::Count, Merge::Smaller, kArray},
    {"uniqueItems", Shape::Flag, Merge::Same, kArray},
    {"minLength", Shape::Count, Merge::Larger, kString},
    {"maxLength", Shape::Count, Merge::Smaller, kString},
    {"pattern", Shape::Text, Merge::Same, kString},
    {"lark", Shape::Text, Merge::Same, kString},
    {"format", Shape::Text, Merge::Same, 0},
    {"minimum", Shape::Number, Merge::Larger, kNumber},
    {"maximum", Shape::Number, Merge::Smaller, kNumber},
    {"exclusiveMinimum", Shape::Number, Merge::Larger, kNumber},
    {"exclusiveMaximum", Shape::Number, Merge::Smaller, kNumber},
    {"multipleOf", Shape::Number, Merge::Same, kNumber},
    // What follows restricts nothing.
    {"$schema", Shape::Text, Merge::Drop, 0},
    {"$id", Shape::Text, Merge::Drop, 0},
    {"$comment", Shape::Text, Merge::Drop, 0},
    {"$defs", Shape::SchemaMap, Merge::Drop, 0},
    {"definitions", Shape::SchemaMap, Merge::Drop, 0},
    {"title", Shape::Anything, Merge::Drop, 0},
    {"description", Shape::Anything, Merge::Drop, 0},
    {"default", Shape::Anything, Merge::Drop, 0},
    {"example", Shape::Anything, Merge::Drop, 0},
    {"examples", Shape::Anything, Merge::Drop, 0},
    {"deprecated", Shape::Anything, Merge::Drop, 0},
    {"readOnly", Shape::Anything, Merge::Drop, 0},
    {"writeOnly", Shape::Anything, Merge::Drop, 0},
    {"contentMediaType", Shape::Anything, Merge::Drop, 0},
    {"contentEncoding", Shape::Anything, Merge::Drop, 0},
    {"discriminator", Shape::Anything, Merge::Drop, 0},
}};

struct TypeName {
  std::string_view name;
  unsigned types;
};
constexpr std::array<TypeName, 7> kTypeNames = {{{"null", kNull},
                                                 {"boolean", kBoolean},
                                                 {"integer", kInteger},
                                                 {"number", kInteger | kNumber},
                                                 {"string", kString},
                                                 {"array", kArray},
                                                 {"object", kObject}}};

const Keyword* find_keyword(std::string_view name) {
  const auto found = std::find_if(kKeywords.begin(), kKeywords.end(),
                                  [&](const Keyword& keyword) { return keyword.name == name; });
  return found == kKeywords.end() ? nullptr : &*found;
}

bool is_schema(const SchemaJson& value) {
  return value.is_boolean() || value.is_object();
}

bool has_shape(const SchemaJson& value, Shape shape) {
  switch (shape) {
    case Shape::Anything:
      return true;
    case Shape::Schema:
      return is_schema(value);
    case Shape::Schemas:
      return value.is_array() && !value.empty() &&
             std::all_of(value.begin(), value.end(), is_schema);
    case Shape::SchemaMap:
      return value.is_object() && std::all_of(value.begin(), value.end(), is_schema);
    case Shape::Text:
      return value.is_string();
    case Shape::Texts:
      return value.is_array() &&
             std::all_of(value.begin(), value.end(),
                         [](const SchemaJson& item) { return item.is_string(); });
    case Shape::Number:
      return value.is_number();
    case Shape::Count:
      return value.is_number_unsigned() || (value.is_number_integer() && value >= 0);
    case Shape::Flag:
      return value.is_boolean();
    case Shape::List:
      return value.is_array();
  }
  return false;
}

std::string_view expectation(Shape shape) {
  switch (shape) {
    case Shape::Anything:
      return "a value";
    case Shape::Schema:
      return "a schema";
    case Shape::Schemas:
      return "an array of one schema at least";
    case Shape::SchemaMap:
      return "an object of schemas";
    case Shape::Text:
      return "a string";
    case Shape::Texts:
      return "an array of strings";
    case Shape::Number:
      return "a number";
    case Shape::Count:
      return "a whole number from 0";
    case Shape::Flag:
      return "true or false";
    case Shape::List:
      return "an array";
  }
  return "";
}

unsigned types_named(const SchemaJson& name, const std::string& where) {
  for (const TypeName& entry : kTypeNames) {
    if (name.is_string() && name.get_ref<const std::string&>() == entry.name) {
      return entry.types;
    }
  }
  fail_schema(ErrorCode::InvalidArgument, where + "/type",
              "expected null, boolean, integer, number, string, array or object");
}

SchemaJson names_of(unsigned types) {
  SchemaJson names = SchemaJson::array();
  for (const TypeName& entry : kTypeNames) {
    const bool is_part_of_number = entry.types == kInteger && (types & kNumber) != 0;
    if ((types & entry.types) == entry.types && !is_part_of_number) {
      names.push_back(entry.name);
    }
  }
  return names;
}

// The values that `enum` or `const` allows.
std::optional<SchemaJson> values_of(const SchemaJson& schema) {
  if (schema.contains("const")) {
    return SchemaJson::array({schema.at("const")});
  }
  return schema.contains("enum") ? std::optional(schema.at("enum")) : std::nullopt;
}

bool has_any(const SchemaJson& values, const SchemaJson& wanted) {
  return std::find(values.begin(), values.end(), wanted) != values.end();
}

SchemaJson intersection(const SchemaJson& a, const SchemaJson& b) {
  SchemaJson result = SchemaJson::array();
  std::copy_if(a.begin(), a.end(), std::back_inserter(result),
               [&](const SchemaJson& value) { return has_any(b, value); });
  return result;
}

bool closes_properties(const SchemaJson& schema) {
  const auto found = schema.find("additionalProperties");
  return schema.contains("patternProperties") ||
         (found != schema.end() && !(found->is_boolean() && found->get<bool>()));
}

// A side that closes its properties speaks about those of the other side too.
void require_known_properties(const SchemaJson& closed,
                              const SchemaJson& other,
                              const std::string& where) {
  if (!closes_properties(closed) || !other.contains("properties")) {
    return;
  }
  for (const auto& [name, schema] : other.at("properties").items()) {
    if (!closed.contains("properties") || !closed.at("properties").contains(name)) {
      fail_schema(ErrorCode::Unsupported, where,
                  "property " + formats::quote(name) +
                      " meets additionalProperties of another part of allOf or anyOf");
    }
  }
}

SchemaJson both(const SchemaJson& a, const SchemaJson& b) {
  return a == b ? a : SchemaJson{{"allOf", SchemaJson::array({a, b})}};
}

Index num_values(const SchemaJson& value) {
  Index count = 1;
  if (value.is_structured()) {
    for (const SchemaJson& part : value) {
      count += num_values(part);
    }
  }
  return count;
}

class Flattener {
 public:
  explicit Flattener(SchemaDocument& document) : document_(document) {}

  SchemaJson flatten(const SchemaJson& schema, const std::string& where) {
    if (++depth_ > kMaxFlattening) {
      fail_schema(ErrorCode::Unsupported, where,
                  "$ref and allOf are nested too deep or without end");
    }
    document_.num_copied += num_values(schema) + 10;
    if (document_.num_copied > kMaxCopied) {
      fail_schema(ErrorCode::Unsupported, where,
                  "$ref and allOf multiply it beyond what can be kept");
    }
    SchemaJson result = schema;
    if (schema.is_object()) {
      check_keywords(schema, where);
      result.erase("$ref");
      result.erase("allOf");
      if (schema.contains("$ref")) {
        const auto& ref = schema.at("$ref").get_ref<const std::string&>();
        result = merge(flatten(resolve(document_, ref, where), ref), result, where);
      }
      if (schema.contains("allOf")) {
        for (const SchemaJson& part : schema.at("allOf")) {
          result = merge(result, flatten(part, where + "/allOf"), where);
        }
      }
    }
    --depth_;
    return result;
  }

  SchemaJson merge(const SchemaJson& a, const SchemaJson& b, const std::string& where) {
    if (a.is_boolean()) {
      return a.get<bool>() ? b : a;
    }
    if (b.is_boolean()) {
      return b.get<bool>() ? a : b;
    }
    require_known_properties(a, b, where);
    require_known_properties(b, a, where);
    SchemaJson result = SchemaJson::object();
    for (const SchemaJson* side : {&a, &b}) {
      const SchemaJson& other = side == &a ? b : a;
      for (const auto& [name, value] : side->items()) {
        const Keyword* keyword = find_keyword(name);
        if (keyword == nullptr || keyword->merge == Merge::Drop || result.contains(name)) {
          continue;
        }
        result[name] =
            other.contains(name) ? merge_values(*keyword, value, other.at(name), where) : value;
      }
    }
    merge_values_allowed(a, b, result);
    return result;
  }

 private:
  SchemaJson merge_values(const Keyword& keyword,
                          const SchemaJson& a,
                          const SchemaJson& b,
                          const std::string& where) {
    if (a == b) {
      return a;
    }
    switch (keyword.merge) {
      case Merge::Larger:
        return a < b ? b : a;
      case Merge::Smaller:
        return a < b ? a : b;
      case Merge::Special:
        break;
      default:
        fail_schema(ErrorCode::Unsupported, where,
                    "two different " + std::string(keyword.name) + " hold at once");
    }
    if (keyword.name == "type") {
      return names_of(types_of({{"type", a}}, where) & types_of({{"type", b}}, where));
    }
    if (keyword.name == "required") {
      SchemaJson names = a;
      std::copy_if(b.begin(), b.end(), std::back_inserter(names),
                   [&](const SchemaJson& name) { return !has_any(a, name); });
      return names;
    }
    if (keyword.name == "properties") {
      SchemaJson properties = a;
      for (const auto& [name, schema] : b.items()) {
        properties[name] = a.contains(name) ? both(a.at(name), schema) : schema;
      }
      return properties;
    }
    return both(a, b);  // schemas; enum and const are merged together
  }

  static void merge_values_allowed(const SchemaJson& a, const SchemaJson& b, SchemaJson& result) {
    const auto values_a = values_of(a);
    const auto values_b = values_of(b);
    if (values_a.has_value() && values_b.has_value()) {
      result.erase("const");
      result["enum"] = intersection(*values_a, *values_b);
    }
  }

  SchemaDocument& document_;
  int depth_ = 0;
};

// An object property that both branches require and whose values differ tells them apart.
bool differ_by_property(SchemaDocument& document, const SchemaJson& a, const SchemaJson& b) {
  if (!a.contains("properties") || !b.contains("properties") || !a.contains("required") ||
      !b.contains("required")) {
    return false;
  }
  for (const SchemaJson& name : intersection(a.at("required"), b.at("required"))) {
    const auto& key = name.get_ref<const std::string&>();
    if (a.at("properties").contains(key) && b.at("properties").contains(key)) {
      const SchemaJson in_a = flattened(document, a.at("properties").at(key), key);
      const SchemaJson in_b = flattened(document, b.at("properties").at(key), key);
      if (!in_a.is_object() || !in_b.is_object()) {
        continue;
      }
      const auto values_a = values_of(in_a);
      const auto values_b = values_of(in_b);
      if (values_a.has_value() && values_b.has_value() &&
          intersection(*values_a, *values_b).empty()) {
        return true;
      }
    }
  }
  return false;
}

bool are_disjoint(SchemaDocument& document,
                  const SchemaJson& a,
                  const SchemaJson& b,
                  const std::string& where) {
  if (a.is_boolean() || b.is_boolean()) {
    return a == false || b == false;
  }
  if (a.contains("anyOf") || a.contains("oneOf") || b.contains("anyOf") || b.contains("oneOf")) {
    return false;
  }
  const auto values_a = values_of(a);
  const auto values_b = values_of(b);
  if (values_a.has_value() && values_b.has_value()) {
    return intersection(*values_a, *values_b).empty();
  }
  const auto types = [&](const SchemaJson& schema, const std::optional<SchemaJson>& values) {
    unsigned result = values.has_value() ? 0 : types_of(schema, where);
    for (const SchemaJson& value : values.value_or(SchemaJson::array())) {
      result |= type_of_value(value);
    }
    // 1.0 is an integer as well.
    return (result & kNumber) != 0 ? result | kInteger : result;
  };
  const unsigned common = types(a, values_a) & types(b, values_b);
  return common == 0 || (common == kObject && differ_by_property(document, a, b));
}

}  // namespace

void fail_schema(ErrorCode code, std::string_view where, const std::string& problem) {
  // A pointer holds names from outside.
  const bool is_plain =
      std::all_of(where.begin(), where.end(), [](char c) { return c > ' ' && c < 0x7F; });
  fail(code,
       "schema: ", is_plain && where.size() < 160 ? std::string(where) : formats::quote(where),
       ": ", problem);
}

SchemaJson parse_schema_document(std::string_view text) {
  check_constraint_text(text, "schema");
  Index depth = 0;
  bool is_in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_in_string) {
      i += text[i] == '\\' ? std::size_t{1} : 0;
      is_in_string = i < text.size() && text[i] != '"';
      continue;
    }
    is_in_string = text[i] == '"';
    depth += text[i] == '{' || text[i] == '[' ? 1 : 0;
    depth -= text[i] == '}' || text[i] == ']' ? 1 : 0;
    if (depth > 2 * kMaxConstraintDepth) {
      fail(ErrorCode::Unsupported, "schema: nested deeper than ", 2 * kMaxConstraintDepth,
           " levels");
    }
  }
  try {
    return SchemaJson::parse(text);
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::InvalidArgument, "schema: expected JSON: ", formats::quote(error.what()));
  }
}

void check_keywords(const SchemaJson& schema, const std::string& where) {
  const std::string prefix = where + "/";
  for (const auto& [name, value] : schema.items()) {
    const Keyword* keyword = find_keyword(name);
    if (keyword == nullptr) {
      fail_schema(ErrorCode::Unsupported, where,
                  "keyword " + formats::quote(name) + " is not supported");
    }
    if (!has_shape(value, keyword->shape)) {
      fail_schema(ErrorCode::InvalidArgument, prefix + name,
                  "expected " + std::string(expectation(keyword->shape)));
    }
  }
}

unsigned types_of(const SchemaJson& schema, const std::string& where) {
  unsigned types = 0;
  const auto type = schema.find("type");
  if (type != schema.end()) {
    if (!type->is_array()) {
      return types_named(*type, where);
    }
    for (const SchemaJson& name : *type) {
      types |= types_named(name, where);
    }
    return types;
  }
  for (const auto& [name, value] : schema.items()) {
    types |= find_keyword(name) == nullptr ? 0 : find_keyword(name)->types;
  }
  if (schema.contains("format")) {
    types |= kString;
  }
  return types == 0 ? kAnyType : (types & kNumber) != 0 ? types | kInteger : types;
}

unsigned type_of_value(const SchemaJson& value) {
  switch (value.type()) {
    case SchemaJson::value_t::null:
      return kNull;
    case SchemaJson::value_t::boolean:
      return kBoolean;
    case SchemaJson::value_t::number_integer:
    case SchemaJson::value_t::number_unsigned:
      return kInteger;
    case SchemaJson::value_t::number_float:
      return kNumber;
    case SchemaJson::value_t::string:
      return kString;
    case SchemaJson::value_t::array:
      return kArray;
    default:
      return kObject;
  }
}

const SchemaJson& resolve(SchemaDocument& document,
                          const std::string& ref,
                          const std::string& where) {
  if (ref.empty() || ref[0] != '#') {
    fail_schema(ErrorCode::Unsupported, where + "/$ref",
                "expected a reference within the schema, # or #/..., found " + formats::quote(ref));
  }
  const SchemaJson* target = nullptr;
  try {
    const SchemaJson::json_pointer pointer(ref.substr(1));
    target = document.root.contains(pointer) ? &document.root.at(pointer) : nullptr;
  } catch (const nlohmann::json::exception&) {
    target = nullptr;
  }
  if (target == nullptr || !is_schema(*target)) {
    fail_schema(ErrorCode::InvalidArgument, where + "/$ref",
                "expected a reference to a schema, found " + formats::quote(ref));
  }
  return *target;
}

SchemaJson flattened(SchemaDocument& document, const SchemaJson& schema, const std::string& where) {
  return Flattener(document).flatten(schema, where);
}

SchemaJson merged(SchemaDocument& document,
                  const SchemaJson& a,
                  const SchemaJson& b,
                  const std::string& where) {
  return Flattener(document).merge(a, b, where);
}

void require_disjoint(SchemaDocument& document,
                      const std::vector<SchemaJson>& branches,
                      const std::string& where) {
  for (std::size_t i = 0; i < branches.size(); ++i) {
    for (std::size_t j = i + 1; j < branches.size(); ++j) {
      if (!are_disjoint(document, branches[i], branches[j], where)) {
        fail_schema(ErrorCode::Unsupported, where,
                    "a value may satisfy both branch " + std::to_string(i) + " and " +
                        std::to_string(j) +
                        "; use anyOf, or a required property with a different const in each");
      }
    }
  }
}

}  // namespace fathom::sampling
