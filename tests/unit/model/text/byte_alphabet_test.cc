#include "fathom/model/text/byte_alphabet.h"

#include <set>

#include <gtest/gtest.h>

#include "tests/unit/model/text/text_testing.h"

namespace fathom::text {
namespace {

TEST(ByteAlphabet, EveryByteHasACharacterAndComesBack) {
  std::set<std::uint32_t> codes;
  for (int byte = 0; byte < 256; ++byte) {
    codes.insert(code_of_byte(static_cast<std::uint8_t>(byte)));
    std::string bytes;
    ASSERT_TRUE(append_bytes_of(byte_character(byte), bytes));
    ASSERT_EQ(bytes, std::string(1, static_cast<char>(byte)));
  }
  EXPECT_EQ(codes.size(), 256U);
  EXPECT_EQ(code_of_byte(' '), 0x120U);
  EXPECT_EQ(code_of_byte(0), 0x100U);
  EXPECT_EQ(code_of_byte(0xad), 0x143U);
  EXPECT_EQ(code_of_byte('a'), std::uint32_t{'a'});
}

TEST(ByteAlphabet, TextOutsideItIsRefusedAndLeavesNothing) {
  std::string bytes = "x";
  EXPECT_FALSE(append_bytes_of("ab\xef\xbd\x9c", bytes));
  EXPECT_FALSE(append_bytes_of("a b", bytes));
  EXPECT_EQ(bytes, "x");
}

TEST(ByteAlphabet, NamesOfBytes) {
  for (int byte = 0; byte < 256; ++byte) {
    ASSERT_EQ(byte_of_name(name_of_byte(static_cast<std::uint8_t>(byte))), byte);
  }
  EXPECT_EQ(name_of_byte(0x0a), "<0x0A>");
  EXPECT_FALSE(byte_of_name("<0x0g>").has_value());
  EXPECT_FALSE(byte_of_name("<0x0A").has_value());
  EXPECT_FALSE(byte_of_name("<0x0A>>").has_value());
}

}  // namespace
}  // namespace fathom::text
