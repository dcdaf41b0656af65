#include "fathom/model/kv/whole_sequence_kv.h"

#include "fathom/base/core/error.h"

namespace fathom::kv {

WholeSequenceKv::WholeSequenceKv(const std::vector<config::CacheStream>& layout,
                                 tensor::DType dtype)
    : dtype_(dtype) {
  for (const config::CacheStream& stream : layout) {
    streams_.push_back({.width = stream.width, .rows = {}, .pages = {}});
  }
}

void WholeSequenceKv::append(Index stream_idx, const tensor::Tensor& rows) {
  constexpr Index kRowsPerPage = tensor::RowTable<float>::kRowsPerPage;
  Stream& stream = streams_[to_size(stream_idx)];
  FATHOM_CHECK(rows.dtype() == dtype_ && rows.shape().rank() == 2 && rows.dim(1) == stream.width);
  if (!stream.pages.empty()) {
    fail(ErrorCode::Unsupported, "whole-sequence cache: stream ", stream_idx, " has ",
         stream.rows.dim(0), " rows and is given more, expected one step for the whole sequence");
  }
  stream.rows = rows;
  const Index page_bytes = kRowsPerPage * tensor::row_bytes(dtype_, stream.width);
  for (Index page = 0; page < ceil_div(rows.dim(0), kRowsPerPage); ++page) {
    stream.pages.push_back(static_cast<const std::byte*>(rows.raw()) + page * page_bytes);
  }
}

tensor::PagedRows WholeSequenceKv::rows(Index stream_idx) const {
  const Stream& stream = streams_[to_size(stream_idx)];
  return {.dtype = dtype_,
          .pages = stream.pages.data(),
          .num_rows = stream.pages.empty() ? 0 : stream.rows.dim(0),
          .width = stream.width};
}

void WholeSequenceKv::commit(Index /*num_new_tokens*/) {
  discard_uncommitted();
}

void WholeSequenceKv::discard_uncommitted() {
  for (Stream& stream : streams_) {
    stream.rows = {};
    stream.pages.clear();
  }
}

}  // namespace fathom::kv
