// Reading a shard: mapped, and trusted only as far as its checksums say.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "fathom/base/platform/mapped_file.h"
#include "fathom/train/data/shard_format.h"

namespace fathom::data {

// Header and boundaries of documents are checked when it is opened; tokens when they are read, a
// block of the file at a time and once. Everything throws InvalidArgument for what is damaged,
// naming the file, the place, what was found and what was expected. For one thread. The file must
// not be changed while it is open.
class Shard {
 public:
  // Throws Io too, and Unsupported for another version.
  explicit Shard(const std::filesystem::path& path);
  // The bytes of a file; they have to outlive the shard.
  Shard(std::span<const std::byte> bytes, std::string name);

  const std::string& name() const { return name_; }
  const ShardHeader& header() const { return header_; }
  Index num_documents() const { return header_.num_documents; }

  // Of a document: its tokens (at least 2) and the hash of its text.
  Index num_tokens(Index document) const;
  std::uint64_t hash(Index document) const;

  // Appends `count` tokens of a document from `first` on, and whether each counts as a target.
  void read(Index document,
            Index first,
            Index count,
            std::vector<std::int32_t>& tokens,
            std::vector<std::uint8_t>& counts) const;

  // Reads everything.
  void verify() const;

 private:
  void open();
  void check_boundaries() const;
  void check_bytes(Index begin, Index end) const;
  void check_block(Index block) const;
  std::uint64_t word_at(Index offset) const;
  Index begin_of(Index document) const;
  std::int32_t token_at(Index position) const;

  platform::MappedFile file_;
  std::span<const std::byte> bytes_;
  std::string name_;
  ShardHeader header_;
  ShardLayout layout_{};
  mutable std::vector<bool> is_checked_;  // of every block
};

}  // namespace fathom::data
