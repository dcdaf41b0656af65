#include "fathom/train/data/shard.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::data {

Shard::Shard(const std::filesystem::path& path)
    : file_(path), bytes_(file_.bytes()), name_(path.string()) {
  open();
}

Shard::Shard(std::span<const std::byte> bytes, std::string name)
    : bytes_(bytes), name_(std::move(name)) {
  open();
}

void Shard::open() {
  header_ = decode_header(bytes_, name_);
  layout_ = layout_of(header_, name_);
  if (layout_.file_bytes != to_index(bytes_.size())) {
    fail(ErrorCode::InvalidArgument, name_, ": found ", bytes_.size(), " bytes, expected ",
         layout_.file_bytes, " (its header): the file is cut short or damaged");
  }
  const Hash128 found = hash128(bytes_.subspan(to_size(layout_.checksums)));
  if (found != header_.table_checksum) {
    fail(ErrorCode::InvalidArgument, name_, ": table of checksums, from byte ", layout_.checksums,
         " on: found checksum ", to_hex(found), ", expected ", to_hex(header_.table_checksum),
         ": the file is damaged");
  }
  is_checked_.resize(to_size(layout_.num_blocks()));
  check_boundaries();
}

void Shard::check_boundaries() const {
  check_bytes(layout_.ends, layout_.checksums);
  std::uint64_t begin = 0;
  for (Index document = 0; document < header_.num_documents; ++document) {
    const std::uint64_t end = word_at(layout_.ends + 8 * document);
    if (end < begin + 2 || end > static_cast<std::uint64_t>(header_.num_tokens)) {
      fail(ErrorCode::InvalidArgument, name_, ": document ", document, ": ends at token ", end,
           ", expected ", begin + 2, " to ", header_.num_tokens);
    }
    begin = end;
  }
  if (begin != static_cast<std::uint64_t>(header_.num_tokens)) {
    fail(ErrorCode::InvalidArgument, name_, ": documents: found ", begin, " tokens, expected ",
         header_.num_tokens, " (its header)");
  }
}

// Bytes of the file, within the body.
void Shard::check_bytes(Index begin, Index end) const {
  if (begin == end) {
    return;
  }
  const Index last = (end - 1 - layout_.tokens) / kShardBlockBytes;
  for (Index block = (begin - layout_.tokens) / kShardBlockBytes; block <= last; ++block) {
    if (!is_checked_[to_size(block)]) {
      check_block(block);
      is_checked_[to_size(block)] = true;
    }
  }
}

void Shard::check_block(Index block) const {
  const Index begin = layout_.tokens + block * kShardBlockBytes;
  const Index num_bytes = std::min(kShardBlockBytes, layout_.checksums - begin);
  const std::uint64_t found = hash64(bytes_.subspan(to_size(begin), to_size(num_bytes)));
  const std::uint64_t expected = word_at(layout_.checksums + 8 * block);
  if (found != expected) {
    fail(ErrorCode::InvalidArgument, name_, ": block ", block, ", ", num_bytes, " bytes from byte ",
         begin, " on: found checksum ", found, ", expected ", expected, ": the file is damaged");
  }
}

std::uint64_t Shard::word_at(Index offset) const {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes_.data() + offset, sizeof word);
  return word;
}

Index Shard::begin_of(Index document) const {
  return document == 0 ? 0 : static_cast<Index>(word_at(layout_.ends + 8 * (document - 1)));
}

Index Shard::num_tokens(Index document) const {
  FATHOM_CHECK(document >= 0 && document < header_.num_documents);
  return begin_of(document + 1) - begin_of(document);
}

std::uint64_t Shard::hash(Index document) const {
  FATHOM_CHECK(document >= 0 && document < header_.num_documents);
  return word_at(layout_.hashes + 8 * document);
}

std::int32_t Shard::token_at(Index position) const {
  const std::byte* const place = bytes_.data() + layout_.tokens + position * header_.token_bytes();
  if (header_.token_bytes() == 2) {
    std::uint16_t token = 0;
    std::memcpy(&token, place, sizeof token);
    return token;
  }
  std::int32_t token = 0;
  std::memcpy(&token, place, sizeof token);
  return token;
}

void Shard::read(Index document,
                 Index first,
                 Index count,
                 std::vector<std::int32_t>& tokens,
                 std::vector<std::uint8_t>& counts) const {
  FATHOM_CHECK(first >= 0 && count >= 0 && first + count <= num_tokens(document));
  const Index begin = begin_of(document) + first;
  const Index end = begin + count;
  check_bytes(layout_.tokens + begin * header_.token_bytes(),
              layout_.tokens + end * header_.token_bytes());
  if (header_.has_flags) {
    check_bytes(layout_.flags + begin / 8, layout_.flags + ceil_div(end, 8));
  }
  for (Index position = begin; position < end; ++position) {
    const std::int32_t token = token_at(position);
    if (token < 0 || token >= header_.vocabulary_size) {
      fail(ErrorCode::InvalidArgument, name_, ": document ", document, ", token ",
           position - begin_of(document), ": found ", token, ", expected 0 to ",
           header_.vocabulary_size - 1);
    }
    tokens.push_back(token);
    const auto flags =
        header_.has_flags ? bytes_[to_size(layout_.flags + position / 8)] : std::byte{0xff};
    counts.push_back(std::to_integer<std::uint8_t>(flags >> (position % 8)) & 1U);
  }
}

void Shard::verify() const {
  check_bytes(layout_.tokens, layout_.checksums);
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> counts;
  Index num_targets = 0;
  for (Index document = 0; document < header_.num_documents; ++document) {
    tokens.clear();
    counts.clear();
    read(document, 0, num_tokens(document), tokens, counts);
    for (std::size_t i = 1; i < counts.size(); ++i) {
      num_targets += counts[i];
    }
  }
  if (num_targets != header_.num_targets) {
    fail(ErrorCode::InvalidArgument, name_, ": num_targets: found ", num_targets, ", expected ",
         header_.num_targets, " (its header)");
  }
}

}  // namespace fathom::data
