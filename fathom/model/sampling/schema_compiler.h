// One JSON schema of a grammar, made into rules. What a schema leaves open is decided in favour of
// short and closed texts: properties come in the order of the schema, and names it does not list
// are not invented unless additionalProperties asks for them (docs/structured-output.md).
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fathom/model/sampling/grammar.h"
#include "fathom/model/sampling/json_text.h"
#include "fathom/model/sampling/schema_merge.h"

namespace fathom::sampling {

// Pieces that all schemas of one grammar share.
class ValueRules {
 public:
  explicit ValueRules(Grammar& grammar);

  Grammar& grammar() { return grammar_; }
  JsonText& text() { return text_; }
  ExprId any_value() { return grammar_.reference(value_); }
  // Brackets with space inside; `content` may be left out when `is_optional`.
  ExprId wrapped(std::string_view open, ExprId content, bool is_optional, std::string_view close);
  // A member of an object; the name is JSON text.
  ExprId pair(ExprId name, ExprId value);
  // min to max of the same part, with commas between; max -1: no limit.
  ExprId members(ExprId part, Index min, Index max);

 private:
  Grammar& grammar_;
  JsonText text_;
  RuleId value_;
};

class SchemaCompiler {
 public:
  // Throws InvalidArgument for a text that is no JSON schema. The rules must outlive this.
  SchemaCompiler(ValueRules& rules, std::string_view schema);
  ~SchemaCompiler();

  // The rule of the whole schema. Throws Unsupported and InvalidArgument with the JSON pointer to
  // what is wrong.
  RuleId compile();
  // For a schema whose rule turned out to be no text at all: why, as far as it is known.
  [[noreturn]] void fail_unsatisfiable() const;

 private:
  struct Member {
    ExprId pair = -1;
    bool is_required = false;
  };

  RuleId rule_for(const std::string& ref);
  // No text at all; the first reason is told should it turn out to be the schema's end.
  ExprId impossible(const std::string& where, const std::string& problem);
  // A reason to name if nothing else turns out to be one.
  void note_problem(const std::string& where, const std::string& problem);

  ExprId schema_expr(const SchemaJson& schema, const std::string& where);
  // Whether a keyword has only companions that restrict nothing.
  bool is_alone(const SchemaJson& schema, const std::string& keyword);
  ExprId branches(const SchemaJson& schema, const std::string& keyword, const std::string& where);
  ExprId enumeration(const SchemaJson& schema, const std::string& where);
  // One of sorted distinct texts from `place` on: common beginnings are shared.
  ExprId any_of(const std::vector<std::string>& texts,
                std::size_t begin,
                std::size_t end,
                std::size_t place);
  ExprId typed(const SchemaJson& schema, const std::string& where);

  // Bounds so far out that no number of 18 digits reaches them are none.
  std::optional<Bound> bound(const SchemaJson& schema,
                             const std::string& keyword,
                             bool is_exclusive,
                             bool is_low,
                             const std::string& where);
  ExprId number(const SchemaJson& schema, bool is_integer, const std::string& where);
  ExprId multiple(const SchemaJson& schema,
                  bool is_integer,
                  const NumberRange& range,
                  const std::string& where);
  ExprId regex(std::string_view pattern, const std::string& where);
  ExprId string(const SchemaJson& schema, const std::string& where);
  ExprId array(const SchemaJson& schema, const std::string& where);
  // The first items each with its own schema, then any number of others.
  ExprId tuple(const std::vector<ExprId>& first, ExprId item, Index min, Index max);

  // schema_objects.cc
  ExprId object(const SchemaJson& schema, const std::string& where);
  // A name that `required` lists and `properties` does not.
  ExprId required_extra(const SchemaJson& schema,
                        const std::string& name,
                        const std::string& where);
  // Rules from the last member to the first: what may follow with, and without, one before it.
  ExprId object_members(const std::vector<Member>& list, ExprId extra);
  // The pair for names that `properties` does not list, or -1.
  ExprId extra_pair(const SchemaJson& schema,
                    const SchemaJson& properties,
                    const std::string& where);
  ExprId property_name(const SchemaJson& schema, const std::string& where);
  // Any name but these, spelt without escapes, so that none of these can be written another way.
  ExprId name_outside(const std::vector<std::string>& names);
  ExprId outside(const std::vector<std::string>& names,
                 std::size_t begin,
                 std::size_t end,
                 std::size_t place,
                 Index depth);

  ValueRules& rules_;
  Grammar& grammar_;
  JsonText& text_;
  std::unique_ptr<const SchemaJson> root_;
  SchemaDocument document_;
  std::map<std::string, RuleId> rule_ids_;
  std::deque<std::pair<std::string, RuleId>> pending_;
  std::string problem_where_;
  std::string problem_;
};

// Throws Unsupported for a count that no repetition of ours reaches.
void require_count(Index count, const std::string& where);

}  // namespace fathom::sampling
