// An append-only list of rows in pages that forks share and copy on write.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/compute/tensor/matrix_view.h"
#include "fathom/compute/tensor/tensor.h"
#include "fathom/model/kv/page_pool.h"

namespace fathom::kv {

class RowStore {
 public:
  static constexpr Index kRowsPerPage = tensor::RowTable<float>::kRowsPerPage;

  // Without a pool, pages come from one of its own.
  RowStore(Index width, tensor::DType dtype, std::shared_ptr<PagePool> pool = nullptr);
  ~RowStore() = default;
  // A copy shares every page until one side writes to it.
  RowStore(const RowStore&) = default;
  RowStore(RowStore&&) = default;
  RowStore& operator=(RowStore other) noexcept;

  Index num_rows() const { return num_rows_; }
  // fp32 rows are rounded where BF16 or Int16Row is kept. Throws OutOfMemory; the rows before stay
  // as they were.
  void append(const tensor::Tensor& rows);
  // Adds up to a page of rows where a page begins, and returns where their numbers go. A page that
  // is not present is one whose rows were dropped: nothing is returned. Throws OutOfMemory.
  std::span<std::byte> append_page(Index num_rows, bool is_present);
  // Forgets rows from `num_rows` on.
  void truncate(Index num_rows);
  // Forgets the page that holds `row`; rows in it must not be read again.
  void drop_page(Index page_idx);
  bool has_rows(Index first, Index end) const;
  bool has_page(Index page_idx) const { return !pages_[to_size(page_idx)].is_empty(); }
  tensor::PagedRows view() const;
  Index num_pages() const { return to_index(pages_.size()); }
  // The rows of a page as they lie in memory; empty where it was dropped.
  std::span<const std::byte> page(Index page_idx) const;
  // Memory of the pages that are present, shared ones included.
  Index num_bytes() const;

 private:
  void reserve_page();
  void add_page();
  void make_tail_writable();

  Index width_;
  tensor::DType dtype_;
  Index row_bytes_;
  Index num_rows_ = 0;
  std::shared_ptr<PagePool> pool_;  // outlives what it gave
  std::vector<PageShare> pages_;
  std::vector<const void*> addresses_;  // of pages_, as kernels want them
};

}  // namespace fathom::kv
