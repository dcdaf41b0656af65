// Constrained decoding: which tokens may come next so that a reply is a text of a JSON schema, a
// regular expression or a grammar.
//
// What is supported of each language is listed beside its function. Whatever is not supported is an
// error that says where; nothing is ignored silently.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/model/sampling/options.h"

namespace fathom::sampling {

class Automaton;
class TokenTrie;

// How a grammar of bytes speaks of the control token that marks up tool calls: a byte that UTF-8
// never has.
inline constexpr std::string_view kCallMark = "\xff";

// The byte strings of all tokens, prepared once per tokenizer and shared by all constraints.
// Tokens without bytes (control tokens, holes) are never allowed; stop ids are where a text may
// end.
class ConstraintVocabulary {
 public:
  // `call_mark`: the token that stands for kCallMark.
  ConstraintVocabulary(std::vector<std::string> token_bytes,
                       std::vector<TokenId> stop_ids,
                       std::optional<TokenId> call_mark = {});
  ~ConstraintVocabulary();

  Index size() const { return to_index(token_bytes_.size()); }
  // 32-bit words of a mask.
  Index mask_words() const { return ceil_div(size(), 32); }
  const std::string& bytes_of(TokenId id) const {
    return token_bytes_[static_cast<std::size_t>(id)];
  }
  const std::vector<TokenId>& stop_ids() const { return stop_ids_; }
  bool is_stop(TokenId id) const;
  std::optional<TokenId> call_mark() const { return call_mark_; }
  const TokenTrie& trie() const { return *trie_; }

 private:
  std::vector<std::string> token_bytes_;
  std::vector<TokenId> stop_ids_;
  std::optional<TokenId> call_mark_;
  std::unique_ptr<const TokenTrie> trie_;
};

// A compiled constraint. It keeps the masks it made, so share one among requests that ask for the
// same; safe to use from several threads.
class Constraint {
 public:
  ~Constraint();
  const ConstraintVocabulary& vocabulary() const { return *vocabulary_; }

 private:
  friend class ConstraintState;
  friend std::shared_ptr<const Constraint> make_constraint(
      std::unique_ptr<Automaton> automaton, std::shared_ptr<const ConstraintVocabulary> vocabulary);
  Constraint(std::unique_ptr<Automaton> automaton,
             std::shared_ptr<const ConstraintVocabulary> vocabulary);

  std::unique_ptr<Automaton> automaton_;
  std::shared_ptr<const ConstraintVocabulary> vocabulary_;
};

using ConstraintPtr = std::shared_ptr<const Constraint>;
using ConstraintVocabularyPtr = std::shared_ptr<const ConstraintVocabulary>;

// JSON schema: docs/structured-output.md lists the keywords. An unsupported keyword or value throws
// Unsupported, a malformed or unsatisfiable schema InvalidArgument, with the JSON pointer to it.
ConstraintPtr compile_json_schema(std::string_view schema, ConstraintVocabularyPtr vocabulary);
// Any JSON object: response_format json_object.
ConstraintPtr compile_json_object(ConstraintVocabularyPtr vocabulary);
// A regular expression that the whole text matches: literals, escapes, classes, groups,
// alternatives and repetition; no look-around, back references or flags.
ConstraintPtr compile_regex(std::string_view pattern, ConstraintVocabularyPtr vocabulary);
// EBNF as in llama.cpp's GBNF: rules `name ::= ...` from `root`, strings, classes, groups, | * + ?
// {m,n} and # comments. No left recursion.
ConstraintPtr compile_ebnf(std::string_view grammar, ConstraintVocabularyPtr vocabulary);

// How a chat format writes calls: `<MARK calls>` around `<MARK invoke name="...">` around
// `<MARK parameter name="..." string="...">`, MARK being the token that kCallMark stands for.
struct CallMarkup {
  std::string mark;  // how that token reads
  std::string calls;
  std::string invoke;
  std::string parameter;
};

struct CallableTool {
  std::string name;
  // The JSON schema of the object of its arguments; nothing: any arguments.
  std::optional<std::string> parameters;
  std::string where;  // of the schema: begins the messages of errors
};

// Calls of these tools, at least one, from behind the first mark of their block to its end; of
// tools with the same name the first. Arguments that have a schema are valid by it once the call is
// read back (docs/structured-output.md); others are anything that has the form of parameters.
// Throws what compile_json_schema throws, after `where`.
ConstraintPtr compile_tool_calls(const CallMarkup& markup,
                                 std::span<const CallableTool> tools,
                                 ConstraintVocabularyPtr vocabulary);
// What of that text stands before the name of the first tool; with a name, before its parameters.
std::string call_beginning(const CallMarkup& markup, std::string_view tool = {});

// Where one reply stands. Cheap to copy: a copy goes its own way from there.
class ConstraintState {
 public:
  // `begun`: what stands there already. Throws InvalidArgument where no text begins so.
  explicit ConstraintState(ConstraintPtr constraint, std::string_view begun = {});

  // Sets the bits of the tokens that may come next and clears all others; `mask` has
  // vocabulary().mask_words() words. Stop tokens are allowed where the text may end.
  // Returns how many are allowed: 0 after a stop token, or in a dead end, where the vocabulary
  // cannot spell what the grammar wants.
  Index fill_mask(std::span<std::uint32_t> mask) const;
  // False, and nothing changes, when the token is not allowed.
  bool accept(TokenId id);
  // Takes back the last tokens accepted.
  void rollback(Index num_tokens);

  const ConstraintVocabulary& vocabulary() const { return constraint_->vocabulary(); }
  // The text so far is a whole one, though it may go on.
  bool is_complete() const;
  // A stop token was accepted.
  bool is_stopped() const { return is_stopped_; }
  Index num_tokens() const { return to_index(configs_.size()) - 1 + (is_stopped_ ? 1 : 0); }

 private:
  ConstraintPtr constraint_;
  std::vector<std::int32_t> configs_;  // before the first token and after each
  bool is_stopped_ = false;
};

}  // namespace fathom::sampling
