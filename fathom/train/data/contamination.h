// Texts that a model will be examined on, and documents that give them away.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::data {

inline constexpr Index kContaminationWords = 13;

// Knows every run of 13 words of the evaluation items (append_word_hashes says what words are); a
// document with one of them is contaminated (Brown et al. 2020, appendix C).
class Contamination {
 public:
  // .jsonl: an item per line, made of all strings in it. Any other file: an item per block of lines
  // between blank ones. Throws Io; InvalidArgument for a line that is no JSON.
  void add_file(const std::filesystem::path& path);

  struct Item {
    Index file_idx;
    Index line;  // where it begins, from 1
    bool operator==(const Item&) const = default;
  };

  // The items that a document of these words shares a run with, each once, by number.
  std::vector<Index> find(std::span<const std::uint64_t> words) const;

  Index num_items() const { return to_index(items_.size()); }
  // Items of fewer than 13 words: no document is compared with them.
  Index num_short_items() const { return num_short_items_; }
  const Item& item(Index idx) const { return items_[to_size(idx)]; }
  const std::vector<std::filesystem::path>& files() const { return files_; }

 private:
  void add_item(std::string_view text, Index line);

  std::vector<std::filesystem::path> files_;
  std::vector<Item> items_;
  Index num_short_items_ = 0;
  std::unordered_multimap<std::uint64_t, std::uint32_t> runs_;  // the items that have them
};

}  // namespace fathom::data
