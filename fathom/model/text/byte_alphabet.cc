#include "fathom/model/text/byte_alphabet.h"

#include <array>

#include "fathom/model/text/utf8.h"

namespace fathom::text {
namespace {

constexpr std::uint32_t kNumBytes = 256;
constexpr std::uint32_t kFirstMoved = 0x100;  // the bytes that are not printable follow from here
constexpr std::uint32_t kNumCodes = 0x144;
constexpr std::string_view kHexDigits = "0123456789ABCDEF";

constexpr bool is_itself(std::uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

struct Alphabet {
  std::array<std::uint16_t, kNumBytes> codes{};
  std::array<std::int16_t, kNumCodes> bytes{};  // -1: not in the alphabet
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (std::int16_t& byte : alphabet.bytes) {
    byte = -1;
  }
  std::uint32_t next = kFirstMoved;
  for (std::uint32_t byte = 0; byte < kNumBytes; ++byte) {
    const std::uint32_t code = is_itself(byte) ? byte : next++;
    alphabet.codes[byte] = static_cast<std::uint16_t>(code);
    alphabet.bytes[code] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::uint32_t code_of_byte(std::uint8_t byte) {
  return kAlphabet.codes[byte];
}

bool append_bytes_of(std::string_view text, std::string& bytes) {
  const std::size_t begin = bytes.size();
  for (std::size_t i = 0; i < text.size(); i += utf8_length(text.data() + i)) {
    const std::uint32_t code = utf8_code(text.data() + i);
    const int byte = code < kNumCodes ? kAlphabet.bytes[code] : -1;
    if (byte < 0) {
      bytes.resize(begin);
      return false;
    }
    bytes += static_cast<char>(byte);
  }
  return true;
}

std::optional<std::uint8_t> byte_of_name(std::string_view name) {
  if (name.size() != 6 || !name.starts_with("<0x") || name.back() != '>') {
    return std::nullopt;
  }
  const std::size_t high = kHexDigits.find(name[3]);
  const std::size_t low = kHexDigits.find(name[4]);
  if (high == kHexDigits.npos || low == kHexDigits.npos) {
    return std::nullopt;
  }
  return static_cast<std::uint8_t>(high * kHexDigits.size() + low);
}

std::string name_of_byte(std::uint8_t byte) {
  return {'<', '0', 'x', kHexDigits[byte / 16U], kHexDigits[byte % 16U], '>'};
}

}  // namespace fathom::text
