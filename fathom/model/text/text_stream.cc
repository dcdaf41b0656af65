// Decoding: the second half of tokenizer.h.
#include "fathom/model/text/tokenizer.h"
#include "fathom/model/text/utf8.h"

namespace fathom::text {

std::string TextStream::push(TokenId id) {
  held_ += tokenizer_->bytes_of(id);
  std::string_view rest = held_;
  std::string result;
  while (!rest.empty()) {
    const Utf8Step step = utf8_step(rest);
    if (step.kind == Utf8Step::Kind::CutShort) {
      break;
    }
    result +=
        step.kind == Utf8Step::Kind::Character ? rest.substr(0, step.num_bytes) : kReplacement;
    rest.remove_prefix(step.num_bytes);
  }
  held_.erase(0, held_.size() - rest.size());
  return result;
}

std::string TextStream::finish() {
  const std::string result = repair_utf8(held_);
  held_.clear();
  return result;
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
