// Memory for the pages of caches: large blocks, each cut into pages of one size, that serve the
// next sequence when one ends.
//
// A page given back stays resident and needs neither the system nor zeroing when it is handed out
// again. Blocks in which nothing is left are kept up to a bound and given back beyond it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/base/platform/reserved_memory.h"

namespace fathom::kv {

class PagePool;

// A share in a page: the last one to go gives it back to its pool, which must still be there.
class PageShare {
 public:
  PageShare() = default;
  PageShare(const PageShare& other) noexcept : page_(other.page_) {
    if (page_ != nullptr) {
      page_->num_shares.fetch_add(1, std::memory_order_relaxed);
    }
  }
  PageShare(PageShare&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  PageShare& operator=(PageShare other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~PageShare();

  std::byte* data() const { return page_ == nullptr ? nullptr : page_->data; }
  bool is_empty() const { return page_ == nullptr; }
  bool is_shared() const { return page_->num_shares.load(std::memory_order_acquire) > 1; }

 private:
  friend class PagePool;
  struct Block;
  struct Page {
    std::byte* data = nullptr;
    Block* block = nullptr;
    Page* next_free = nullptr;
    std::atomic<int> num_shares{0};
  };
  explicit PageShare(Page* page) : page_(page) {}

  Page* page_ = nullptr;
};

class PagePool {
 public:
  static constexpr Index kBlockBytes = Index{1} << 22;
  static constexpr Index kAlignment_bytes = 64;  // of pages

  // Keeps at most `kept_bytes` of blocks in which no page is in use.
  explicit PagePool(Index kept_bytes = 16 * kBlockBytes);
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // A page of `num_bytes`, uninitialised. Throws OutOfMemory. Safe to call from several threads, as
  // is giving back.
  PageShare allocate(Index num_bytes);

  // Address space of all blocks; what of it is resident is what was touched.
  Index held_bytes() const;
  // Of the pages that someone has a share in.
  Index used_bytes() const;

 private:
  friend class PageShare;
  using Page = PageShare::Page;
  using Block = PageShare::Block;

  Block& block_with_room(Index page_bytes);
  Block& find_block(Index page_bytes);
  std::unique_ptr<Block> make_block(Index page_bytes);
  void give_back(Page* page) noexcept;
  void drop_empty_blocks() noexcept;

  mutable std::mutex mutex_;
  Index kept_bytes_;
  Index held_bytes_ = 0;
  Index used_bytes_ = 0;
  Index empty_bytes_ = 0;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<Block*> recent_;  // of each size the block that served last
};

}  // namespace fathom::kv
