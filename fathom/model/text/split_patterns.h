// The regular expressions of published pre-tokenizers, each as a scanner written by hand.
//
// No regular expression engine: the classes must be those of Unicode 16.0, and a scanner is linear
// on every text. A pattern that is not in the table has no scanner.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace fathom::text {

// Bytes [begin, end) of a text; empty when a pattern is not found.
struct Found {
  std::size_t begin;
  std::size_t end;
};

// The leftmost match at or after `begin` in well-formed UTF-8. The end of the text is an end to the
// pattern's look-ahead.
using FindPattern = Found (*)(std::string_view text, std::size_t begin);

// The scanner of a regular expression, spelled exactly as tokenizer.json files spell it.
std::optional<FindPattern> find_pattern(std::string_view regex);

// One of the table by a name of ours, for formats that name a kind of model and no expression.
enum class SplitPattern {
  Number,         // \p{N}
  Numbers,        // \p{N}+
  ThreeNumbers,   // \p{N}{1,3}
  ThreeDigits,    // [0-9][0-9][0-9]
  HanKana,        // the second step of DeepSeek V3 and V4
  DeepseekWords,  // their third step
  Gpt2Words,
  LlamaWords,        // Llama 3
  QwenWords,         // Qwen 2
  QwenMarkWords,     // Qwen 3.5: marks belong to words
  Newline,           // [\r\n]
  SpaceLetters,      // \s?\p{L}+
  SpacePunctuation,  // \s?\p{P}+
  Punctuation,       // [\p{P}\$\+<=>\^~\|]+
  PunctuationTick,   // the same with `
  LatinLetters,      // DeepSeek LLM's list of alphabets
  LatinPunctuation,  // its list of punctuation
  TrailingSpaces,    // \s+$
  Ideographs,        // [一-龥ࠀ-一가-퟿]+
};
FindPattern scanner_of(SplitPattern pattern);

}  // namespace fathom::text
