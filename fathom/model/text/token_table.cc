#include "fathom/model/text/token_table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::text {
namespace {

std::uint32_t hash_of(std::string_view bytes) {
  constexpr std::uint64_t kFactor = 0x9e3779b97f4a7c15ULL;
  std::uint64_t hash = bytes.size() * kFactor;
  const auto mix = [&](std::uint64_t word) {
    hash = (hash ^ word) * kFactor;
    hash ^= hash >> 29;
  };
  while (bytes.size() >= sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof word);
    mix(word);
    bytes.remove_prefix(sizeof word);
  }
  if (!bytes.empty()) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), bytes.size());
    mix(word);
  }
  return static_cast<std::uint32_t>(hash >> 32);
}

}  // namespace

void TokenTable::set(std::int32_t id, std::string_view bytes) {
  FATHOM_CHECK(id >= 0);
  const auto index = static_cast<std::size_t>(id);
  if (index >= entries_.size()) {
    entries_.resize(index + 1);
  }
  entries_[index] = {arena_.size(), bytes.size()};
  arena_ += bytes;
}

std::string_view TokenTable::bytes(std::int32_t id) const {
  if (id < 0 || id >= num_ids()) {
    return {};
  }
  const Entry& entry = entries_[static_cast<std::size_t>(id)];
  return std::string_view(arena_).substr(entry.begin, entry.size);
}

std::int32_t TokenTable::find(std::string_view bytes) const {
  if (bytes.size() > longest_ || slots_.empty()) {
    return kNoToken;
  }
  const std::uint32_t hash = hash_of(bytes);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t slot = hash & mask; slots_[slot].id != kNoToken; slot = (slot + 1) & mask) {
    if (slots_[slot].hash == hash && this->bytes(slots_[slot].id) == bytes) {
      return slots_[slot].id;
    }
  }
  return kNoToken;
}

bool TokenTable::make_findable(std::int32_t id) {
  const std::string_view own = bytes(id);
  if (find(own) != kNoToken) {
    return false;
  }
  if (2 * (num_findable_ + 1) > to_index(slots_.size())) {
    grow();
  }
  const std::uint32_t hash = hash_of(own);
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = hash & mask;
  while (slots_[slot].id != kNoToken) {
    slot = (slot + 1) & mask;
  }
  slots_[slot] = {hash, id};
  ++num_findable_;
  longest_ = std::max(longest_, own.size());
  return true;
}

void TokenTable::grow() {
  std::vector<Slot> old(std::max<std::size_t>(2 * slots_.size(), 1024));
  std::swap(old, slots_);
  const std::size_t mask = slots_.size() - 1;
  for (const Slot& each : old) {
    if (each.id != kNoToken) {
      std::size_t slot = each.hash & mask;
      while (slots_[slot].id != kNoToken) {
        slot = (slot + 1) & mask;
      }
      slots_[slot] = each;
    }
  }
}

void MergeTable::reserve(Index num_merges) {
  FATHOM_CHECK(num_merges_ == 0);
  slots_.assign(std::bit_ceil(to_size(2 * num_merges) + 2), Slot{});
  mask_ = slots_.size() - 1;
}

bool MergeTable::add(std::int32_t left, std::int32_t right, Merge merge) {
  FATHOM_CHECK(2 * (num_merges_ + 1) <= to_index(slots_.size()));
  const std::uint64_t key = key_of(left, right);
  std::size_t slot = hash(key) & mask_;
  while (slots_[slot].key != kEmpty) {
    if (slots_[slot].key == key) {
      return false;
    }
    slot = (slot + 1) & mask_;
  }
  slots_[slot] = {key, merge};
  ++num_merges_;
  return true;
}

}  // namespace fathom::text
