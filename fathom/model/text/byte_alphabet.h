// The alphabet in which vocabularies write bytes as printable characters (GPT-2's table), and the
// names of bytes as tokens: <0x0A>.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fathom::text {

// The code point that stands for a byte.
std::uint32_t code_of_byte(std::uint8_t byte);

// Appends the bytes that a text in the alphabet stands for; false, and nothing appended, when it
// holds a character outside the alphabet.
bool append_bytes_of(std::string_view text, std::string& bytes);

// The byte that <0x0A> names.
std::optional<std::uint8_t> byte_of_name(std::string_view name);
std::string name_of_byte(std::uint8_t byte);

}  // namespace fathom::text
