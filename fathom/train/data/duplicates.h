// Which texts were met before, exactly or nearly, among any number of them.
//
// Both keep what they know of a text in a file and only look-up tables in memory: 28 bytes per text
// for exact duplicates and 147 for near ones, at most. A table that is full is made anew, larger,
// out of the file, after the old one is gone; the same happens when a build goes on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "fathom/base/platform/append_file.h"
#include "fathom/train/data/hash.h"
#include "fathom/train/data/min_hash.h"

namespace fathom::data {

class ExactDuplicates {
 public:
  // Goes on with the first num_texts of what the file holds. Throws Io, as do the others.
  ExactDuplicates(const std::filesystem::path& path, Index num_texts);

  // Remembers the hash of a text; false when it is there already.
  bool add(const Hash128& hash);
  Index num_texts() const;
  void sync() { file_.sync(); }

 private:
  void rebuild(Index num_texts);
  bool insert(const Hash128& hash);

  platform::AppendFile file_;
  std::vector<Hash128> slots_;  // open addressing; all zeros is an empty one
};

// A text is refused when the signature of one that was remembered agrees with its own in at least
// `threshold` of the numbers. Candidates are those that agree in all numbers of one of 14 bands:
// of texts that are as like as the threshold, 95 % and more are found, of more alike ones nearly
// all.
class NearDuplicates {
 public:
  // `threshold` in [0.5, 1]: throws InvalidArgument otherwise.
  NearDuplicates(const std::filesystem::path& path, Index num_texts, double threshold);

  // Remembers a signature; false when one like it is there already.
  bool add(const Signature& signature);
  Index num_texts() const;
  void sync() { file_.sync(); }

 private:
  struct Place {
    std::size_t slot;
    std::uint16_t tag;
  };
  void rebuild(Index num_texts);
  void insert(const Signature& signature, std::uint32_t text);
  Place place_of(const Signature& signature, Index band) const;
  bool is_like_any(const Signature& signature) const;

  platform::AppendFile file_;
  Index min_equal_;  // numbers that have to agree
  Index band_numbers_;
  // Open addressing, one slot per band of a text: a part of the band's hash, and the text.
  std::vector<std::uint16_t> tags_;
  std::vector<std::uint32_t> texts_;
};

}  // namespace fathom::data
