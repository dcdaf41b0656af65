#include "fathom/train/data/duplicates.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "fathom/base/core/error.h"

namespace fathom::data {
namespace {

constexpr Index kBands = 14;
constexpr Index kMostBandNumbers = kSignatureNumbers / kBands;
constexpr double kWantedRecall = 0.95;
constexpr std::uint32_t kNoText = UINT32_MAX;
constexpr Index kFewestTexts = 4096;
constexpr Index kHashBytes = sizeof(Hash128);
constexpr Index kSignatureBytes = sizeof(Signature);

// A table holds four entries in five slots at most, and is made for 1.4 times what is in it.
std::size_t slots_for(Index num_entries) {
  return to_size(num_entries / 4 * 5 + 16);
}
Index room_after(Index num_texts) {
  return std::max(kFewestTexts, num_texts + num_texts / 5 * 2);
}

// As many as still find a pair that is as like as the threshold nearly always.
Index band_numbers_for(double threshold) {
  Index numbers = 1;
  while (numbers < kMostBandNumbers &&
         1 - std::pow(1 - std::pow(threshold, static_cast<double>(numbers + 1)), kBands) >=
             kWantedRecall) {
    ++numbers;
  }
  return numbers;
}

template <typename Value>
std::span<std::byte> bytes_of(std::vector<Value>& values) {
  return std::as_writable_bytes(std::span(values));
}

// Assigning an empty list would keep the memory.
template <typename Value>
void free_memory(std::vector<Value>& values) {
  std::vector<Value>().swap(values);
}

// Calls take(value, idx) for the first `count` values of a file, a few thousand at a time.
template <typename Value, typename Take>
void for_each_value(const platform::AppendFile& file, Index count, const Take& take) {
  constexpr Index kAtATime = 4096;
  std::vector<Value> values;
  for (Index begin = 0; begin < count; begin += kAtATime) {
    values.resize(to_size(std::min(kAtATime, count - begin)));
    file.read(begin * Index{sizeof(Value)}, bytes_of(values));
    for (std::size_t i = 0; i < values.size(); ++i) {
      take(values[i], begin + to_index(i));
    }
  }
}

}  // namespace

ExactDuplicates::ExactDuplicates(const std::filesystem::path& path, Index num_texts)
    : file_(path, num_texts * kHashBytes) {
  rebuild(num_texts);
}

Index ExactDuplicates::num_texts() const {
  return file_.num_bytes() / kHashBytes;
}

void ExactDuplicates::rebuild(Index num_texts) {
  free_memory(slots_);
  slots_.resize(slots_for(room_after(num_texts)));
  for_each_value<Hash128>(file_, num_texts, [&](const Hash128& hash, Index) { insert(hash); });
}

bool ExactDuplicates::insert(const Hash128& hash) {
  std::size_t slot = hash.high % slots_.size();
  while (slots_[slot] != Hash128()) {
    if (slots_[slot] == hash) {
      return false;
    }
    slot = slot + 1 == slots_.size() ? 0 : slot + 1;
  }
  slots_[slot] = hash;
  return true;
}

bool ExactDuplicates::add(const Hash128& hash) {
  if (slots_for(num_texts() + 1) > slots_.size()) {
    rebuild(num_texts());
  }
  // No text has the hash of all zeros, but for one in 2^128.
  const bool is_new = insert(hash);
  if (is_new) {
    file_.append(std::as_bytes(std::span(&hash, 1)));
  }
  return is_new;
}

NearDuplicates::NearDuplicates(const std::filesystem::path& path, Index num_texts, double threshold)
    : file_(path, num_texts * kSignatureBytes),
      min_equal_(std::lround(std::ceil(threshold * static_cast<double>(kSignatureNumbers)))),
      band_numbers_(band_numbers_for(threshold)) {
  if (!(threshold >= 0.5 && threshold <= 1)) {
    fail(ErrorCode::InvalidArgument, "threshold of near duplicates: found ", threshold,
         ", expected 0.5 to 1");
  }
  rebuild(num_texts);
}

Index NearDuplicates::num_texts() const {
  return file_.num_bytes() / kSignatureBytes;
}

void NearDuplicates::rebuild(Index num_texts) {
  if (num_texts >= Index{kNoText}) {
    fail(ErrorCode::Unsupported, "near duplicates among more than ", kNoText, " texts");
  }
  free_memory(tags_);
  free_memory(texts_);
  const std::size_t num_slots = slots_for(room_after(num_texts) * kBands);
  tags_.resize(num_slots);
  texts_.resize(num_slots, kNoText);
  for_each_value<Signature>(file_, num_texts, [&](const Signature& signature, Index text) {
    insert(signature, static_cast<std::uint32_t>(text));
  });
}

NearDuplicates::Place NearDuplicates::place_of(const Signature& signature, Index band) const {
  std::array<std::uint16_t, to_size(kMostBandNumbers) + 1> key{};
  std::copy_n(signature.begin() + band * band_numbers_, band_numbers_, key.begin());
  key.back() = static_cast<std::uint16_t>(band);
  const std::uint64_t hash = hash64(std::as_bytes(std::span(key)));
  return {.slot = hash % texts_.size(), .tag = static_cast<std::uint16_t>(hash >> 48)};
}

void NearDuplicates::insert(const Signature& signature, std::uint32_t text) {
  for (Index band = 0; band < kBands; ++band) {
    Place place = place_of(signature, band);
    while (texts_[place.slot] != kNoText) {
      place.slot = place.slot + 1 == texts_.size() ? 0 : place.slot + 1;
    }
    tags_[place.slot] = place.tag;
    texts_[place.slot] = text;
  }
}

bool NearDuplicates::is_like_any(const Signature& signature) const {
  std::vector<std::uint32_t> seen;
  for (Index band = 0; band < kBands; ++band) {
    Place place = place_of(signature, band);
    for (; texts_[place.slot] != kNoText;
         place.slot = place.slot + 1 == texts_.size() ? 0 : place.slot + 1) {
      const std::uint32_t text = texts_[place.slot];
      if (tags_[place.slot] != place.tag ||
          std::find(seen.begin(), seen.end(), text) != seen.end()) {
        continue;
      }
      seen.push_back(text);
      Signature other;
      file_.read(Index{text} * kSignatureBytes, std::as_writable_bytes(std::span(other)));
      if (std::lround(likeness(signature, other) * static_cast<double>(kSignatureNumbers)) >=
          min_equal_) {
        return true;
      }
    }
  }
  return false;
}

bool NearDuplicates::add(const Signature& signature) {
  if (is_like_any(signature)) {
    return false;
  }
  if (slots_for((num_texts() + 1) * kBands) > texts_.size()) {
    rebuild(num_texts());
  }
  insert(signature, static_cast<std::uint32_t>(num_texts()));
  file_.append(std::as_bytes(std::span(signature)));
  return true;
}

}  // namespace fathom::data
