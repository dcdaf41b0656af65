// The bytes of every token, the token of given bytes, and what two neighbours merge into.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::text {

inline constexpr std::int32_t kNoToken = -1;

class TokenTable {
 public:
  // The bytes of a token; ids may come in any order. A second call for an id replaces the first.
  void set(std::int32_t id, std::string_view bytes);
  // Makes find() find a token by its bytes. False when another one with these bytes is found
  // already.
  bool make_findable(std::int32_t id);

  // One more than the largest id.
  Index num_ids() const { return to_index(entries_.size()); }
  std::string_view bytes(std::int32_t id) const;
  std::int32_t find(std::string_view bytes) const;

 private:
  struct Entry {
    std::uint64_t begin = 0;
    std::uint64_t size = 0;
  };
  struct Slot {
    std::uint32_t hash = 0;
    std::int32_t id = kNoToken;
  };

  void grow();

  std::string arena_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;  // open addressing; a power of two
  Index num_findable_ = 0;
  std::size_t longest_ = 0;  // of the findable ones
};

// What a pair of neighbours becomes, and how soon: the lowest rank goes first.
struct Merge {
  std::uint32_t rank;
  std::int32_t token;

  static constexpr std::uint32_t kNever = UINT32_MAX;
};

class MergeTable {
 public:
  void reserve(Index num_merges);
  // False when the pair is in the table already.
  bool add(std::int32_t left, std::int32_t right, Merge merge);
  // Rank kNever for a pair that does not merge.
  Merge find(std::int32_t left, std::int32_t right) const {
    const std::uint64_t key = key_of(left, right);
    for (std::size_t slot = hash(key) & mask_;; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) {
        return slots_[slot].merge;
      }
      if (slots_[slot].key == kEmpty) {
        return {Merge::kNever, kNoToken};
      }
    }
  }

 private:
  static constexpr std::uint64_t kEmpty = UINT64_MAX;
  struct Slot {
    std::uint64_t key = kEmpty;
    Merge merge{Merge::kNever, kNoToken};
  };

  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 |
           static_cast<std::uint32_t>(right);
  }
  static std::size_t hash(std::uint64_t key) {
    key *= 0x9e3779b97f4a7c15ULL;
    return key ^ key >> 32;
  }

  std::vector<Slot> slots_ = std::vector<Slot>(2);
  std::size_t mask_ = 1;
  Index num_merges_ = 0;
};

}  // namespace fathom::text
