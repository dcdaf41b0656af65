#include "fathom/compute/autograd/gradient_memory.h"

#include <algorithm>
#include <bit>

#include "fathom/base/core/error.h"
#include "fathom/compute/autograd/step_bytes.h"

namespace fathom::autograd {
namespace {

// The bits of word `word` that stand for lines [first, end).
std::uint64_t bits_of(Index word, Index first, Index end) {
  constexpr Index kBits = 64;
  const Index begin = std::max<Index>(0, first - word * kBits);
  const Index stop = std::min(kBits, end - word * kBits);
  const std::uint64_t all = ~std::uint64_t{0};
  return (all << begin) & (all >> (kBits - stop));
}

}  // namespace

GradientMemory::GradientMemory(const tensor::Arena& values, platform::ThreadPool& pool)
    : values_(values), pool_(pool), memory_(values.reserved_bytes()) {
  // A training step goes through gigabytes.
  values.ask_for_huge_pages();
  memory_.ask_for_huge_pages();
}

bool GradientMemory::has(const void* value) const {
  const auto* byte = static_cast<const std::byte*>(value);
  return byte >= values_.base() && byte < values_.base() + values_.reserved_bytes();
}

GradientMemory::Lines GradientMemory::lines_of(const void* value, Index num_bytes) const {
  FATHOM_CHECK(has(value));
  const Index offset = static_cast<const std::byte*>(value) - values_.base();
  return {offset / kLine, ceil_div(offset + num_bytes, kLine)};
}

std::byte* GradientMemory::mark(const void* value, Index num_bytes) {
  const Lines lines = lines_of(value, num_bytes);
  if (lines.end * kLine > memory_.reserved_bytes()) {
    fail(ErrorCode::OutOfMemory, "gradients: ", lines.end * kLine,
         " bytes of address space wanted, ", memory_.reserved_bytes(), " granted");
  }
  const Index end_word = ceil_div(lines.end, kLinesPerWord);
  if (end_word > to_index(marks_.size())) {
    marks_.resize(std::max(to_size(end_word), 2 * marks_.size()));
    touched_.resize(marks_.size());
  }
  // Runs of lines that were not marked are zeroed at once; `zeroed` is where the next one begins.
  Index zeroed = lines.first;
  const auto zero_to = [&](Index end) {
    if (end > zeroed) {
      zero_bytes(pool_, (end - zeroed) * kLine, memory_.base() + zeroed * kLine);
    }
  };
  for (Index word = lines.first / kLinesPerWord; word < end_word; ++word) {
    std::uint64_t& marks = marks_[to_size(word)];
    const std::uint64_t bits = bits_of(word, lines.first, lines.end);
    std::uint64_t marked = marks & bits;
    while (marked != 0) {
      const int first = std::countr_zero(marked);
      const int count = std::countr_one(marked >> first);
      zero_to(word * kLinesPerWord + first);
      zeroed = word * kLinesPerWord + first + count;
      marked &= count == kLinesPerWord ? 0 : ~(((std::uint64_t{1} << count) - 1) << first);
    }
    marks |= bits;
    touched_[to_size(word)] |= bits;
  }
  zero_to(lines.end);
  return memory_.base() + (static_cast<const std::byte*>(value) - values_.base());
}

bool GradientMemory::is_marked(const void* value, Index num_bytes) const {
  const Lines lines = lines_of(value, num_bytes);
  const Index end_word = std::min(ceil_div(lines.end, kLinesPerWord), to_index(marks_.size()));
  for (Index word = lines.first / kLinesPerWord; word < end_word; ++word) {
    if ((marks_[to_size(word)] & bits_of(word, lines.first, lines.end)) != 0) {
      return true;
    }
  }
  return false;
}

Index GradientMemory::touched_bytes() const {
  Index lines = 0;
  for (const std::uint64_t word : touched_) {
    lines += std::popcount(word);
  }
  return lines * kLine;
}

void GradientMemory::clear_from(Index first_byte) {
  // A tensor before may end in the first line, but none begins there: allocations are whole lines.
  FATHOM_CHECK(first_byte % kLine == 0);
  const Index first = first_byte / kLine;
  const auto word = to_size(first / kLinesPerWord);
  if (word < marks_.size()) {
    marks_[word] &= ~bits_of(to_index(word), first, (to_index(word) + 1) * kLinesPerWord);
    std::fill(marks_.begin() + to_index(word) + 1, marks_.end(), 0);
  }
}

}  // namespace fathom::autograd
