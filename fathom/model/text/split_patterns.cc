#include "fathom/model/text/split_patterns.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <span>

#include "fathom/base/core/error.h"
#include "fathom/model/text/unicode_classes.h"
#include "fathom/model/text/utf8.h"

namespace fathom::text {
namespace {

constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

struct Code {
  std::uint32_t code;
  std::uint8_t classes;
  std::size_t next;  // where the code point after it begins
};

class Text {
 public:
  explicit Text(std::string_view text) : text_(text), classes_(unicode_classes()) {}

  std::size_t size() const { return text_.size(); }
  char byte(std::size_t position) const { return text_[position]; }

  Code at(std::size_t position) const {
    const auto lead = static_cast<std::uint8_t>(text_[position]);
    if (lead < 0x80) {
      return {lead, classes_[lead], position + 1};
    }
    const std::uint32_t code = utf8_code(text_.data() + position);
    return {code, classes_[code], position + utf8_length(text_.data() + position)};
  }

  // The end of a run of code points that `fits`, at most `most` of them.
  template <typename Fits>
  std::size_t run(std::size_t position, const Fits& fits, std::size_t most = kNoLimit) const {
    for (; position < size() && most > 0; --most) {
      const Code code = at(position);
      if (!fits(code)) {
        break;
      }
      position = code.next;
    }
    return position;
  }
  std::size_t run_of(std::size_t position, unsigned classes, std::size_t most = kNoLimit) const {
    return run(
        position, [&](const Code& code) { return (code.classes & classes) != 0; }, most);
  }
  bool is_at(std::size_t position, unsigned classes) const {
    return position < size() && (at(position).classes & classes) != 0;
  }

