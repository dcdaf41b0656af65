#include "fathom/model/kv/snapshot_file.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/output_file.h"
#include "fathom/model/kv/checksum.h"

namespace fathom::kv {
namespace {

std::vector<SnapshotStream> streams_of(const SequenceCache& cache) {
  std::vector<SnapshotStream> streams;
  for (const config::CacheStream& stream : cache.layout()) {
    streams.push_back({.layer_idx = stream.layer_idx,
                       .kind = stream.kind,
                       .width = stream.width,
                       .tokens_per_row = stream.tokens_per_row});
  }
  return streams;
}

Checksum head_checksum(std::span<const std::byte> prelude, std::span<const std::byte> head) {
  const auto begin = prelude.first(to_size(Index{SnapshotPrelude::kHashedBytes}));
  std::vector<std::byte> bytes(begin.begin(), begin.end());
  bytes.insert(bytes.end(), head.begin(), head.end());
  return checksum_of(bytes);
}

}  // namespace

SnapshotImage::SnapshotImage(SnapshotKey key,
                             std::vector<std::int32_t> tokens,
                             const SequenceCache& cache)
    : cache_(cache),
      head_{.key = std::move(key),
            .tokens = std::move(tokens),
            .resumable = cache.resumable_ranges(),
            .dtype = cache.dtype(),
            .streams = streams_of(cache)} {
  FATHOM_CHECK(head_.num_tokens() == cache.num_tokens() && head_.num_tokens() > 0);
  FATHOM_CHECK(cache.is_resumable(cache.num_tokens()));
  head_bytes_ = encode_head(head_);
  Index row_bytes = 0;
  for (Index idx = 0; idx < to_index(head_.streams.size()); ++idx) {
    const RowStore& store = cache.stream(idx);
    FATHOM_CHECK(store.num_rows() == head_.num_rows(idx));
    table_bytes_ += ceil_div(store.num_pages(), 8);
    for (Index page = 0; page < store.num_pages(); ++page) {
      table_bytes_ += store.has_page(page) ? to_index(sizeof(Checksum)) : 0;
      row_bytes += to_index(store.page(page).size());
    }
  }
  file_bytes_ = SnapshotPrelude::kBytes + to_index(head_bytes_.size()) + table_bytes_ + row_bytes;
}

void SnapshotImage::write(const std::filesystem::path& path) const {
  platform::OutputFile file(path, file_bytes_);
  const Index table_begin = SnapshotPrelude::kBytes + to_index(head_bytes_.size());
  Index offset = table_begin + table_bytes_;
  PageTable table;
  table.streams.resize(head_.streams.size());
  for (Index idx = 0; idx < to_index(table.streams.size()); ++idx) {
    const RowStore& store = cache_.stream(idx);
    for (Index page = 0; page < store.num_pages(); ++page) {
      table.streams[to_size(idx)].is_present.push_back(store.has_page(page));
      if (store.has_page(page)) {
        const auto rows = store.page(page);
        table.streams[to_size(idx)].checksums.push_back(checksum_of(rows));
        file.write(offset, rows);
        offset += to_index(rows.size());
      }
    }
  }
  const std::vector<std::byte> table_bytes = encode_table(table);
  FATHOM_CHECK(to_index(table_bytes.size()) == table_bytes_ && offset == file_bytes_);
  SnapshotPrelude prelude{.head_bytes = to_index(head_bytes_.size()),
                          .table_bytes = table_bytes_,
                          .file_bytes = file_bytes_,
                          .table_checksum = checksum_of(table_bytes)};
  prelude.head_checksum = head_checksum(encode_prelude(prelude), head_bytes_);
  file.write(table_begin, table_bytes);
  file.write(SnapshotPrelude::kBytes, head_bytes_);
  file.write(0, encode_prelude(prelude));
  file.sync();
  file.commit();
  platform::sync_folder(path.parent_path().empty() ? "." : path.parent_path());
}

SnapshotFile::SnapshotFile(const std::filesystem::path& path) : file_(path) {
  const std::string name = path.string();
  if (file_bytes() < SnapshotPrelude::kBytes) {
    fail(ErrorCode::InvalidArgument, name, ": found ", file_bytes(), " bytes, expected at least ",
         Index{SnapshotPrelude::kBytes}, " (a snapshot's prelude)");
  }
  std::vector<std::byte> prelude(to_size(Index{SnapshotPrelude::kBytes}));
  file_.read(0, prelude);
  prelude_ = decode_prelude(prelude, name);
  if (prelude_.file_bytes != file_bytes()) {
    fail(ErrorCode::InvalidArgument, name, ": found ", file_bytes(), " bytes, expected ",
         prelude_.file_bytes, " (its prelude)");
  }
  std::vector<std::byte> head(to_size(prelude_.head_bytes));
  file_.read(SnapshotPrelude::kBytes, head);
  if (!(head_checksum(prelude, head) == prelude_.head_checksum)) {
    fail(ErrorCode::InvalidArgument, name, ": head: its checksum differs: the file is damaged");
  }
  head_ = decode_head(head, name);
}

void SnapshotFile::restore(Index num_tokens, SequenceCache& cache) const {
  FATHOM_CHECK(cache.num_tokens() == 0);
  check_layout(cache);
  const bool is_listed =
      std::any_of(head_.resumable.begin(), head_.resumable.end(), [&](const TokenRange& range) {
        return range.first <= num_tokens && num_tokens <= range.last;
      });
  FATHOM_CHECK(is_listed);
  const PageTable table = read_table();
  try {
    read_rows(table, num_tokens, cache);
  } catch (...) {
    cache.discard_uncommitted();
    throw;
  }
  cache.commit(num_tokens);
  if (!cache.is_resumable(num_tokens)) {
    cache.truncate(0);
    fail(ErrorCode::InvalidArgument, file_.path().string(), ": page table: lacks pages that ",
         num_tokens, " tokens need");
  }
}

void SnapshotFile::check_layout(const SequenceCache& cache) const {
  const std::string name = file_.path().string();
  if (head_.dtype != cache.dtype()) {
    fail(ErrorCode::InvalidArgument, name, ": number type: found ", to_string(head_.dtype),
         ", expected ", to_string(cache.dtype()));
  }
  const std::vector<SnapshotStream> expected = streams_of(cache);
  if (head_.streams.size() != expected.size()) {
    fail(ErrorCode::InvalidArgument, name, ": streams: found ", head_.streams.size(), ", expected ",
         expected.size());
  }
  const auto [found, other] =
      std::mismatch(head_.streams.begin(), head_.streams.end(), expected.begin());
  if (found != head_.streams.end()) {
    const auto number = [](config::StreamKind kind) { return static_cast<int>(kind); };
    fail(ErrorCode::InvalidArgument, name, ": stream ", found - head_.streams.begin(),
         ": found layer ", found->layer_idx, " kind ", number(found->kind), " width ", found->width,
         " tokens per row ", found->tokens_per_row, ", expected layer ", other->layer_idx, " kind ",
         number(other->kind), " width ", other->width, " tokens per row ", other->tokens_per_row);
  }
}

PageTable SnapshotFile::read_table() const {
  const std::string name = file_.path().string();
  std::vector<std::byte> bytes(to_size(prelude_.table_bytes));
  file_.read(SnapshotPrelude::kBytes + prelude_.head_bytes, bytes);
  if (!(checksum_of(bytes) == prelude_.table_checksum)) {
    fail(ErrorCode::InvalidArgument, name,
         ": page table: its checksum differs: the file is damaged");
  }
  PageTable table = decode_table(bytes, head_, name);
  const Index rows_begin = SnapshotPrelude::kBytes + prelude_.head_bytes + prelude_.table_bytes;
  const Index row_bytes = row_bytes_of(table, head_, name);
  if (row_bytes != prelude_.file_bytes - rows_begin) {
    fail(ErrorCode::InvalidArgument, name, ": rows: found ", prelude_.file_bytes - rows_begin,
         " bytes, expected ", row_bytes, " (the page table)");
  }
  return table;
}

void SnapshotFile::read_rows(const PageTable& table, Index num_tokens, SequenceCache& cache) const {
  Index offset = SnapshotPrelude::kBytes + prelude_.head_bytes + prelude_.table_bytes;
  for (Index idx = 0; idx < to_index(table.streams.size()); ++idx) {
    offset = read_stream(table.streams[to_size(idx)], idx, offset, num_tokens, cache);
  }
}

// Returns where the next stream's rows begin. Pages behind `num_tokens` are passed over.
Index SnapshotFile::read_stream(const PageTable::Stream& pages,
                                Index stream_idx,
                                Index offset,
                                Index num_tokens,
                                SequenceCache& cache) const {
  const Index num_rows = num_tokens / head_.streams[to_size(stream_idx)].tokens_per_row;
  std::vector<std::byte> whole;  // a page of which fewer rows are wanted than it has
  std::size_t num_read = 0;
  for (Index page = 0; page < to_index(pages.is_present.size()); ++page) {
    const bool is_present = pages.is_present[to_size(page)];
    const Index num_bytes = is_present ? head_.page_bytes(stream_idx, page) : 0;
    const Index num_wanted =
        std::min(RowStore::kRowsPerPage, num_rows - page * RowStore::kRowsPerPage);
    if (num_wanted > 0) {
      const auto rows = cache.append_page(stream_idx, num_wanted, is_present);
      std::span<std::byte> place = rows;
      if (to_index(rows.size()) < num_bytes) {
        whole.resize(to_size(num_bytes));
        place = whole;
      }
      file_.read(offset, place);
      if (is_present && !(checksum_of(place) == pages.checksums[num_read])) {
        fail(ErrorCode::InvalidArgument, file_.path().string(), ": stream ", stream_idx, " page ",
             page, ": its checksum differs: the file is damaged");
      }
      std::copy_n(place.begin(), place.data() == rows.data() ? 0 : rows.size(), rows.begin());
    }
    num_read += is_present ? 1 : 0;
    offset += num_bytes;
  }
  return offset;
}

}  // namespace fathom::kv
