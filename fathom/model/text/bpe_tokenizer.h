// The one implementation of Tokenizer: what the readers of its two file formats fill in.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fathom/model/text/added_tokens.h"
#include "fathom/model/text/bpe.h"
#include "fathom/model/text/pre_tokenizer.h"
#include "fathom/model/text/tokenizer.h"

namespace fathom::text {

// More than any vocabulary has; what a file claims beyond is refused.
inline constexpr Index kMostIds = Index{1} << 24;

struct TokenizerParts {
  BpeParts bpe;
  PreTokenizer pre_tokenizer;
  std::vector<AddedToken> added;
  // SentencePiece's way with blanks: each becomes U+2581, and one is put in front of a text.
  bool marks_blanks = false;
  bool adds_blank_in_front = false;
  std::optional<TokenId> bos;
  std::optional<TokenId> eos;
  bool adds_bos = false;
};

std::shared_ptr<const Tokenizer> make_tokenizer(TokenizerParts parts);

}  // namespace fathom::text
