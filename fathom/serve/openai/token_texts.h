// How tokens are spelled in log-probabilities: every id another way.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/model/text/tokenizer.h"
#include "fathom/serve/engine/engine.h"

namespace fathom::openai {

class TokenTexts {
 public:
  explicit TokenTexts(std::shared_ptr<const text::Tokenizer> tokenizer);

  // The token's text; `bytes:\xE4\xB8` where its bytes are no UTF-8 on their own; `token_id:7`
  // where a lower id has the same bytes or there are none. 1,106 ids of V4 would share a text
  // otherwise, and a map by text would lose them (text specification 4.3).
  std::string spelling(text::TokenId id) const;
  // Empty for an id that the tokenizer does not have.
  std::string_view bytes(text::TokenId id) const;
  const text::Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  std::vector<bool> has_lower_twin_;  // [num_ids]
};

// The texts of each engine's tokens, made when they are first asked for. Safe to use from several
// threads.
class TokenTextsOfEngines {
 public:
  std::shared_ptr<const TokenTexts> of(const engine::Engine& engine) const;

 private:
  mutable std::mutex mutex_;
  mutable std::map<const engine::Engine*, std::shared_ptr<const TokenTexts>> texts_;
};

}  // namespace fathom::openai
