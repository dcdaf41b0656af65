#include "fathom/train/data/hash.h"

#include <gtest/gtest.h>

namespace fathom::data {
namespace {

// Values of the published xxhash 0.8 (`printf '' | xxhsum -H2`).
TEST(Hash, IsThePublishedXxh3) {
  EXPECT_EQ(to_hex(hash128(std::string_view())), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hash64(std::string_view()), 0x2d06800538d394c2ULL);
}

TEST(Hash, BytesAndTextAreTheSame) {
  const std::string text = "a text of some length that is not empty";
  EXPECT_EQ(hash128(text), hash128(std::as_bytes(std::span(text))));
  EXPECT_EQ(hash64(text), hash64(std::as_bytes(std::span(text))));
  EXPECT_NE(hash128(text), hash128(text + "."));
}

}  // namespace
}  // namespace fathom::data
