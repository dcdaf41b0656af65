#include "fathom/train/data/shard_format.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

#include "fathom/base/core/error.h"

namespace fathom::data {
namespace {

constexpr std::string_view kMagic = "FathomSh";
constexpr Index kHashedBytes = 112;
constexpr Index kLargestVocabulary = Index{1} << 31;

template <typename Value>
void put(std::span<std::byte> bytes, Index offset, Value value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

template <typename Value>
Value get(std::span<const std::byte> bytes, Index offset) {
  Value value{};
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

void put_hash(std::span<std::byte> bytes, Index offset, const Hash128& hash) {
  put(bytes, offset, hash.low);
  put(bytes, offset + 8, hash.high);
}

Hash128 get_hash(std::span<const std::byte> bytes, Index offset) {
  return {.low = get<std::uint64_t>(bytes, offset), .high = get<std::uint64_t>(bytes, offset + 8)};
}

template <typename Found, typename Expected>
void require_equal(const std::string& name,
                   const char* field,
                   const Found& found,
                   const Expected& expected) {
  if (found != expected) {
    fail(ErrorCode::InvalidArgument, name, ": ", field, ": found ", found, ", expected ", expected);
  }
}

void require_counts(const ShardHeader& header, const std::string& name) {
  const auto require = [&](const char* field, Index value, Index lowest, Index highest) {
    if (value < lowest || value > highest) {
      fail(ErrorCode::InvalidArgument, name, ": ", field, ": found ", value, ", expected ", lowest,
           " to ", highest);
    }
  };
  require("vocabulary_size", header.vocabulary_size, 1, kLargestVocabulary);
  require("num_tokens", header.num_tokens, 0, Index{1} << 48);
  require("num_documents", header.num_documents, 0, header.num_tokens / 2);
  require("num_targets", header.num_targets, 0, header.num_tokens - header.num_documents);
}

}  // namespace

ShardLayout layout_of(const ShardHeader& header, const std::string& name) {
  require_counts(header, name);
  const auto whole_words = [](Index num_bytes) { return ceil_div(num_bytes, 8) * 8; };
  ShardLayout layout{};
  layout.tokens = kShardHeaderBytes;
  layout.flags = layout.tokens + whole_words(header.num_tokens * header.token_bytes());
  layout.ends = layout.flags + (header.has_flags ? whole_words(ceil_div(header.num_tokens, 8)) : 0);
  layout.hashes = layout.ends + header.num_documents * 8;
  layout.checksums = layout.hashes + header.num_documents * 8;
  layout.file_bytes = layout.checksums + layout.num_blocks() * 8;
  return layout;
}

std::array<std::byte, kShardHeaderBytes> encode_header(const ShardHeader& header) {
  std::array<std::byte, kShardHeaderBytes> bytes{};
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  put(bytes, 8, kShardVersion);
  put(bytes, 12, std::uint32_t{header.has_flags});
  put(bytes, 16, static_cast<std::uint32_t>(header.token_bytes()));
  put(bytes, 24, header.vocabulary_size);
  put_hash(bytes, 32, header.fingerprint);
  put(bytes, 48, header.num_documents);
  put(bytes, 56, header.num_tokens);
  put(bytes, 64, header.num_targets);
  put_hash(bytes, 72, header.table_checksum);
  put_hash(bytes, kHashedBytes, hash128(std::span(bytes).first(to_size(kHashedBytes))));
  return bytes;
}

ShardHeader decode_header(std::span<const std::byte> bytes, const std::string& name) {
  if (to_index(bytes.size()) < kShardHeaderBytes) {
    fail(ErrorCode::InvalidArgument, name, ": found ", bytes.size(), " bytes, expected at least ",
         kShardHeaderBytes, " (a shard's header)");
  }
  if (std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    fail(ErrorCode::InvalidArgument, name, ": no shard of Fathom's: its first bytes differ from \"",
         kMagic, "\"");
  }
  const auto version = get<std::uint32_t>(bytes, 8);
  if (version != kShardVersion) {
    fail(ErrorCode::Unsupported, name, ": version: found ", version, ", expected ", kShardVersion,
         " (build the data again)");
  }
  const Hash128 found = get_hash(bytes, kHashedBytes);
  const Hash128 expected = hash128(bytes.first(to_size(kHashedBytes)));
  if (found != expected) {
    fail(ErrorCode::InvalidArgument, name, ": header: found checksum ", to_hex(found),
         ", expected ", to_hex(expected), ": the file is damaged");
  }
  ShardHeader header;
  header.vocabulary_size = get<Index>(bytes, 24);
  header.fingerprint = get_hash(bytes, 32);
  header.num_documents = get<Index>(bytes, 48);
  header.num_tokens = get<Index>(bytes, 56);
  header.num_targets = get<Index>(bytes, 64);
  header.table_checksum = get_hash(bytes, 72);
  const auto has_flags = get<std::uint32_t>(bytes, 12);
  header.has_flags = has_flags != 0;
  require_counts(header, name);
  require_equal(name, "has_flags", has_flags, std::uint32_t{header.has_flags});
  require_equal(name, "token_bytes", Index{get<std::uint32_t>(bytes, 16)}, header.token_bytes());
  return header;
}

}  // namespace fathom::data
