#include "fathom/model/text/unicode_classes.h"

#include <gtest/gtest.h>

namespace fathom::text {
namespace {

TEST(UnicodeClasses, RangesAscendAndDoNotTouchTheEnd) {
  std::uint32_t next = 0;
  for (const UnicodeRange& range : unicode_ranges()) {
    ASSERT_GE(range.first, next);
    ASSERT_LE(range.first, range.last);
    ASSERT_LT(range.last, 0x110000U);
    next = range.last + 1;
  }
}

TEST(UnicodeClasses, SizesAreThoseOfUnicode16) {
  std::size_t counts[8] = {};
  for (std::uint32_t code = 0; code < 0x110000; ++code) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      counts[bit] += (unicode_classes()[code] & 1U << bit) != 0 ? 1U : 0U;
    }
  }
  EXPECT_EQ(counts[0], 141028U);
  EXPECT_EQ(counts[1], 2501U);
  EXPECT_EQ(counts[2], 1911U);
  EXPECT_EQ(counts[3], 855U);
  EXPECT_EQ(counts[4], 8514U);
  EXPECT_EQ(counts[5], 25U);
  EXPECT_EQ(counts[6], 2U);
}

TEST(UnicodeClasses, AsciiAndTheSeamsOfVersions) {
  const std::uint8_t* classes = unicode_classes();
  EXPECT_EQ(classes['a'], kLetter);
  EXPECT_EQ(classes['7'], kNumber);
  EXPECT_EQ(classes['-'], kPunctuation);
  EXPECT_EQ(classes['$'], kSymbol);
  EXPECT_EQ(classes[' '], kSpace);
  EXPECT_EQ(classes['\r'], kSpace | kNewline);
  EXPECT_EQ(classes[0x301], kMark);
  EXPECT_EQ(classes[0x1c], 0);          // an information separator is no \s
  EXPECT_EQ(classes[0x200b], 0);        // nor is the zero width space
  EXPECT_EQ(classes[0x1c89], kLetter);  // first assigned in 16.0
  EXPECT_EQ(classes[0x323b0], 0);       // assigned in 17.0
}

}  // namespace
}  // namespace fathom::text
