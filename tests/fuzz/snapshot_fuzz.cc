// Any bytes as a snapshot of a cache: refused with one line, or restored whole. Checksums would
// refuse nearly all of them before anything else looks, so the bytes are tried with right ones,
// too.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/model/kv/checksum.h"
#include "fathom/model/kv/snapshot_file.h"

namespace {

using fathom::Index;
using fathom::to_index;
using fathom::to_size;
using namespace fathom::kv;

using Bytes = std::vector<std::byte>;

constexpr Index kPrelude = SnapshotPrelude::kBytes;

template <typename Action>
bool succeeds_or_refuses(const Action& action) {
  try {
    action();
    return true;
  } catch (const fathom::Error& error) {
    const bool is_expected = error.code() == fathom::ErrorCode::InvalidArgument ||
                             error.code() == fathom::ErrorCode::Unsupported;
    if (!is_expected || std::string_view(error.what()).find('\n') != std::string_view::npos) {
      std::abort();
    }
    return false;
  }
}

// Gives the pages the checksums of what lies where they should.
void seal_pages(std::span<const std::byte> head_bytes,
                std::span<std::byte> table_bytes,
                std::span<const std::byte> rows) {
  succeeds_or_refuses([&] {
    const SnapshotHead head = decode_head(head_bytes, "fuzz");
    PageTable table = decode_table(table_bytes, head, "fuzz");
    if (row_bytes_of(table, head, "fuzz") != to_index(rows.size())) {
      return;
    }
    for (Index idx = 0; idx < to_index(table.streams.size()); ++idx) {
      PageTable::Stream& stream = table.streams[to_size(idx)];
      std::size_t num_present = 0;
      for (Index page = 0; page < to_index(stream.is_present.size()); ++page) {
        if (stream.is_present[to_size(page)]) {
          const auto size = to_size(head.page_bytes(idx, page));
          stream.checksums[num_present++] = checksum_of(rows.first(size));
          rows = rows.subspan(size);
        }
      }
    }
    const Bytes sealed = encode_table(table);
    if (sealed.size() != table_bytes.size()) {
      std::abort();
    }
    std::memcpy(table_bytes.data(), sealed.data(), sealed.size());
  });
}

// The same bytes with a prelude that fits them: the sizes of head and table as they are, where they
// can be.
void seal(Bytes& file) {
  std::uint64_t sizes[2];
  std::memcpy(sizes, file.data() + 16, sizeof(sizes));
  const std::uint64_t after_prelude = file.size() - to_size(kPrelude);
  sizes[0] = std::min(sizes[0], after_prelude);
  sizes[1] = std::min(sizes[1], after_prelude - sizes[0]);
  const std::span<std::byte> all(file);
  const auto head = all.subspan(to_size(kPrelude), sizes[0]);
  const auto table = all.subspan(to_size(kPrelude) + sizes[0], sizes[1]);
  seal_pages(head, table, all.subspan(to_size(kPrelude) + sizes[0] + sizes[1]));
  SnapshotPrelude prelude{.head_bytes = static_cast<Index>(sizes[0]),
                          .table_bytes = static_cast<Index>(sizes[1]),
                          .file_bytes = to_index(file.size()),
                          .table_checksum = checksum_of(table)};
  const auto hashed = encode_prelude(prelude);
  Bytes bytes(hashed.begin(), hashed.begin() + SnapshotPrelude::kHashedBytes);
  bytes.insert(bytes.end(), head.begin(), head.end());
  prelude.head_checksum = checksum_of(bytes);
  const auto encoded = encode_prelude(prelude);
  std::memcpy(file.data(), encoded.data(), encoded.size());
}

// A cache as the file says it is.
SequenceCache cache_for(const SnapshotHead& head) {
  std::vector<fathom::config::CacheStream> layout;
  for (const SnapshotStream& stream : head.streams) {
    layout.push_back({.layer_idx = stream.layer_idx,
                      .kind = stream.kind,
                      .width = stream.width,
                      .tokens_per_row = stream.tokens_per_row,
                      .lookback_tokens = 5,
                      .block_tokens = 0,
                      .overlap_tokens = 0});
  }
  static const auto pool = std::make_shared<PagePool>();
  return {layout, head.dtype, {.raw_tokens = 8, .checkpoint_interval = 16}, pool};
}

void restore(std::span<const std::byte> bytes) {
  static const std::filesystem::path path =
      std::filesystem::path(std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp") /
      ("fathom-snapshot-fuzz-" + std::to_string(getpid()));
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  succeeds_or_refuses([&] {
    const SnapshotFile file(path);
    for (const TokenRange& range : file.head().resumable) {
      for (const Index num_tokens : {range.first, range.last}) {
        SequenceCache cache = cache_for(file.head());
        const bool is_whole = succeeds_or_refuses([&] { file.restore(num_tokens, cache); });
        if (cache.num_tokens() != (is_whole ? num_tokens : 0) ||
            !cache.is_resumable(cache.num_tokens())) {
          std::abort();
        }
      }
    }
  });
  std::filesystem::remove(path);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  succeeds_or_refuses([&] { decode_prelude(bytes, "fuzz"); });
  succeeds_or_refuses([&] {
    const Bytes again = encode_head(decode_head(bytes, "fuzz"));
    if (again.size() != size || !std::equal(again.begin(), again.end(), bytes.begin())) {
      std::abort();
    }
  });
  restore(bytes);
  if (size >= to_size(kPrelude)) {
    Bytes sealed(bytes.begin(), bytes.end());
    seal(sealed);
    restore(sealed);
  }
  return 0;
}