 private:
  std::string_view text_;
  const std::uint8_t* classes_;
};

// A pattern is a struct with match(text, position): the end of its match at just this position,
// or the position itself.
template <typename Pattern>
Found find(std::string_view bytes, std::size_t begin) {
  const Text text(bytes);
  while (begin < text.size()) {
    const std::size_t end = Pattern::match(text, begin);
    if (end > begin) {
      return {begin, end};
    }
    begin = text.at(begin).next;
  }
  return {begin, begin};
}

bool is_within(std::uint32_t code, std::span<const std::uint32_t> bounds) {
  // Bounds are first, last, first, last ... in ascending order: the number of those below or at a
  // code point is odd inside a range, and even just on its last.
  const auto after = std::upper_bound(bounds.begin(), bounds.end(), code);
  return (after - bounds.begin()) % 2 == 1 || (after != bounds.begin() && *(after - 1) == code);
}

template <unsigned kClasses, std::size_t kMost>
struct ClassRun {
  static std::size_t match(const Text& text, std::size_t begin) {
    return text.run_of(begin, kClasses, kMost);
  }
};

struct ThreeDigits {
  static std::size_t match(const Text& text, std::size_t begin) {
    const auto is_digit = [](const Code& code) { return code.code >= '0' && code.code <= '9'; };
    const std::size_t end = text.run(begin, is_digit, 3);
    return end - begin == 3 ? end : begin;
  }
};

// [...]+ of code points that Set::contains.
template <typename Set>
struct SetRun {
  static std::size_t match(const Text& text, std::size_t begin) {
    return text.run(begin, Set::contains);
  }
};

// \s?[...]+
template <typename Set>
struct SpaceSetRun {
  static std::size_t match(const Text& text, std::size_t begin) {
    const Code first = text.at(begin);
    if ((first.classes & kSpace) != 0) {
      const std::size_t end = text.run(first.next, Set::contains);
      if (end > first.next) {
        return end;
      }
    }
    return text.run(begin, Set::contains);  // a set may hold spaces itself
  }
};

struct HanKana {
  static bool contains(const Code& code) {
    // U+3040 to U+30FF: the blocks Hiragana and Katakana side by side.
    return (code.code >= 0x4e00 && code.code <= 0x9fa5) ||
           (code.code >= 0x3040 && code.code <= 0x30ff);
  }
};

struct Ideographs {
  static bool contains(const Code& code) {
    return (code.code >= 0x800 && code.code <= 0x9fa5) ||
           (code.code >= 0xac00 && code.code <= 0xd7ff);
  }
};

template <unsigned kClasses>
struct OfClass {
  static bool contains(const Code& code) { return (code.classes & kClasses) != 0; }
};

template <bool kHasTick>
struct PunctuationSet {
  static bool contains(const Code& code) {
    constexpr std::string_view kMore = kHasTick ? "$+<=>^~|`" : "$+<=>^~|";
    return (code.classes & kPunctuation) != 0 ||
           (code.code < 0x80 && kMore.find(static_cast<char>(code.code)) != kMore.npos);
  }
};

struct LatinPunctuation {
  static bool contains(const Code& code) {
    constexpr std::uint32_t kBounds[] = {0x21,   0x2f,   0x3a,   0x7e,   0x2018, 0x201f,
                                         0x3000, 0x3002, 0xff01, 0xff0f, 0xff1a, 0xff5e};
    return is_within(code.code, kBounds);
  }
};

struct LatinLetters {
  static bool contains(const Code& code);
};

bool LatinLetters::contains(const Code& code) {
  // clang-format off
  constexpr std::uint32_t kBounds[] = {
      0x41, 0x5a, 0x61, 0x7a, 0xb5, 0xb5, 0xc0, 0xd6, 0xd8, 0xf6, 0xf8, 0x1ba, 0x1bc, 0x1bf,
      0x1c4, 0x293, 0x295, 0x2af, 0x370, 0x373, 0x376, 0x376, 0x377, 0x377, 0x37b, 0x37d,
      0x37f, 0x37f, 0x386, 0x386, 0x388, 0x38a, 0x38c, 0x38c, 0x38e, 0x3a1, 0x3a3, 0x3f5,
      0x3f7, 0x481, 0x48a, 0x52f, 0x531, 0x556, 0x10a0, 0x10c5, 0x13a0, 0x13f5, 0x13f8, 0x13fd,
      0x1c90, 0x1cba, 0x1cbd, 0x1cbf, 0x1d00, 0x1d2b, 0x1d6b, 0x1d77, 0x1d79, 0x1d9a,
      0x1e00, 0x1f15, 0x1f18, 0x1f1d, 0x1f20, 0x1f45, 0x1f48, 0x1f4d, 0x1f50, 0x1f57,
      0x1f59, 0x1f59, 0x1f5b, 0x1f5b, 0x1f5d, 0x1f5d, 0x1f5f, 0x1f7d, 0x1f80, 0x1fb4,
      0x1fb6, 0x1fbc, 0x1fbe, 0x1fbe, 0x1fc2, 0x1fc4, 0x1fc6, 0x1fcc, 0x1fd0, 0x1fd3,
      0x1fd6, 0x1fdb, 0x1fe0, 0x1fec, 0x1ff2, 0x1ff4, 0x1ff6, 0x1ffc, 0x2102, 0x2102,
      0x2107, 0x2107, 0x210a, 0x2113, 0x2115, 0x2115, 0x2119, 0x211d, 0x2124, 0x2124,
      0x2126, 0x2126, 0x2128, 0x2128, 0x212a, 0x212d, 0x212f, 0x2134, 0x2139, 0x2139,
      0x213c, 0x213f, 0x2145, 0x2149, 0x214e, 0x214e, 0x2183, 0x2183, 0x2184, 0x2184,
      0x2c00, 0x2c7b, 0x2c7e, 0x2ce4, 0x2ceb, 0x2cee, 0x2cf2, 0x2cf2, 0x2cf3, 0x2cf3,
      0xa640, 0xa66d, 0xa680, 0xa69b, 0xa722, 0xa76f, 0xa771, 0xa787, 0xa78b, 0xa78e,
      0xab70, 0xabbf, 0xfb00, 0xfb06, 0xfb13, 0xfb17, 0xff21, 0xff3a, 0xff41, 0xff5a,
      0x10400, 0x1044f, 0x104b0, 0x104d3, 0x104d8, 0x104fb, 0x10c80, 0x10cb2, 0x10cc0, 0x10cf2,
      0x118a0, 0x118df, 0x1e900, 0x1e943,
  };
  // clang-format on
  return is_within(code.code, kBounds);
}

// \s+$, where $ also stands before a line feed. A run of spaces is looked at once, wherever in it
// a search begins.
Found find_trailing_spaces(std::string_view bytes, std::size_t begin) {
  const Text text(bytes);
  while (begin < text.size()) {
    std::size_t end = begin;
    std::size_t match_end = begin;
    while (text.is_at(end, kSpace)) {
      if (text.byte(end) == '\n' && end > begin) {
        match_end = end;
      }
      end = text.at(end).next;
    }
    match_end = end == text.size() ? end : match_end;
    if (match_end > begin) {
      return {begin, match_end};
    }
    begin = end > begin ? end : text.at(begin).next;
  }
  return {begin, begin};
}

// The ends of most patterns: \s*[\r\n]+|\s+(?!\S)|\s+, the first of them if `kNewlinesEnd`.
template <bool kNewlinesEnd>
std::size_t match_spaces(const Text& text, std::size_t begin) {
  std::size_t last = begin;        // where the last space of the run begins
  std::size_t newline = kNoLimit;  // where the text after the last newline begins
  std::size_t end = begin;
  while (end < text.size()) {
    const Code code = text.at(end);
    if ((code.classes & kSpace) == 0) {
      break;
    }
    last = end;
    end = code.next;
    newline = (code.classes & kNewline) != 0 ? end : newline;
  }
  if (kNewlinesEnd && newline != kNoLimit) {
    return newline;
  }
  // A run before a word gives up its last space to the word, unless it is the only one.
  return end == text.size() || last == begin ? end : last;
}

// 's|'t|'re|'ve|'m|'ll|'d; without regard to case also U+017F, whose capital is S.
template <bool kIgnoresCase>
std::size_t match_contraction(const Text& text, std::size_t begin) {
  if (text.byte(begin) != '\'') {
    return begin;
  }
  const auto letter_at = [&](std::size_t position) -> char {
    if (position >= text.size()) {
      return '\0';
    }
    const char letter = text.byte(position);
    return kIgnoresCase && letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 'a' - 'A')
                                                          : letter;
  };
  const char first = letter_at(begin + 1);
  const char second = first == '\0' ? '\0' : letter_at(begin + 2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') {
    return begin + 2;
  }
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
      (first == 'l' && second == 'l')) {
    return begin + 3;
  }
  if (kIgnoresCase && begin + 2 < text.size() && text.at(begin + 1).code == 0x17f) {
    return begin + 3;
  }
  return begin;
}

