#include "fathom/train/data/words.h"

#include "fathom/model/text/unicode_classes.h"
#include "fathom/model/text/utf8.h"
#include "fathom/train/data/hash.h"

namespace fathom::data {

void append_word_hashes(std::string_view text, std::vector<std::uint64_t>& hashes) {
  constexpr unsigned kWord = text::kLetter | text::kMark | text::kNumber;
  const std::uint8_t* const classes = text::unicode_classes();
  std::string word;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t size = text::utf8_length(text.data() + i);
    const std::uint32_t code = text::utf8_code(text.data() + i);
    if ((classes[code] & kWord) != 0) {
      if (code >= 'A' && code <= 'Z') {
        word += static_cast<char>(code - 'A' + 'a');
      } else {
        word.append(text, i, size);
      }
    } else if (!word.empty()) {
      hashes.push_back(hash64(word));
      word.clear();
    }
    i += size;
  }
  if (!word.empty()) {
    hashes.push_back(hash64(word));
  }
}

std::uint64_t hash_of_words(std::span<const std::uint64_t> words) {
  return hash64(std::as_bytes(words));
}

std::string squeezed(std::string_view text) {
  const std::uint8_t* const classes = text::unicode_classes();
  std::string result;
  bool is_space = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t size = text::utf8_length(text.data() + i);
    if ((classes[text::utf8_code(text.data() + i)] & text::kSpace) != 0) {
      is_space = true;
    } else {
      if (is_space && !result.empty()) {
        result += ' ';
      }
      is_space = false;
      result.append(text, i, size);
    }
    i += size;
  }
  return result;
}

}  // namespace fathom::data
