#include "fathom/model/kv/row_store.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/compute/numeric/int16_rows.h"
#include "fathom/compute/numeric/small_floats.h"

namespace fathom::kv {
namespace {

// Tables of pages are made for so many at first, then double.
constexpr std::size_t kFewestPages = 64;

bool is_rounded_from_f32(tensor::DType dtype) {
  return dtype == tensor::DType::BF16 || dtype == tensor::DType::Int16Row;
}

// fp32 rows as the number type keeps them.
void round_rows(
    const float* rows, Index count, Index width, tensor::DType dtype, std::byte* target) {
  if (dtype == tensor::DType::BF16) {
    std::transform(rows, rows + count * width, reinterpret_cast<std::uint16_t*>(target),
                   numeric::float_to_bf16);
    return;
  }
  for (Index row = 0; row < count; ++row) {
    numeric::write_int16_row(
        rows + row * width, width,
        reinterpret_cast<std::int16_t*>(target + row * numeric::int16_row_bytes(width)));
  }
}

}  // namespace

RowStore::RowStore(Index width, tensor::DType dtype, std::shared_ptr<PagePool> pool)
    : width_(width),
      dtype_(dtype),
      row_bytes_(tensor::row_bytes(dtype, width)),
      pool_(pool == nullptr ? std::make_shared<PagePool>() : std::move(pool)) {
  FATHOM_CHECK(width > 0);
}

// By swapping, so that the pages given up go before their pool may.
RowStore& RowStore::operator=(RowStore other) noexcept {
  std::swap(width_, other.width_);
  std::swap(dtype_, other.dtype_);
  std::swap(row_bytes_, other.row_bytes_);
  std::swap(num_rows_, other.num_rows_);
  std::swap(pool_, other.pool_);
  std::swap(pages_, other.pages_);
  std::swap(addresses_, other.addresses_);
  return *this;
}

void RowStore::reserve_page() {
  if (pages_.size() == std::min(pages_.capacity(), addresses_.capacity())) {
    const std::size_t wanted = std::max(kFewestPages, 2 * pages_.size());
    pages_.reserve(wanted);
    addresses_.reserve(wanted);
  }
}

// Whatever fails leaves the store as it was.
void RowStore::add_page() {
  reserve_page();
  pages_.push_back(pool_->allocate(kRowsPerPage * row_bytes_));
  addresses_.push_back(pages_.back().data());
}

void RowStore::make_tail_writable() {
  PageShare& tail = pages_.back();
  if (!tail.is_shared()) {
    return;
  }
  PageShare copy = pool_->allocate(kRowsPerPage * row_bytes_);
  std::memcpy(copy.data(), tail.data(), to_size(num_rows_ % kRowsPerPage * row_bytes_));
  tail = std::move(copy);
  addresses_.back() = tail.data();
}

void RowStore::append(const tensor::Tensor& rows) {
  FATHOM_CHECK(rows.shape().last() == width_);
  FATHOM_CHECK(rows.dtype() == dtype_ ||
               (rows.dtype() == tensor::DType::F32 && is_rounded_from_f32(dtype_)));
  const Index source_bytes = width_ * tensor::element_bytes(rows.dtype());
  const auto* source = static_cast<const std::byte*>(rows.raw());
  Index remaining = rows.num_elements() / width_;
  while (remaining > 0) {
    const Index offset = num_rows_ % kRowsPerPage;
    if (offset == 0) {
      add_page();
    } else {
      make_tail_writable();
    }
    const Index count = std::min(remaining, kRowsPerPage - offset);
    std::byte* target = pages_.back().data() + offset * row_bytes_;
    if (rows.dtype() == dtype_) {
      std::memcpy(target, source, to_size(count * row_bytes_));
    } else {
      round_rows(reinterpret_cast<const float*>(source), count, width_, dtype_, target);
    }
    source += count * source_bytes;
    num_rows_ += count;
    remaining -= count;
  }
}

std::span<std::byte> RowStore::append_page(Index num_rows, bool is_present) {
  FATHOM_CHECK(num_rows_ % kRowsPerPage == 0 && num_rows > 0 && num_rows <= kRowsPerPage);
  if (is_present) {
    add_page();
  } else {
    reserve_page();
    pages_.emplace_back();
    addresses_.push_back(nullptr);
  }
  num_rows_ += num_rows;
  return {pages_.back().data(), is_present ? to_size(num_rows * row_bytes_) : 0};
}

void RowStore::truncate(Index num_rows) {
  FATHOM_CHECK(num_rows >= 0 && num_rows <= num_rows_);
  num_rows_ = num_rows;
  pages_.resize(to_size(ceil_div(num_rows, kRowsPerPage)));
  addresses_.resize(pages_.size());
}

void RowStore::drop_page(Index page_idx) {
  pages_[to_size(page_idx)] = PageShare();
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
    if (pages_[to_size(page)].is_empty()) {
      return false;
    }
  }
  return true;
}

tensor::PagedRows RowStore::view() const {
  return {.dtype = dtype_, .pages = addresses_.data(), .num_rows = num_rows_, .width = width_};
}

std::span<const std::byte> RowStore::page(Index page_idx) const {
  const PageShare& share = pages_[to_size(page_idx)];
  const Index num_rows = std::min(kRowsPerPage, num_rows_ - page_idx * kRowsPerPage);
  return {share.data(), share.is_empty() ? 0 : to_size(num_rows * row_bytes_)};
}

Index RowStore::num_bytes() const {
  const auto present = std::count_if(pages_.begin(), pages_.end(),
                                     [](const PageShare& page) { return !page.is_empty(); });
  return to_index(static_cast<std::size_t>(present)) * kRowsPerPage * row_bytes_;
}

}  // namespace fathom::kv
