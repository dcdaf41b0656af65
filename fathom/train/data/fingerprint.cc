#include "fathom/train/data/fingerprint.h"

#include <string>
#include <string_view>

namespace fathom::data {

Hash128 fingerprint_of(const text::Tokenizer& tokenizer) {
  std::string listing;
  for (Index id = 0; id < tokenizer.num_ids(); ++id) {
    const auto token = static_cast<text::TokenId>(id);
    const std::string_view bytes = tokenizer.bytes_of(token);
    listing += std::to_string(bytes.size());
    listing += tokenizer.is_control(token) ? '!' : ':';
    listing += bytes;
  }
  return hash128(listing);
}

}  // namespace fathom::data
