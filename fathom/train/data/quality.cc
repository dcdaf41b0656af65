#include "fathom/train/data/quality.h"

#include <unordered_set>

#include "fathom/model/text/unicode_classes.h"
#include "fathom/model/text/utf8.h"
#include "fathom/train/data/hash.h"

namespace fathom::data {
namespace {

constexpr std::string_view kProsePunctuation = ".,;:!?'\"()-";

struct Counts {
  Index characters = 0;
  Index visible = 0;  // not white space
  Index letters = 0;
  Index symbols = 0;
  Index words = 0;  // runs of what is visible
};

// Curly quotes and dashes are punctuation of prose as their ASCII forms are.
bool is_prose_punctuation(std::uint32_t code) {
  return (code >= 0x2010 && code <= 0x201f) || code == 0x2026 ||
         (code < 0x80 && kProsePunctuation.find(static_cast<char>(code)) != std::string_view::npos);
}

Counts count(std::string_view text) {
  const std::uint8_t* const classes = text::unicode_classes();
  Counts counts;
  bool is_inside = false;
  for (std::size_t i = 0; i < text.size(); i += text::utf8_length(text.data() + i)) {
    const std::uint32_t code = text::utf8_code(text.data() + i);
    const std::uint8_t bits = classes[code];
    ++counts.characters;
    if ((bits & text::kSpace) != 0) {
      is_inside = false;
      continue;
    }
    ++counts.visible;
    counts.words += is_inside ? 0 : 1;
    is_inside = true;
    if ((bits & (text::kLetter | text::kMark)) != 0) {
      ++counts.letters;
    } else if ((bits & text::kNumber) == 0 && !is_prose_punctuation(code)) {
      ++counts.symbols;
    }
  }
  return counts;
}

Index visible_in(std::string_view line) {
  return count(line).visible;
}

Index repeated_in(std::string_view text) {
  std::unordered_set<std::uint64_t> seen;
  Index repeated = 0;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (const Index visible = visible_in(line); visible > 0 && !seen.insert(hash64(line)).second) {
      repeated += visible;
    }
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return repeated;
}

}  // namespace

QualityLimits QualityLimits::prose() {
  return {.min_characters = 200,
          .max_characters = 0,
          .min_letters = 0.6,
          .max_symbols = 0.15,
          .max_repeated_lines = 0.3,
          .max_word_characters = 12};
}

std::optional<Refusal> judge(std::string_view text, const QualityLimits& limits) {
  const Counts counts = count(text);
  const auto visible = static_cast<double>(counts.visible);
  const auto is_above = [&](Index number, double share) {
    return static_cast<double>(number) > share * visible;
  };
  if (counts.characters < limits.min_characters || counts.visible == 0) {
    return Refusal::TooShort;
  }
  if (limits.max_characters > 0 && counts.characters > limits.max_characters) {
    return Refusal::TooLong;
  }
  if (static_cast<double>(counts.letters) < limits.min_letters * visible) {
    return Refusal::FewLetters;
  }
  if (limits.max_symbols < 1 && is_above(counts.symbols, limits.max_symbols)) {
    return Refusal::ManySymbols;
  }
  if (limits.max_repeated_lines < 1 && is_above(repeated_in(text), limits.max_repeated_lines)) {
    return Refusal::RepeatedLines;
  }
  if (limits.max_word_characters > 0 &&
      visible > limits.max_word_characters * static_cast<double>(counts.words)) {
    return Refusal::LongWords;
  }
  return std::nullopt;
}

}  // namespace fathom::data
