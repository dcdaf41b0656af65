// The bytes of a shard, a file of tokenised documents.
//
//   header    128 bytes, below
//   body      tokens     [num_tokens] of token_bytes each, document after document
//             flags      a bit per token, lowest bit first: whether it counts as a target; only
//                        where has_flags, otherwise every token counts
//             ends       [num_documents] u64: where in `tokens` each document ends
//             hashes     [num_documents] u64: of each document's text, which the validation split
//                        goes by
//             each part is filled up with zeros to a multiple of 8 bytes
//   checksums u64 per block of 262,144 bytes of the body (the last may be shorter): XXH3
//
//   header:  0 magic "FathomSh"       8 u32 version           12 u32 has_flags, 0 or 1
//           16 u32 token_bytes, 2 or 4                        20 u32 0
//           24 i64 vocabulary_size   32 u128 fingerprint of the tokenizer
//           48 i64 num_documents     56 i64 num_tokens        64 i64 num_targets that count
//           72 u128 XXH3 of `checksums`                       88 24 bytes 0
//          112 u128 XXH3 of the 112 bytes before
//
// A document is at least two tokens: what begins and what ends a text are among them, so its first
// token is never a target and its last one never predicts. Numbers are little endian. The file's
// size follows from the header, and every byte of it from a checksum.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "fathom/base/core/index.h"
#include "fathom/train/data/hash.h"

namespace fathom::data {

// Another number whenever the bytes mean something else.
inline constexpr std::uint32_t kShardVersion = 1;
inline constexpr Index kShardHeaderBytes = 128;
inline constexpr Index kShardBlockBytes = 262'144;

struct ShardHeader {
  Index vocabulary_size = 0;  // every token is in [0, vocabulary_size)
  Hash128 fingerprint;        // data::fingerprint_of the tokenizer
  Index num_documents = 0;
  Index num_tokens = 0;
  Index num_targets = 0;  // tokens that count, without the first of each document
  bool has_flags = false;
  Hash128 table_checksum;

  Index token_bytes() const { return vocabulary_size <= 65'536 ? 2 : 4; }
  bool operator==(const ShardHeader&) const = default;
};

// Where the parts begin, in bytes from the front of the file.
struct ShardLayout {
  Index tokens;
  Index flags;
  Index ends;
  Index hashes;
  Index checksums;
  Index file_bytes;

  Index num_blocks() const { return ceil_div(checksums - tokens, kShardBlockBytes); }
};

// Throws InvalidArgument for counts that no file can have; `name` is the file's.
ShardLayout layout_of(const ShardHeader& header, const std::string& name);

std::array<std::byte, kShardHeaderBytes> encode_header(const ShardHeader& header);

// Throws InvalidArgument for bytes that are no shard's, Unsupported for another version's, naming
// the field, what was found and what was expected.
ShardHeader decode_header(std::span<const std::byte> bytes, const std::string& name);

}  // namespace fathom::data
