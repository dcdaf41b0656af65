#include "fathom/model/text/unicode_classes.h"

#include <algorithm>

#include "fathom/base/core/error.h"
#include "fathom/base/core/index.h"

namespace fathom::text {
namespace {

constexpr Index kNumCodePoints = 0x110000;

constexpr UnicodeRange kSpaces[] = {
    {0x9, 0xd, ' '},       {0x20, 0x20, ' '},     {0x85, 0x85, ' '},     {0xa0, 0xa0, ' '},
    {0x1680, 0x1680, ' '}, {0x2000, 0x200a, ' '}, {0x2028, 0x2029, ' '}, {0x202f, 0x202f, ' '},
    {0x205f, 0x205f, ' '}, {0x3000, 0x3000, ' '},
};

std::uint8_t class_of(char letter) {
  switch (letter) {
    case 'L':
      return kLetter;
    case 'M':
      return kMark;
    case 'N':
      return kNumber;
    case 'P':
      return kPunctuation;
    case 'S':
      return kSymbol;
    default:
      FATHOM_CHECK(letter == ' ');
      return kSpace;
  }
}

std::vector<std::uint8_t> make_classes() {
  std::vector<std::uint8_t> classes(to_size(kNumCodePoints), 0);
  const auto add = [&](std::span<const UnicodeRange> ranges) {
    for (const UnicodeRange& range : ranges) {
      std::fill(classes.begin() + range.first, classes.begin() + range.last + 1,
                class_of(range.letter));
    }
  };
  add(unicode_ranges());
  add(kSpaces);
  classes['\n'] |= kNewline;
  classes['\r'] |= kNewline;
  return classes;
}

}  // namespace

const std::uint8_t* unicode_classes() {
  // One flat megabyte: a text touches few of its pages, and a look-up is one load.
  static const std::vector<std::uint8_t> kClasses = make_classes();
  return kClasses.data();
}

}  // namespace fathom::text
