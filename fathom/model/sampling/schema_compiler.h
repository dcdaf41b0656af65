// One JSON schema of a grammar, made into rules. What a schema leaves open is decided in favour of
// short and closed texts: properties come in the order of the schema, and names it does not list
// are not invented unless additionalProperties asks for them (docs/structured-output.md).
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fathom/model/sampling/constraint.h"
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
  ExprId any_value_but_string() { return grammar_.reference(value_but_string_); }
  // One character, and any text of them, without quotes and escapes.
  ExprId plain_character() { return grammar_.reference(plain_character_); }
  ExprId plain_text() { return grammar_.reference(plain_text_); }
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
  RuleId value_but_string_;
  RuleId plain_character_;
  RuleId plain_text_;
};

// How a value is spelt, and which values are left out because they are not spelt so.
enum class Spelling {
  Json,
  JsonButString,  // no strings
  PlainText,      // strings only, as they are
  Parameters,     // objects only, as what stands inside a call: a tagged parameter on each line
};

class SchemaCompiler {
 public:
  // Throws InvalidArgument for a text that is no JSON schema. The rules must outlive this.
  // The markup is that of Spelling::Parameters.
  SchemaCompiler(ValueRules& rules, std::string_view schema, CallMarkup markup = {});
  ~SchemaCompiler();

  // The rule of the whole schema. Throws Unsupported and InvalidArgument with the JSON pointer to
  // what is wrong.
  RuleId compile(Spelling spelling);
  // For a schema whose rule turned out to be no text at all: why, as far as it is known.
  [[noreturn]] void fail_unsatisfiable() const;

 private:
  struct Member {
    ExprId text = -1;
    bool is_required = false;
  };

  RuleId rule_for(const std::string& ref, Spelling spelling);
  // No text at all; the first reason is told should it turn out to be the schema's end.
  ExprId impossible(const std::string& where, const std::string& problem);
  // A reason to name if nothing else turns out to be one.
  void note_problem(const std::string& where, const std::string& problem);

  ExprId schema_expr(const SchemaJson& schema,
                     const std::string& where,
                     Spelling spelling = Spelling::Json);
  // What a schema allows that says nothing.
  ExprId anything(Spelling spelling);
  // Whether a keyword has only companions that restrict nothing.
  bool is_alone(const SchemaJson& schema, const std::string& keyword);
  ExprId branches(const SchemaJson& schema,
                  const std::string& keyword,
                  const std::string& where,
                  Spelling spelling);
  ExprId enumeration(const SchemaJson& schema, const std::string& where, Spelling spelling);
  // One of sorted distinct texts from `place` on: common beginnings are shared.
  ExprId any_of(const std::vector<std::string>& texts,
                std::size_t begin,
                std::size_t end,
                std::size_t place);
  ExprId typed(const SchemaJson& schema, const std::string& where, Spelling spelling);

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
  // A string whose characters are made with the way to spell them.
  ExprId spelt_string(Spelling spelling,
                      const std::function<ExprId(const CodePointsToExpr&)>& characters);
  ExprId regex(std::string_view pattern, const std::string& where, Spelling spelling);
  ExprId lark(std::string_view text, const std::string& where, Spelling spelling);
  ExprId string(const SchemaJson& schema, const std::string& where, Spelling spelling);
  ExprId array(const SchemaJson& schema, const std::string& where);
  // The first items each with its own schema, then any number of others.
  ExprId tuple(const std::vector<ExprId>& first, ExprId item, Index min, Index max);

  // schema_objects.cc
  ExprId object(const SchemaJson& schema, const std::string& where);
  // A name that `required` lists and `properties` does not.
  ExprId required_extra(const SchemaJson& schema,
                        const std::string& name,
                        const std::string& where);
  // Throws Unsupported where minProperties or maxProperties would have to be counted.
  void refuse_counting(const SchemaJson& schema,
                       const std::vector<Member>& list,
                       bool has_extra,
                       const std::string& where);
  // Rules from the last member to the first: what may follow with, and without, one before it.
  // `extra`: any number of these at the end, or -1.
  ExprId in_order(const std::vector<Member>& list, ExprId separator, ExprId extra);
  // An object as the parameters of a call.
  ExprId parameters(const SchemaJson& schema, const std::string& where);
  ExprId parameter(const std::string& name, const SchemaJson& schema, const std::string& where);
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
  CallMarkup markup_;
  std::unique_ptr<const SchemaJson> root_;
  SchemaDocument document_;
  using Wanted = std::pair<std::string, Spelling>;  // what a reference points to, and how spelt
  std::map<Wanted, RuleId> rule_ids_;
  std::deque<std::pair<Wanted, RuleId>> pending_;
  std::string problem_where_;
  std::string problem_;
};

// Throws Unsupported for a count that no repetition of ours reaches.
void require_count(Index count, const std::string& where);

}  // namespace fathom::sampling
