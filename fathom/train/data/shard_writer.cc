#include "fathom/train/data/shard_writer.h"

#include <algorithm>

#include "fathom/base/core/error.h"

namespace fathom::data {

ShardWriter::ShardWriter(const std::filesystem::path& path,
                         Index vocabulary_size,
                         const Hash128& fingerprint)
    : file_(path, 0) {
  header_.vocabulary_size = vocabulary_size;
  header_.fingerprint = fingerprint;
  layout_of(header_, path.string());  // refuses a vocabulary that no shard can have
  block_.reserve(to_size(kShardBlockBytes));
}

void ShardWriter::add(std::span<const std::int32_t> tokens,
                      std::span<const std::uint8_t> counts,
                      std::uint64_t hash) {
  if (tokens.size() < 2 || (!counts.empty() && counts.size() != tokens.size())) {
    fail(ErrorCode::InvalidArgument, file_.path().string(), ": document ", header_.num_documents,
         ": ", tokens.size(), " tokens and ", counts.size(),
         " flags, expected at least 2 tokens and as many flags or none");
  }
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= header_.vocabulary_size) {
      fail(ErrorCode::InvalidArgument, file_.path().string(), ": document ", header_.num_documents,
           ": found token ", token, ", expected 0 to ", header_.vocabulary_size - 1);
    }
  }
  if (header_.token_bytes() == 2) {
    narrow_.resize(tokens.size());
    std::transform(tokens.begin(), tokens.end(), narrow_.begin(),
                   [](std::int32_t token) { return static_cast<std::uint16_t>(token); });
    put(std::as_bytes(std::span<const std::uint16_t>(narrow_)));
  } else {
    put(std::as_bytes(tokens));
  }
  add_counts(tokens.size(), counts);
  header_.num_tokens += to_index(tokens.size());
  ++header_.num_documents;
  ends_.push_back(static_cast<std::uint64_t>(header_.num_tokens));
  hashes_.push_back(hash);
}

void ShardWriter::add_counts(std::size_t num_tokens, std::span<const std::uint8_t> counts) {
  flags_.resize(to_size(ceil_div(header_.num_tokens + to_index(num_tokens), 8)));
  for (std::size_t i = 0; i < num_tokens; ++i) {
    const bool is_counted = counts.empty() || counts[i] != 0;
    const std::size_t bit = to_size(header_.num_tokens) + i;
    if (is_counted) {
      flags_[bit / 8] |= std::byte{1} << (bit % 8);
    } else if (i > 0) {
      header_.has_flags = true;
    }
    header_.num_targets += is_counted && i > 0 ? 1 : 0;
  }
}

void ShardWriter::put(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t room = to_size(kShardBlockBytes) - block_.size();
    const auto part = bytes.first(std::min(room, bytes.size()));
    block_.insert(block_.end(), part.begin(), part.end());
    bytes = bytes.subspan(part.size());
    if (to_index(block_.size()) == kShardBlockBytes) {
      flush_block();
    }
  }
}

void ShardWriter::pad() {
  while (block_.size() % 8 != 0) {
    block_.push_back(std::byte{0});
  }
  if (to_index(block_.size()) == kShardBlockBytes) {
    flush_block();
  }
}

void ShardWriter::flush_block() {
  if (!block_.empty()) {
    checksums_.push_back(hash64(block_));
    file_.write(kShardHeaderBytes + body_bytes_, block_);
    body_bytes_ += to_index(block_.size());
    block_.clear();
  }
}

ShardHeader ShardWriter::finish() {
  pad();
  if (header_.has_flags) {
    put(flags_);
    pad();
  }
  put(std::as_bytes(std::span<const std::uint64_t>(ends_)));
  put(std::as_bytes(std::span<const std::uint64_t>(hashes_)));
  flush_block();
  const ShardLayout layout = layout_of(header_, file_.path().string());
  FATHOM_CHECK(layout.checksums == kShardHeaderBytes + body_bytes_);
  const auto table = std::as_bytes(std::span<const std::uint64_t>(checksums_));
  header_.table_checksum = hash128(table);
  file_.write(layout.checksums, table);
  file_.write(0, encode_header(header_));
  file_.sync();
  file_.commit();
  const std::filesystem::path folder = file_.path().parent_path();
  platform::sync_folder(folder.empty() ? "." : folder);
  return header_;
}

}  // namespace fathom::data
