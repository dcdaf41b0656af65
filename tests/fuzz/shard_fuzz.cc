// Any bytes as a shard: refused with one line, or every document can be read. Checksums would
// refuse nearly all of them before anything else looks, so the bytes are tried with right ones,
// too.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/train/data/shard.h"

namespace {

using namespace fathom;
using namespace fathom::data;

void read_or_refuse(std::span<const std::byte> bytes) {
  try {
    const Shard shard(bytes, "fuzz");
    shard.verify();
  } catch (const Error& error) {
    const bool is_expected =
        error.code() == ErrorCode::InvalidArgument || error.code() == ErrorCode::Unsupported;
    if (!is_expected || std::string_view(error.what()).find('\n') != std::string_view::npos) {
      std::abort();
    }
  }
}

template <typename Value>
Value get(std::span<const std::byte> bytes, std::size_t offset) {
  Value value{};
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// The bytes as what a writer would have sealed: the header's counts as they are, where there can be
// such a file, and the checksums of what is there.
std::vector<std::byte> sealed(std::span<const std::byte> bytes) {
  ShardHeader header;
  header.has_flags = (get<std::uint32_t>(bytes, 12) & 1U) != 0;
  header.vocabulary_size = get<Index>(bytes, 24);
  header.num_documents = get<Index>(bytes, 48);
  header.num_tokens = std::min(get<Index>(bytes, 56), Index{1} << 16);
  header.num_targets = get<Index>(bytes, 64);
  const ShardLayout layout = layout_of(header, "fuzz");
  std::vector<std::byte> file(bytes.begin(), bytes.end());
  file.resize(to_size(layout.file_bytes));
  for (Index block = 0; block < layout.num_blocks(); ++block) {
    const Index begin = layout.tokens + block * kShardBlockBytes;
    const Index size = std::min(kShardBlockBytes, layout.checksums - begin);
    const std::uint64_t checksum =
        hash64(std::span<const std::byte>(file).subspan(to_size(begin), to_size(size)));
    std::memcpy(file.data() + layout.checksums + 8 * block, &checksum, sizeof checksum);
  }
  header.table_checksum =
      hash128(std::span<const std::byte>(file).subspan(to_size(layout.checksums)));
  const auto encoded = encode_header(header);
  std::copy(encoded.begin(), encoded.end(), file.begin());
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  read_or_refuse(bytes);
  if (size >= to_size(kShardHeaderBytes)) {
    std::vector<std::byte> file;
    try {
      file = sealed(bytes);
    } catch (const Error&) {
      return 0;  // no file has such counts
    }
    read_or_refuse(file);
  }
  return 0;
}
