// The classes of code points that pre-tokenizers split by: L M N P S of Unicode 16.0, and \s.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fathom::text {

// Bits of a code point's class; one without any is a control, a format character or unassigned.
enum CodeClass : std::uint8_t {
  kLetter = 1,
  kMark = 2,
  kNumber = 4,
  kPunctuation = 8,
  kSymbol = 16,
  kSpace = 32,    // \s: the White_Space property
  kNewline = 64,  // \r and \n, which are kSpace too
};

// Code points first to last of the class with this letter.
struct UnicodeRange {
  std::uint32_t first;
  std::uint32_t last;
  char letter;
};

// The generated table, in ascending order.
std::span<const UnicodeRange> unicode_ranges();

// The classes of every code point, as an array of bits indexed by it.
const std::uint8_t* unicode_classes();

}  // namespace fathom::text