// An optional blank, then a run of code points that fit.
template <typename Fits>
std::size_t match_blank_run(const Text& text, std::size_t begin, const Fits& fits) {
  const std::size_t first = begin + (text.byte(begin) == ' ' ? 1 : 0);
  const std::size_t end = text.run(first, fits);
  return end > first ? end : begin;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
struct Gpt2Words {
  static std::size_t match(const Text& text, std::size_t begin) {
    if (const std::size_t end = match_contraction<false>(text, begin); end > begin) {
      return end;
    }
    const std::size_t first = begin + (text.byte(begin) == ' ' ? 1 : 0);
    if (first < text.size()) {
      const std::uint8_t classes = text.at(first).classes;
      if ((classes & kLetter) != 0) {
        return text.run_of(first, kLetter);
      }
      if ((classes & kNumber) != 0) {
        return text.run_of(first, kNumber);
      }
      if ((classes & kSpace) == 0) {
        return text.run(first, [](const Code& code) {
          return (code.classes & (kSpace | kLetter | kNumber)) == 0;
        });
      }
    }
    return match_spaces<false>(text, begin);
  }
};

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,m}| ?[^\s\p{L}\p{N}]+[\r\n]*|
// \s*[\r\n]+|\s+(?!\S)|\s+, where m is kMostNumbers, and with kWordClasses for the class of words
// (the optional code point before them is never \p{L} or \p{N}).
template <unsigned kWordClasses, std::size_t kMostNumbers>
struct ModernWords {
  static std::size_t match(const Text& text, std::size_t begin) {
    if (const std::size_t end = match_contraction<true>(text, begin); end > begin) {
      return end;
    }
    const Code first = text.at(begin);
    if ((first.classes & (kNewline | kLetter | kNumber)) == 0 &&
        text.is_at(first.next, kWordClasses)) {
      return text.run_of(first.next, kWordClasses);
    }
    if ((first.classes & kWordClasses) != 0) {
      return text.run_of(begin, kWordClasses);
    }
    if ((first.classes & kNumber) != 0) {
      return text.run_of(begin, kNumber, kMostNumbers);
    }
    const auto is_other = [](const Code& code) {
      return (code.classes & (kSpace | kWordClasses | kLetter | kNumber)) == 0;
    };
    if (const std::size_t end = match_blank_run(text, begin, is_other); end > begin) {
      return text.run_of(end, kNewline);
    }
    return match_spaces<true>(text, begin);
  }
};

// The third step of DeepSeek V3 and V4 (text specification 1.1).
struct DeepseekWords {
  static bool is_ascii_letter(const Code& code) {
    return code.code < 0x80 && (code.classes & kLetter) != 0;
  }

