// The words of a text as numbers, for comparing texts regardless of case, punctuation and layout.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::data {

// Appends a hash per word of a well-formed text, in order: words are runs of letters, marks and
// digits; A to Z count as a to z.
void append_word_hashes(std::string_view text, std::vector<std::uint64_t>& hashes);

// The hash of the words of an n-gram or a shingle.
std::uint64_t hash_of_words(std::span<const std::uint64_t> words);

// The text with every run of white space as one blank and none at the ends: what exact duplicates
// have in common.
std::string squeezed(std::string_view text);

}  // namespace fathom::data
