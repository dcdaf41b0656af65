// Memory of one step: a reserved range of addresses that is handed out from the front and taken
// back all at once.
//
// Only pages that were touched cost memory, so the reservation can be larger than the machine.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include "fathom/base/core/index.h"
#include "fathom/base/platform/reserved_memory.h"

namespace fathom::tensor {

class Arena {
 public:
  static constexpr Index kAlignment_bytes = 64;

  // Throws OutOfMemory when not even a small range can be reserved.
  explicit Arena(Index reserve_bytes = Index{1} << 38);
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // A hint, before the range is used.
  void ask_for_huge_pages() const { memory_.ask_for_huge_pages(); }

  // Uninitialised. Throws OutOfMemory when the reservation is used up.
  std::byte* allocate(Index num_bytes);
  // The same as `count` objects that need no constructor.
  template <typename T>
  std::span<T> allocate_array(Index count) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= kAlignment_bytes);
    return {reinterpret_cast<T*>(allocate(count * to_index(sizeof(T)))), to_size(count)};
  }

  Index used_bytes() const { return used_bytes_; }
  Index peak_bytes() const { return peak_bytes_; }
  // Takes back everything allocated since used_bytes() was `mark`, but for what is kept.
  void rewind(Index mark);

  // What is allocated by now stays when the scopes end that it was allocated in: a recorder needs
  // it later. release() lets go again of what was kept since kept_bytes() was `mark`; the next
  // rewind takes it back.
  void keep() { kept_bytes_ = used_bytes_; }
  Index kept_bytes() const { return kept_bytes_; }
  void release(Index mark) { kept_bytes_ = mark; }

  // The range it hands out from.
  std::byte* base() const { return memory_.data(); }
  Index reserved_bytes() const { return memory_.num_bytes(); }

  // Takes back at the end of a block what was allocated in it.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), mark_(arena.used_bytes()) {}
    ~Scope() { arena_.rewind(mark_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    Index mark_;
  };

 private:
  platform::ReservedMemory memory_;
  Index used_bytes_ = 0;
  Index peak_bytes_ = 0;
  Index kept_bytes_ = 0;
};

}  // namespace fathom::tensor
