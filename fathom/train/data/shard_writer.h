// Writing a shard: document after document, in memory that does not grow with the tokens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "fathom/base/platform/output_file.h"
#include "fathom/train/data/shard_format.h"

namespace fathom::data {

// Until finish() there is no file of that name; destruction before it leaves nothing behind. Keeps
// 16 bytes per document and a bit per token of this shard.
class ShardWriter {
 public:
  // Throws Io, as do the others.
  ShardWriter(const std::filesystem::path& path, Index vocabulary_size, const Hash128& fingerprint);

  // A document of at least two tokens, all within the vocabulary. `counts` is empty (every token
  // counts as a target) or has a 0 or 1 for every token. Throws InvalidArgument.
  void add(std::span<const std::int32_t> tokens,
           std::span<const std::uint8_t> counts,
           std::uint64_t hash);

  Index num_tokens() const { return header_.num_tokens; }
  Index num_documents() const { return header_.num_documents; }

  // Gives the file its name once all of it is on the disk; what it holds.
  ShardHeader finish();

 private:
  void add_counts(std::size_t num_tokens, std::span<const std::uint8_t> counts);
  // Bytes of the body; whole blocks go to the file.
  void put(std::span<const std::byte> bytes);
  void pad();
  void flush_block();

  platform::OutputFile file_;
  ShardHeader header_;
  std::vector<std::byte> block_;  // what is not in the file yet
  std::vector<std::uint64_t> checksums_;
  Index body_bytes_ = 0;  // in the file
  std::vector<std::byte> flags_;
  std::vector<std::uint64_t> ends_;
  std::vector<std::uint64_t> hashes_;
  std::vector<std::uint16_t> narrow_;  // a document's tokens while they are written
};

}  // namespace fathom::data
