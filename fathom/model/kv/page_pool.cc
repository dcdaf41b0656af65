#include "fathom/model/kv/page_pool.h"

#include <algorithm>

#include "fathom/base/core/error.h"

namespace fathom::kv {
namespace {

constexpr Index kHugePageBytes = Index{1} << 21;
// A block of larger pages is larger.
constexpr Index kFewestPages = 8;

}  // namespace

struct PageShare::Block {
  PagePool* pool = nullptr;
  platform::ReservedMemory memory;
  Index num_bytes = 0;
  std::byte* first = nullptr;  // where a huge page begins
  Index page_bytes = 0;
  std::unique_ptr<Page[]> pages;
  Page* free = nullptr;
  Index num_used = 0;

  // Cuts an unused block into pages of one size. Throws std::bad_alloc; the block stays as it was.
  void cut(Index bytes) {
    const Index count = num_bytes / bytes;
    auto cut_pages = std::make_unique<Page[]>(to_size(count));
    for (Index idx = 0; idx < count; ++idx) {
      Page& page = cut_pages[to_size(idx)];
      page.data = first + idx * bytes;
      page.block = this;
      page.next_free = idx + 1 < count ? &cut_pages[to_size(idx + 1)] : nullptr;
    }
    free = cut_pages.get();
    pages = std::move(cut_pages);
    page_bytes = bytes;
  }
};

PageShare::~PageShare() {
  if (page_ != nullptr && page_->num_shares.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    page_->block->pool->give_back(page_);
  }
}

PagePool::PagePool(Index kept_bytes) : kept_bytes_(kept_bytes) {
  FATHOM_CHECK(kept_bytes >= 0);
}

PagePool::~PagePool() = default;

PageShare PagePool::allocate(Index num_bytes) {
  FATHOM_CHECK(num_bytes > 0);
  const std::lock_guard lock(mutex_);
  const Index page_bytes = ceil_div(num_bytes, kAlignment_bytes) * kAlignment_bytes;
  Block& block = block_with_room(page_bytes);
  if (block.num_used++ == 0) {
    empty_bytes_ -= block.num_bytes;
  }
  Page* page = block.free;
  block.free = page->next_free;
  used_bytes_ += page_bytes;
  page->num_shares.store(1, std::memory_order_relaxed);
  return PageShare(page);
}

PagePool::Block& PagePool::block_with_room(Index page_bytes) {
  for (Block* block : recent_) {
    if (block->page_bytes == page_bytes && block->free != nullptr) {
      return *block;
    }
  }
  Block& found = find_block(page_bytes);
  recent_.reserve(recent_.size() + 1);
  std::erase_if(recent_,
                [&](Block* block) { return block == &found || block->page_bytes == page_bytes; });
  recent_.push_back(&found);
  return found;
}

// A block of such pages with a free one: in use if there is one, so that others become empty; else
// an empty one, else a new one.
PagePool::Block& PagePool::find_block(Index page_bytes) {
  Block* empty = nullptr;
  for (const auto& block : blocks_) {
    if (block->page_bytes == page_bytes && block->free != nullptr) {
      if (block->num_used > 0) {
        return *block;
      }
      empty = block.get();
    } else if (empty == nullptr && block->num_used == 0 && block->num_bytes >= page_bytes) {
      empty = block.get();
    }
  }
  if (empty == nullptr) {
    blocks_.push_back(make_block(page_bytes));
    held_bytes_ += blocks_.back()->num_bytes;
    empty_bytes_ += blocks_.back()->num_bytes;
    return *blocks_.back();
  }
  if (empty->page_bytes != page_bytes) {
    empty->cut(page_bytes);
  }
  return *empty;
}

std::unique_ptr<PagePool::Block> PagePool::make_block(Index page_bytes) {
  auto block = std::make_unique<Block>();
  block->pool = this;
  const auto wanted = checked_multiply(page_bytes, kFewestPages);
  block->num_bytes =
      std::max(kBlockBytes, wanted.value_or(page_bytes) / kHugePageBytes * kHugePageBytes);
  block->memory = platform::ReservedMemory("cache", block->num_bytes + kHugePageBytes);
  block->memory.ask_for_huge_pages();
  const auto address = reinterpret_cast<std::uintptr_t>(block->memory.data());
  constexpr auto kHuge = static_cast<std::uintptr_t>(kHugePageBytes);
  block->first = block->memory.data() + (kHuge - address % kHuge) % kHuge;
  block->cut(page_bytes);
  return block;
}

void PagePool::give_back(Page* page) noexcept {
  const std::lock_guard lock(mutex_);
  Block& block = *page->block;
  used_bytes_ -= block.page_bytes;
  page->next_free = block.free;
  block.free = page;
  if (--block.num_used == 0) {
    empty_bytes_ += block.num_bytes;
    drop_empty_blocks();
  }
}

void PagePool::drop_empty_blocks() noexcept {
  for (auto block = blocks_.begin(); empty_bytes_ > kept_bytes_ && block != blocks_.end();) {
    if ((*block)->num_used > 0) {
      ++block;
      continue;
    }
    empty_bytes_ -= (*block)->num_bytes;
    held_bytes_ -= (*block)->num_bytes;
    std::erase(recent_, block->get());
    block = blocks_.erase(block);
  }
}

Index PagePool::used_bytes() const {
  const std::lock_guard lock(mutex_);
  return used_bytes_;
}

Index PagePool::held_bytes() const {
  const std::lock_guard lock(mutex_);
  return held_bytes_;
}

}  // namespace fathom::kv
