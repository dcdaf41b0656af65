#include "fathom/model/kv/row_store.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "fathom/base/core/error.h"

namespace fathom::kv {

RowStore::RowStore(Index width, tensor::DType dtype)
    : width_(width), dtype_(dtype), row_bytes_(width * tensor::element_bytes(dtype)) {
  FATHOM_CHECK(width > 0);
}

RowStore::Page RowStore::allocate_page() const {
  constexpr Index kAlignment_bytes = 64;
  const Index num_bytes = ceil_div(kRowsPerPage * row_bytes_, kAlignment_bytes) * kAlignment_bytes;
  auto* data = static_cast<std::byte*>(std::aligned_alloc(kAlignment_bytes, to_size(num_bytes)));
  if (data == nullptr) {
    fail(ErrorCode::OutOfMemory, "cache: cannot allocate a page of ", num_bytes, " bytes");
  }
  return {data, [](std::byte* bytes) { std::free(bytes); }};
}

void RowStore::make_tail_writable() {
  Page& tail = pages_.back();
  if (tail.use_count() == 1) {
    return;
  }
  Page copy = allocate_page();
  std::memcpy(copy.get(), tail.get(), to_size(num_rows_ % kRowsPerPage * row_bytes_));
  tail = std::move(copy);
  addresses_.back() = tail.get();
}

void RowStore::append(const tensor::Tensor& rows) {
  FATHOM_CHECK(rows.dtype() == dtype_ && rows.shape().last() == width_);
  const auto* source = static_cast<const std::byte*>(rows.raw());
  Index remaining = rows.num_elements() / width_;
  while (remaining > 0) {
    const Index offset = num_rows_ % kRowsPerPage;
    if (offset == 0) {
      // In an order in which a failed allocation leaves nothing behind that the next append trips
      // on.
      Page page = allocate_page();
      addresses_.resize(pages_.size() + 1);
      pages_.push_back(std::move(page));
      addresses_.back() = pages_.back().get();
    } else {
      make_tail_writable();
    }
    const Index count = std::min(remaining, kRowsPerPage - offset);
    std::memcpy(pages_.back().get() + offset * row_bytes_, source, to_size(count * row_bytes_));
    source += count * row_bytes_;
    num_rows_ += count;
    remaining -= count;
  }
}

void RowStore::truncate(Index num_rows) {
  FATHOM_CHECK(num_rows >= 0 && num_rows <= num_rows_);
  num_rows_ = num_rows;
  pages_.resize(to_size(ceil_div(num_rows, kRowsPerPage)));
  addresses_.resize(pages_.size());
}

void RowStore::drop_page(Index page_idx) {
  pages_[to_size(page_idx)].reset();
  addresses_[to_size(page_idx)] = nullptr;
}

bool RowStore::has_rows(Index first, Index end) const {
  if (first >= end) {
    return true;
  }
  if (end > num_rows_) {
    return false;
  }
  for (Index page = first / kRowsPerPage; page <= (end - 1) / kRowsPerPage; ++page) {
    if (pages_[to_size(page)] == nullptr) {
      return false;
    }
  }
  return true;
}

tensor::PagedRows RowStore::view() const {
  return {.dtype = dtype_, .pages = addresses_.data(), .num_rows = num_rows_, .width = width_};
}

Index RowStore::num_bytes() const {
  const auto present =
      std::count_if(pages_.begin(), pages_.end(), [](const Page& page) { return page != nullptr; });
  return to_index(static_cast<std::size_t>(present)) * kRowsPerPage * row_bytes_;
}

}  // namespace fathom::kv
