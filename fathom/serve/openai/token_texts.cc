#include "fathom/serve/openai/token_texts.h"

#include <unordered_set>
#include <utility>

#include "fathom/base/formats/text.h"

namespace fathom::openai {
namespace {

constexpr std::string_view kBytesMark = "bytes:";
constexpr std::string_view kIdMark = "token_id:";

std::string hexadecimal(std::string_view bytes) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string text(kBytesMark);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += "\\x";
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

}  // namespace

TokenTexts::TokenTexts(std::shared_ptr<const text::Tokenizer> tokenizer)
    : tokenizer_(std::move(tokenizer)), has_lower_twin_(to_size(tokenizer_->num_ids())) {
  std::unordered_set<std::string_view> seen;
  seen.reserve(has_lower_twin_.size());
  for (std::size_t id = 0; id < has_lower_twin_.size(); ++id) {
    has_lower_twin_[id] = !seen.insert(bytes(static_cast<text::TokenId>(id))).second;
  }
}

std::string_view TokenTexts::bytes(text::TokenId id) const {
  return id < 0 || id >= tokenizer_->num_ids() ? std::string_view{} : tokenizer_->bytes_of(id);
}

std::string TokenTexts::spelling(text::TokenId id) const {
  const std::string_view token = bytes(id);
  // What looks like a mark of ours could be mistaken for another token.
  if (token.empty() || has_lower_twin_[to_size(Index{id})] || token.starts_with(kBytesMark) ||
      token.starts_with(kIdMark)) {
    return std::string(kIdMark) + std::to_string(id);
  }
  return formats::is_utf8(token) ? std::string(token) : hexadecimal(token);
}

std::shared_ptr<const TokenTexts> TokenTextsOfEngines::of(const engine::Engine& engine) const {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const TokenTexts>& texts = texts_[&engine];
  if (texts == nullptr) {
    texts = std::make_shared<const TokenTexts>(engine.text().model().tokenizer);
  }
  return texts;
}

}  // namespace fathom::openai
