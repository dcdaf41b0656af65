#include "fathom/serve/http/token.h"

#include <array>

#include <openssl/rand.h>

#include "fathom/base/core/error.h"

namespace fathom::http {

std::string random_token(std::string_view prefix) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<unsigned char, 12> bytes;
  FATHOM_CHECK(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1);
  std::string token(prefix);
  for (const unsigned byte : bytes) {
    token.push_back(kDigits[byte >> 4]);
    token.push_back(kDigits[byte & 15U]);
  }
  return token;
}

}  // namespace fathom::http
