// Rules that tell text worth training on from what is not.
#pragma once

#include <optional>
#include <string_view>

#include "fathom/base/core/index.h"

namespace fathom::data {

// Why a document is left out, in the order in which it is looked at. One table names them all.
enum class Refusal {
  InvalidUtf8,
  TooShort,
  TooLong,
  FewLetters,
  ManySymbols,
  RepeatedLines,
  LongWords,
  Contaminated,
  ExactDuplicate,
  NearDuplicate,
};

struct RefusalRow {
  Refusal refusal;
  std::string_view name;  // in reports
};
inline constexpr RefusalRow kRefusals[] = {
    {Refusal::InvalidUtf8, "invalid_utf8"},
    {Refusal::TooShort, "too_short"},
    {Refusal::TooLong, "too_long"},
    {Refusal::FewLetters, "few_letters"},
    {Refusal::ManySymbols, "many_symbols"},
    {Refusal::RepeatedLines, "repeated_lines"},
    {Refusal::LongWords, "long_words"},
    {Refusal::Contaminated, "contaminated"},
    {Refusal::ExactDuplicate, "exact_duplicate"},
    {Refusal::NearDuplicate, "near_duplicate"},
};

// Beyond these a document is refused. Characters are code points; shares are of those that are not
// white space.
struct QualityLimits {
  Index min_characters = 1;
  Index max_characters = 0;        // 0: no limit
  double min_letters = 0;          // share of letters and marks
  double max_symbols = 1;          // share of what is no letter, mark, digit or .,;:!?'"()-
  double max_repeated_lines = 1;   // share of the characters in lines that stood before
  double max_word_characters = 0;  // mean between white space; 0: no limit

  // What is usual for prose from the web.
  static QualityLimits prose();
  bool operator==(const QualityLimits&) const = default;
};

// The first limit that a well-formed text is beyond.
std::optional<Refusal> judge(std::string_view text, const QualityLimits& limits);

}  // namespace fathom::data
