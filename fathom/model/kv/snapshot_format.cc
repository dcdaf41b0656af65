#include "fathom/model/kv/snapshot_format.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::kv {
namespace {

static_assert(std::endian::native == std::endian::little, "rows are written as they lie in memory");

// Its first byte is no text, and line ends that a transfer changed show.
constexpr std::string_view kMagic =
    "\x8F"
    "FthmKV\n";
constexpr Index kMostHeadBytes = Index{1} << 28;
constexpr Index kMostStringBytes = 65'536;
constexpr Index kMostWidth = Index{1} << 24;

class Writer {
 public:
  template <typename T>
  void put(T value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void put(const Checksum& checksum) {
    put(checksum.low);
    put(checksum.high);
  }
  void put_bytes(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void put_string(const std::string& text) {
    put(static_cast<std::uint32_t>(text.size()));
    put_bytes(std::as_bytes(std::span(text)));
  }
  void put_bits(const std::vector<bool>& bits) {
    for (std::size_t first = 0; first < bits.size(); first += 8) {
      unsigned byte = 0;
      for (std::size_t bit = first; bit < std::min(first + 8, bits.size()); ++bit) {
        byte |= bits[bit] ? 1U << (bit - first) : 0U;
      }
      put(static_cast<std::uint8_t>(byte));
    }
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  template <typename... Parts>
  [[noreturn]] void refuse(const char* field, const Parts&... parts) const {
    fail(ErrorCode::InvalidArgument, name_, ": ", field, ": ", parts...);
  }
  void expect(const char* field, Index num_bytes) const {
    if (num_bytes > to_index(bytes_.size())) {
      refuse(field, "found ", bytes_.size(), " bytes, expected ", num_bytes);
    }
  }
  std::span<const std::byte> take(const char* field, Index count) {
    expect(field, count);
    const auto taken = bytes_.first(to_size(count));
    bytes_ = bytes_.subspan(to_size(count));
    return taken;
  }
  template <typename T>
  T get(const char* field) {
    T value;
    std::memcpy(&value, take(field, sizeof(T)).data(), sizeof(T));
    return value;
  }
  // A number that has to be in [least, most].
  template <typename T>
  Index get_index(const char* field, Index least, Index most) {
    const T value = get<T>(field);
    if (value < static_cast<T>(least) || value > static_cast<T>(most)) {
      refuse(field, "found ", value, ", expected ", least, " to ", most);
    }
    return static_cast<Index>(value);
  }
  // How many items of `item_bytes` come next: no more than there are bytes for.
  Index get_count(const char* field, Index item_bytes, Index least) {
    const auto count = get<std::uint64_t>(field);
    const std::uint64_t most = bytes_.size() / to_size(item_bytes);
    if (count < to_size(least) || count > most) {
      refuse(field, "found ", count, ", expected ", least, " to ", most,
             " (the bytes that follow)");
    }
    return static_cast<Index>(count);
  }
  std::string get_string(const char* field) {
    const auto bytes = take(field, get_index<std::uint32_t>(field, 0, kMostStringBytes));
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  Checksum get_checksum(const char* field) {
    const auto low = get<std::uint64_t>(field);
    return {.low = low, .high = get<std::uint64_t>(field)};
  }
  void expect_end(const char* part) const {
    if (!bytes_.empty()) {
      refuse(part, "found ", bytes_.size(), " bytes behind its end, expected none");
    }
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& name_;
};

std::vector<TokenRange> get_ranges(Reader& reader, Index num_tokens) {
  std::vector<TokenRange> ranges(
      to_size(reader.get_count("resumable positions", 2 * sizeof(std::uint64_t), 1)));
  Index least = 0;
  for (TokenRange& range : ranges) {
    range.first = reader.get_index<std::uint64_t>("resumable from", least, num_tokens);
    range.last = reader.get_index<std::uint64_t>("resumable to", range.first, num_tokens);
    least = range.last + 1;
  }
  if (ranges.back().last != num_tokens) {
    reader.refuse("resumable to", "found ", ranges.back().last, ", expected ", num_tokens,
                  " at last (the tokens)");
  }
  return ranges;
}

// By their numbers in a file.
constexpr std::array<tensor::DType, 3> kDTypes = {tensor::DType::F32, tensor::DType::F64,
                                                  tensor::DType::BF16};

tensor::DType get_dtype(Reader& reader) {
  return kDTypes[to_size(reader.get_index<std::uint32_t>("number type", 0, kDTypes.size() - 1))];
}

std::uint32_t number_of(tensor::DType dtype) {
  const auto found = std::find(kDTypes.begin(), kDTypes.end(), dtype);
  FATHOM_CHECK(found != kDTypes.end());
  return static_cast<std::uint32_t>(found - kDTypes.begin());
}

SnapshotStream get_stream(Reader& reader) {
  constexpr auto kMostKind = static_cast<Index>(config::StreamKind::Value);
  constexpr Index kMostIndex = std::numeric_limits<std::int32_t>::max();
  SnapshotStream stream{};
  stream.layer_idx = reader.get_index<std::uint32_t>("layer", 0, kMostIndex);
  stream.kind = static_cast<config::StreamKind>(
      reader.get_index<std::uint32_t>("kind of stream", 0, kMostKind));
  stream.width = reader.get_index<std::uint32_t>("width", 1, kMostWidth);
  stream.tokens_per_row = reader.get_index<std::uint32_t>("tokens per row", 1, kMostIndex);
  return stream;
}

}  // namespace

Index SnapshotHead::num_rows(Index stream_idx) const {
  return num_tokens() / streams[to_size(stream_idx)].tokens_per_row;
}

Index SnapshotHead::num_pages(Index stream_idx) const {
  return ceil_div(num_rows(stream_idx), RowStore::kRowsPerPage);
}

Index SnapshotHead::page_bytes(Index stream_idx, Index page) const {
  const Index rows =
      std::min(RowStore::kRowsPerPage, num_rows(stream_idx) - page * RowStore::kRowsPerPage);
  const SnapshotStream& stream = streams[to_size(stream_idx)];
  return rows * tensor::row_bytes(row_dtype(stream.kind, dtype), stream.width);
}

std::array<std::byte, SnapshotPrelude::kBytes> encode_prelude(const SnapshotPrelude& prelude) {
  Writer writer;
  writer.put_bytes(std::as_bytes(std::span(kMagic)));
  writer.put(kSnapshotVersion);
  writer.put(std::uint32_t{0});
  writer.put(prelude.head_bytes);
  writer.put(prelude.table_bytes);
  writer.put(prelude.file_bytes);
  writer.put(prelude.table_checksum);
  writer.put(prelude.head_checksum);
  const std::vector<std::byte> bytes = writer.take();
  FATHOM_CHECK(bytes.size() == SnapshotPrelude::kBytes);
  std::array<std::byte, SnapshotPrelude::kBytes> encoded{};
  std::copy(bytes.begin(), bytes.end(), encoded.begin());
  return encoded;
}

SnapshotPrelude decode_prelude(std::span<const std::byte> bytes, const std::string& name) {
  Reader reader(bytes, name);
  const auto magic = reader.take("magic", to_index(kMagic.size()));
  if (std::memcmp(magic.data(), kMagic.data(), kMagic.size()) != 0) {
    reader.refuse("magic", "not a snapshot's, expected \"FthmKV\" behind a byte 0x8f");
  }
  const auto version = reader.get<std::uint32_t>("version");
  if (version != kSnapshotVersion) {
    fail(ErrorCode::Unsupported, name, ": version: found ", version, ", expected ",
         kSnapshotVersion);
  }
  constexpr Index kMost = std::numeric_limits<Index>::max();
  SnapshotPrelude prelude;
  reader.get_index<std::uint32_t>("reserved", 0, 0);
  prelude.head_bytes = reader.get_index<std::uint64_t>("size of the head", 0, kMostHeadBytes);
  prelude.table_bytes = reader.get_index<std::uint64_t>("size of the page table", 0, kMost / 2);
  const Index least = SnapshotPrelude::kBytes + prelude.head_bytes + prelude.table_bytes;
  prelude.file_bytes = reader.get_index<std::uint64_t>("size of the file", least, kMost);
  prelude.table_checksum = reader.get_checksum("checksum of the page table");
  prelude.head_checksum = reader.get_checksum("checksum of the head");
  return prelude;
}

std::vector<std::byte> encode_head(const SnapshotHead& head) {
  const auto fits = [](const std::string& text) {
    return to_index(text.size()) <= kMostStringBytes;
  };
  if (!fits(head.key.fingerprint) || !fits(head.key.scope)) {
    fail(ErrorCode::InvalidArgument, "snapshot: fingerprint of ", head.key.fingerprint.size(),
         " and scope of ", head.key.scope.size(), " bytes, expected at most ", kMostStringBytes);
  }
  Writer writer;
  writer.put_string(head.key.fingerprint);
  writer.put_string(head.key.scope);
  writer.put(std::uint64_t{head.tokens.size()});
  writer.put_bytes(std::as_bytes(std::span(head.tokens)));
  writer.put(std::uint64_t{head.resumable.size()});
  for (const TokenRange& range : head.resumable) {
    writer.put(range.first);
    writer.put(range.last);
  }
  writer.put(number_of(head.dtype));
  writer.put(std::uint64_t{head.streams.size()});
  for (const SnapshotStream& stream : head.streams) {
    writer.put(static_cast<std::uint32_t>(stream.layer_idx));
    writer.put(static_cast<std::uint32_t>(stream.kind));
    writer.put(static_cast<std::uint32_t>(stream.width));
    writer.put(static_cast<std::uint32_t>(stream.tokens_per_row));
  }
  std::vector<std::byte> bytes = writer.take();
  if (to_index(bytes.size()) > kMostHeadBytes) {
    fail(ErrorCode::InvalidArgument, "snapshot: ", head.num_tokens(), " tokens make a head of ",
         bytes.size(), " bytes, expected at most ", kMostHeadBytes);
  }
  return bytes;
}

SnapshotHead decode_head(std::span<const std::byte> bytes, const std::string& name) {
  Reader reader(bytes, name);
  SnapshotHead head;
  head.key.fingerprint = reader.get_string("fingerprint");
  head.key.scope = reader.get_string("scope");
  head.tokens.resize(to_size(reader.get_count("tokens", sizeof(std::int32_t), 1)));
  const auto tokens = reader.take("tokens", head.num_tokens() * Index{sizeof(std::int32_t)});
  std::memcpy(head.tokens.data(), tokens.data(), tokens.size());
  head.resumable = get_ranges(reader, head.num_tokens());
  head.dtype = get_dtype(reader);
  const Index num_streams = reader.get_count("streams", 4 * sizeof(std::uint32_t), 0);
  head.streams.reserve(to_size(num_streams));
  for (Index idx = 0; idx < num_streams; ++idx) {
    head.streams.push_back(get_stream(reader));
  }
  reader.expect_end("head");
  return head;
}

std::vector<std::byte> encode_table(const PageTable& table) {
  Writer writer;
  for (const PageTable::Stream& stream : table.streams) {
    writer.put_bits(stream.is_present);
    for (const Checksum& checksum : stream.checksums) {
      writer.put(checksum);
    }
  }
  return writer.take();
}

PageTable decode_table(std::span<const std::byte> bytes,
                       const SnapshotHead& head,
                       const std::string& name) {
  Reader reader(bytes, name);
  PageTable table;
  table.streams.resize(head.streams.size());
  for (Index idx = 0; idx < to_index(head.streams.size()); ++idx) {
    PageTable::Stream& stream = table.streams[to_size(idx)];
    const Index num_pages = head.num_pages(idx);
    const auto bits = reader.take("bits of pages", ceil_div(num_pages, 8));
    stream.is_present.resize(to_size(num_pages));
    for (std::size_t bit = 0; bit < 8 * bits.size(); ++bit) {
      const bool is_set = (std::to_integer<unsigned>(bits[bit / 8]) >> (bit % 8) & 1U) != 0;
      if (bit < stream.is_present.size()) {
        stream.is_present[bit] = is_set;
      } else if (is_set) {
        reader.refuse("bits of pages", "found page ", bit, ", expected ", num_pages, " pages");
      }
    }
    const Index num_present = std::count(stream.is_present.begin(), stream.is_present.end(), true);
    reader.expect("checksums of pages", num_present * Index{sizeof(Checksum)});
    for (Index idx_present = 0; idx_present < num_present; ++idx_present) {
      stream.checksums.push_back(reader.get_checksum("checksums of pages"));
    }
  }
  reader.expect_end("page table");
  return table;
}

Index row_bytes_of(const PageTable& table, const SnapshotHead& head, const std::string& name) {
  std::optional<Index> total = 0;
  for (Index idx = 0; idx < to_index(table.streams.size()); ++idx) {
    const PageTable::Stream& stream = table.streams[to_size(idx)];
    for (Index page = 0; total && page < to_index(stream.is_present.size()); ++page) {
      if (stream.is_present[to_size(page)]) {
        total = checked_add(*total, head.page_bytes(idx, page));
      }
    }
  }
  if (!total) {
    fail(ErrorCode::InvalidArgument, name, ": page table: more rows than a file can hold");
  }
  return *total;
}

}  // namespace fathom::kv
