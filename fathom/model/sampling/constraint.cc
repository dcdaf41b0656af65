#include "fathom/model/sampling/constraint.h"

#include <algorithm>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/sampling/automaton.h"
#include "fathom/model/sampling/front_ends.h"
#include "fathom/model/sampling/token_trie.h"

namespace fathom::sampling {

ConstraintVocabulary::ConstraintVocabulary(std::vector<std::string> token_bytes,
                                           std::vector<TokenId> stop_ids,
                                           std::optional<TokenId> call_mark)
    : token_bytes_(std::move(token_bytes)), stop_ids_(std::move(stop_ids)), call_mark_(call_mark) {
  if (token_bytes_.empty()) {
    fail(ErrorCode::InvalidArgument, "vocabulary: expected tokens, found none");
  }
  for (const TokenId id : stop_ids_) {
    if (id < 0 || id >= size()) {
      fail(ErrorCode::InvalidArgument, "stop_token_ids: token id ", id,
           " is outside the vocabulary of ", size());
    }
    // A stop token ends the text; it is never part of it.
    token_bytes_[static_cast<std::size_t>(id)].clear();
  }
  if (call_mark_) {
    FATHOM_CHECK(*call_mark_ >= 0 && *call_mark_ < size());
    for (std::string& bytes : token_bytes_) {
      // No text in UTF-8 has this byte, so a token with it is of no use but to be taken for a mark.
      if (bytes.find(kCallMark) != std::string::npos) {
        bytes.clear();
      }
    }
    token_bytes_[static_cast<std::size_t>(*call_mark_)].assign(1, kCallMark.front());
  }
  trie_ = std::make_unique<const TokenTrie>(token_bytes_);
}

ConstraintVocabulary::~ConstraintVocabulary() = default;

bool ConstraintVocabulary::is_stop(TokenId id) const {
  return std::find(stop_ids_.begin(), stop_ids_.end(), id) != stop_ids_.end();
}

Constraint::Constraint(std::unique_ptr<Automaton> automaton,
                       std::shared_ptr<const ConstraintVocabulary> vocabulary)
    : automaton_(std::move(automaton)), vocabulary_(std::move(vocabulary)) {}

Constraint::~Constraint() = default;

ConstraintPtr make_constraint(std::unique_ptr<Automaton> automaton,
                              ConstraintVocabularyPtr vocabulary) {
  FATHOM_CHECK(vocabulary != nullptr);
  return ConstraintPtr(new Constraint(std::move(automaton), std::move(vocabulary)));
}

ConstraintPtr compile_json_schema(std::string_view schema, ConstraintVocabularyPtr vocabulary) {
  return make_constraint(std::make_unique<Automaton>(parse_json_schema(schema)),
                         std::move(vocabulary));
}

ConstraintPtr compile_json_object(ConstraintVocabularyPtr vocabulary) {
  return compile_json_schema(R"({"type":"object"})", std::move(vocabulary));
}

ConstraintPtr compile_regex(std::string_view pattern, ConstraintVocabularyPtr vocabulary) {
  return make_constraint(std::make_unique<Automaton>(parse_regex(pattern)), std::move(vocabulary));
}

ConstraintPtr compile_ebnf(std::string_view grammar, ConstraintVocabularyPtr vocabulary) {
  return make_constraint(std::make_unique<Automaton>(parse_ebnf(grammar)), std::move(vocabulary));
}

ConstraintPtr compile_tool_calls(const CallMarkup& markup,
                                 std::span<const CallableTool> tools,
                                 ConstraintVocabularyPtr vocabulary) {
  return make_constraint(std::make_unique<Automaton>(parse_tool_calls(markup, tools)),
                         std::move(vocabulary));
}

ConstraintState::ConstraintState(ConstraintPtr constraint, std::string_view begun)
    : constraint_(std::move(constraint)) {
  FATHOM_CHECK(constraint_ != nullptr);
  Automaton& automaton = *constraint_->automaton_;
  configs_.push_back(automaton.step(automaton.start(), begun));
  if (configs_.back() == Automaton::kDead) {
    fail(ErrorCode::InvalidArgument, "constraint: no text of it begins with ",
         formats::quote(begun));
  }
}

Index ConstraintState::fill_mask(std::span<std::uint32_t> mask) const {
  const ConstraintVocabulary& vocabulary = constraint_->vocabulary();
  FATHOM_CHECK(to_index(mask.size()) == vocabulary.mask_words());
  std::fill(mask.begin(), mask.end(), 0);
  if (is_stopped_) {
    return 0;
  }
  Index num_allowed = constraint_->automaton_->fill_mask(configs_.back(), vocabulary.trie(), mask);
  if (is_complete()) {
    for (const TokenId id : vocabulary.stop_ids()) {
      std::uint32_t& word = mask[static_cast<std::size_t>(id) / 32];
      const std::uint32_t bit = std::uint32_t{1} << (id % 32);
      num_allowed += (word & bit) == 0 ? 1 : 0;
      word |= bit;
    }
  }
  return num_allowed;
}

bool ConstraintState::accept(TokenId id) {
  const ConstraintVocabulary& vocabulary = constraint_->vocabulary();
  if (is_stopped_ || id < 0 || id >= vocabulary.size()) {
    return false;
  }
  if (vocabulary.is_stop(id)) {
    is_stopped_ = is_complete();
    return is_stopped_;
  }
  const std::string& bytes = vocabulary.bytes_of(id);
  const auto next =
      bytes.empty() ? Automaton::kDead : constraint_->automaton_->step(configs_.back(), bytes);
  if (next == Automaton::kDead) {
    return false;
  }
  configs_.push_back(next);
  return true;
}

void ConstraintState::rollback(Index num_tokens) {
  FATHOM_CHECK(num_tokens >= 0 && num_tokens <= this->num_tokens());
  if (is_stopped_ && num_tokens > 0) {
    is_stopped_ = false;
    --num_tokens;
  }
  configs_.resize(configs_.size() - to_size(num_tokens));
}

bool ConstraintState::is_complete() const {
  return constraint_->automaton_->accepts(configs_.back());
}

}  // namespace fathom::sampling