  static std::size_t match(const Text& text, std::size_t begin) {
    constexpr unsigned kWord = kLetter | kMark;
    constexpr unsigned kSign = kPunctuation | kSymbol;
    const Code first = text.at(begin);
    if (first.code < 0x80 && (first.classes & kSign) != 0) {
      if (const std::size_t end = text.run(first.next, is_ascii_letter); end > first.next) {
        return end;
      }
    }
    if ((first.classes & (kNewline | kLetter | kSign)) == 0 && text.is_at(first.next, kWord)) {
      return text.run_of(first.next, kWord);
    }
    if ((first.classes & kWord) != 0) {
      return text.run_of(begin, kWord);
    }
    const auto is_sign = [](const Code& code) { return (code.classes & kSign) != 0; };
    if (const std::size_t end = match_blank_run(text, begin, is_sign); end > begin) {
      return text.run_of(end, kNewline);
    }
    return match_spaces<true>(text, begin);
  }
};

struct PatternRow {
  SplitPattern pattern;
  FindPattern find;
  std::string_view regex;
};

constexpr PatternRow kPatterns[] = {
    {SplitPattern::Number, &find<ClassRun<kNumber, 1>>, "\\p{N}"},
    {SplitPattern::Numbers, &find<ClassRun<kNumber, kNoLimit>>, "\\p{N}+"},
    {SplitPattern::ThreeNumbers, &find<ClassRun<kNumber, 3>>, "\\p{N}{1,3}"},
    {SplitPattern::ThreeDigits, &find<ThreeDigits>, "[0-9][0-9][0-9]"},
    {SplitPattern::HanKana, &find<SetRun<HanKana>>, "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"},
    {SplitPattern::DeepseekWords, &find<DeepseekWords>,
     "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p"
     "{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"},
    {SplitPattern::Gpt2Words, &find<Gpt2Words>,
     "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    {SplitPattern::Gpt2Words, &find<Gpt2Words>,
     "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    {SplitPattern::LlamaWords, &find<ModernWords<kLetter, 3>>,
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}"
     "\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {SplitPattern::QwenWords, &find<ModernWords<kLetter, 1>>,
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N"
     "}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {SplitPattern::QwenMarkWords, &find<ModernWords<kLetter | kMark, 1>>,
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p"
     "{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
    {SplitPattern::Newline, &find<ClassRun<kNewline, 1>>, "[\r\n]"},
    {SplitPattern::Newline, &find<ClassRun<kNewline, 1>>, "[\\r\\n]"},
    {SplitPattern::SpaceLetters, &find<SpaceSetRun<OfClass<kLetter>>>, "\\s?\\p{L}+"},
    {SplitPattern::SpacePunctuation, &find<SpaceSetRun<OfClass<kPunctuation>>>, "\\s?\\p{P}+"},
    {SplitPattern::Punctuation, &find<SetRun<PunctuationSet<false>>>, "[\\p{P}\\$\\+<=>\\^~\\|]+"},
    {SplitPattern::PunctuationTick, &find<SetRun<PunctuationSet<true>>>,
     "[\\p{P}\\$\\+<=>\\^~\\|`]+"},
    {SplitPattern::LatinLetters, &find<SpaceSetRun<LatinLetters>>,
     "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293"
     "\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c"
     "\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0"
     "-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-"
     "\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b"
     "\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-"
     "\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113"
     "\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f"
     "\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3"
     "\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00"
     "-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-"
     "\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-"
     "\U000118df\U0001e900-\U0001e943]+"},
    {SplitPattern::LatinPunctuation, &find<SpaceSetRun<LatinPunctuation>>,
     "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"},
    {SplitPattern::TrailingSpaces, &find_trailing_spaces, "\\s+$"},
    {SplitPattern::Ideographs, &find<SetRun<Ideographs>>,
     "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"},
};

}  // namespace

std::optional<FindPattern> find_pattern(std::string_view regex) {
  const auto row = std::find_if(std::begin(kPatterns), std::end(kPatterns),
                                [&](const PatternRow& each) { return each.regex == regex; });
  return row == std::end(kPatterns) ? std::nullopt : std::optional(row->find);
}

FindPattern scanner_of(SplitPattern pattern) {
  const auto row = std::find_if(std::begin(kPatterns), std::end(kPatterns),
                                [&](const PatternRow& each) { return each.pattern == pattern; });
  FATHOM_CHECK(row != std::end(kPatterns));
  return row->find;
}

}  // namespace fathom::text
