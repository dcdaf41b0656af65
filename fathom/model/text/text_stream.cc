// Decoding: the second half of tokenizer.h.
#include "fathom/model/text/tokenizer.h"
#include "fathom/model/text/utf8.h"

namespace fathom::text {

std::string TextStream::push(TokenId id) {
  std::string text;
  cleaner_.push(tokenizer_->bytes_of(id), text);
  return text;
}

std::string TextStream::finish() {
  std::string text;
  cleaner_.finish(text);
  return text;
}

std::string decode(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  std::string bytes;
  for (const TokenId id : ids) {
    bytes += tokenizer.bytes_of(id);
  }
  return repair_utf8(bytes);
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, ControlTokens control_tokens) const {
  std::vector<TokenId> ids;
  encode(text, control_tokens, ids);
  return ids;
}

}  // namespace fathom::text
