// The bytes of a snapshot, a cache's rows in a file: what stands in front of the rows.
//
//   prelude   72 bytes: magic, version, sizes of the parts, their checksums
//   head      whose the rows are: key, tokens, resumable positions, streams
//   table     for every stream which pages are there, and the checksum of each
//   rows      the pages that are there, stream by stream, as they lie in memory
//
// Numbers are little endian. Reading trusts nothing: every size is checked before memory is taken,
// and errors name the file, the field, what was found and what was expected.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/compute/tensor/dtype.h"
#include "fathom/model/config/cache_layout.h"
#include "fathom/model/kv/checksum.h"
#include "fathom/model/kv/sequence_cache.h"

namespace fathom::kv {

// Another number whenever the bytes mean something else, StreamKind's order included.
inline constexpr std::uint32_t kSnapshotVersion = 3;

// Rows are only taken over under the same key.
struct SnapshotKey {
  // Of everything that the bits of a row depend on besides the tokens: weights, config, numerics,
  // the order of sums of the kernels. At most 65,536 bytes, as the scope.
  std::string fingerprint;
  std::string scope = {};  // who may share
  bool operator==(const SnapshotKey&) const = default;
};

struct SnapshotStream {
  Index layer_idx;
  config::StreamKind kind;
  Index width;
  Index tokens_per_row;
  bool operator==(const SnapshotStream&) const = default;
};

struct SnapshotHead {
  SnapshotKey key;
  std::vector<std::int32_t> tokens;   // at least one
  std::vector<TokenRange> resumable;  // ascending and apart; the last ends with the tokens
  tensor::DType dtype = tensor::DType::F32;
  std::vector<SnapshotStream> streams;

  Index num_tokens() const { return to_index(tokens.size()); }
  Index num_rows(Index stream_idx) const;
  Index num_pages(Index stream_idx) const;
  // Of the rows that a page holds, which for the last one may be fewer.
  Index page_bytes(Index stream_idx, Index page) const;
};

struct PageTable {
  struct Stream {
    std::vector<bool> is_present;     // of every page
    std::vector<Checksum> checksums;  // of those that are
  };
  std::vector<Stream> streams;
};

struct SnapshotPrelude {
  static constexpr Index kBytes = 72;
  // The head's checksum covers the prelude before it, too.
  static constexpr Index kHashedBytes = 56;

  Index head_bytes = 0;
  Index table_bytes = 0;
  Index file_bytes = 0;
  Checksum table_checksum = {};
  Checksum head_checksum = {};
};

std::array<std::byte, SnapshotPrelude::kBytes> encode_prelude(const SnapshotPrelude& prelude);
std::vector<std::byte> encode_head(const SnapshotHead& head);
std::vector<std::byte> encode_table(const PageTable& table);

// `name` is the file's, for messages. All throw InvalidArgument for bytes that are no snapshot's;
// decode_prelude throws Unsupported for another version's.
SnapshotPrelude decode_prelude(std::span<const std::byte> bytes, const std::string& name);
SnapshotHead decode_head(std::span<const std::byte> bytes, const std::string& name);
PageTable decode_table(std::span<const std::byte> bytes,
                       const SnapshotHead& head,
                       const std::string& name);

// Bytes of the pages that are there. Throws InvalidArgument when no file can be so large.
Index row_bytes_of(const PageTable& table, const SnapshotHead& head, const std::string& name);

}  // namespace fathom::kv
