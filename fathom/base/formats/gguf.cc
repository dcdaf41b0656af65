#include "fathom/base/formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/gguf_layout.h"
#include "fathom/base/formats/text.h"

namespace fathom::formats {
namespace {

using gguf::ValueType;

// Reads the header from front to back; every length is compared with what is left first.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  GgufHeader read() {
    read_preamble();
    const std::uint64_t num_tensors = integer<std::uint64_t>("the number of tensors");
    const std::uint64_t num_keys = integer<std::uint64_t>("the number of metadata keys");
    // A key is at least a length, a type and a value of one byte; a tensor is at least two lengths,
    // a number of dimensions, a type and an offset.
    check_count(num_keys, 13, "metadata keys");
    check_count(num_tensors, 24, "tensors");
    for (std::uint64_t i = 0; i < num_keys; ++i) {
      read_key();
    }
    if (const auto alignment = header_.find_integer(gguf::kAlignmentKey, file_)) {
      if (!gguf::is_alignment(*alignment)) {
        refuse(gguf::kAlignmentKey, " is ", *alignment, ", expected a power of two");
      }
      header_.alignment = *alignment;
    }
    header_.tensors.reserve(num_tensors);
    for (std::uint64_t i = 0; i < num_tensors; ++i) {
      read_tensor();
    }
    place_tensors();
    check_names();
    check_overlap();
    return std::move(header_);
  }

 private:
  template <typename... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(ErrorCode::InvalidCheckpoint, file_, ": ", parts...);
  }

  std::uint64_t remaining() const { return bytes_.size() - position_; }

  template <typename What>
  std::span<const std::byte> take(std::uint64_t count, const What& what) {
    if (count > remaining()) {
      refuse("the file ends in ", what, ": ", count, " bytes at ", position_, ", ", remaining(),
             " are left");
    }
    const auto result = bytes_.subspan(position_, count);
    position_ += count;
    return result;
  }

  template <typename Int, typename What>
  Int integer(const What& what) {
    const auto raw = take(sizeof(Int), what);
    std::uint64_t value = 0;
    for (std::size_t i = sizeof(Int); i-- > 0;) {
      value = value << 8 | std::to_integer<std::uint64_t>(raw[i]);
    }
    return static_cast<Int>(value);
  }

  template <typename What>
  std::string text(const What& what) {
    const auto length = integer<std::uint64_t>(what);
    const auto raw = take(length, what);
    std::string result(raw.size(), '\0');
    if (!raw.empty()) {
      std::memcpy(result.data(), raw.data(), raw.size());
    }
    return result;
  }

  void check_count(std::uint64_t count, std::uint64_t least_bytes, std::string_view what) const {
    if (count > remaining() / least_bytes) {
      refuse(count, " ", what, ", but only ", remaining(), " bytes are left");
    }
  }

  void read_preamble() {
    const auto raw = take(gguf::kMagic.size(), "the magic");
    std::string magic(raw.size(), '\0');
    std::memcpy(magic.data(), raw.data(), raw.size());
    if (magic != gguf::kMagic) {
      refuse("not a GGUF file: it begins with ", quote(magic), ", expected \"GGUF\"");
    }
    header_.version = integer<std::uint32_t>("the version");
    if (header_.version == 0x02000000U || header_.version == 0x03000000U) {
      refuse("a big-endian GGUF file; only little-endian files are read");
    }
    if (header_.version != 2 && header_.version != 3) {
      refuse("GGUF version ", header_.version, ", expected 2 or 3");
    }
  }

  void read_key() {
    std::string key = text("a metadata key");
    if (!is_utf8(key)) {
      refuse("metadata key ", quote(key), " is not UTF-8");
    }
    const std::string what = "the value of " + quote(key);
    GgufValue value = read_value(static_cast<ValueType>(integer<std::uint32_t>(what)), what);
    if (!header_.metadata.emplace(key, std::move(value)).second) {
      refuse("duplicate metadata key ", quote(key));
    }
  }

  bool boolean(const std::string& what) {
    const auto byte = integer<std::uint8_t>(what);
    if (byte > 1) {
      refuse(what, " is the bool ", int{byte}, ", expected 0 or 1");
    }
    return byte == 1;
  }

  // Text is kept as it is, UTF-8 or not: vocabularies hold pieces of code points.
  GgufValue read_value(ValueType type, const std::string& what) {
    switch (type) {
      case ValueType::U8:
        return std::uint64_t{integer<std::uint8_t>(what)};
      case ValueType::I8:
        return std::int64_t{integer<std::int8_t>(what)};
      case ValueType::U16:
        return std::uint64_t{integer<std::uint16_t>(what)};
      case ValueType::I16:
        return std::int64_t{integer<std::int16_t>(what)};
      case ValueType::U32:
        return std::uint64_t{integer<std::uint32_t>(what)};
      case ValueType::I32:
        return std::int64_t{integer<std::int32_t>(what)};
      case ValueType::F32:
        return double{std::bit_cast<float>(integer<std::uint32_t>(what))};
      case ValueType::Bool:
        return boolean(what);
      case ValueType::String:
        return text(what);
      case ValueType::Array:
        return read_array(what);
      case ValueType::U64:
        return integer<std::uint64_t>(what);
      case ValueType::I64:
        return integer<std::int64_t>(what);
      case ValueType::F64:
        return std::bit_cast<double>(integer<std::uint64_t>(what));
    }
    refuse(what, " has the unknown type ", static_cast<std::uint32_t>(type));
  }

  template <typename Element, typename Read>
  GgufArray elements(std::uint64_t count,
                     std::uint64_t least_bytes,
                     const std::string& what,
                     const Read& read) {
    check_count(count, least_bytes, "elements in " + what);
    std::vector<Element> result;
    result.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      result.push_back(read());
    }
    return result;
  }

  template <typename Int>
  GgufArray integers(std::uint64_t count, const std::string& what) {
    using Wide = std::conditional_t<std::is_signed_v<Int>, std::int64_t, std::uint64_t>;
    return elements<Wide>(count, sizeof(Int), what, [&] { return Wide{integer<Int>(what)}; });
  }

  GgufArray read_array(const std::string& what) {
    const auto type = static_cast<ValueType>(integer<std::uint32_t>(what));
    const auto count = integer<std::uint64_t>(what);
    switch (type) {
      case ValueType::U8:
        return integers<std::uint8_t>(count, what);
      case ValueType::I8:
        return integers<std::int8_t>(count, what);
      case ValueType::U16:
        return integers<std::uint16_t>(count, what);
      case ValueType::I16:
        return integers<std::int16_t>(count, what);
      case ValueType::U32:
        return integers<std::uint32_t>(count, what);
      case ValueType::I32:
        return integers<std::int32_t>(count, what);
      case ValueType::U64:
        return integers<std::uint64_t>(count, what);
      case ValueType::I64:
        return integers<std::int64_t>(count, what);
      case ValueType::F32:
        return elements<double>(count, 4, what, [&] {
          return double{std::bit_cast<float>(integer<std::uint32_t>(what))};
        });
      case ValueType::F64:
        return elements<double>(
            count, 8, what, [&] { return std::bit_cast<double>(integer<std::uint64_t>(what)); });
      case ValueType::Bool:
        return elements<bool>(count, 1, what, [&] { return boolean(what); });
      case ValueType::String:
        return elements<std::string>(count, 8, what, [&] { return text(what); });
      case ValueType::Array:
        refuse(what, " is an array of arrays, which is not supported");
    }
    refuse(what, " is an array of the unknown type ", static_cast<std::uint32_t>(type));
  }

  GgufType read_type(const std::string& what) {
    const auto number = integer<std::uint32_t>(what);
    if (const GgufTypeInfo* row = gguf::find_type(number)) {
      return row->type;
    }
    if (const gguf::ForeignType* row = gguf::find_foreign_type(number)) {
      refuse(what, " has the type ", row->name, " (", number, ") of ", row->owner,
             ", which is not supported");
    }
    refuse(what, " has the unknown type ", number);
  }

  // `begin` is left relative to the data section, whose start is known after the last tensor.
  void read_tensor() {
    GgufTensor tensor;
    tensor.name = text("the name of a tensor");
    const std::string what = "tensor " + quote(tensor.name);
    if (!is_utf8(tensor.name)) {
      refuse(what, ": its name is not UTF-8");
    }
    const auto num_dimensions = integer<std::uint32_t>(what);
    if (num_dimensions > gguf::kMostDimensions) {
      refuse(what, " has ", num_dimensions, " dimensions, expected at most ",
             gguf::kMostDimensions);
    }
    for (std::uint32_t i = 0; i < num_dimensions; ++i) {
      const auto size = integer<std::uint64_t>(what);
      if (size > static_cast<std::uint64_t>(std::numeric_limits<Index>::max())) {
        refuse(what, " has a dimension of ", size);
      }
      tensor.shape.insert(tensor.shape.begin(), static_cast<Index>(size));
    }
    tensor.type = read_type(what);
    const auto offset = integer<std::uint64_t>(what);
    if (offset > bytes_.size() || offset % static_cast<std::uint64_t>(header_.alignment) != 0) {
      refuse(what, ": offset ", offset, ", expected a multiple of ", header_.alignment,
             " inside the file");
    }
    tensor.begin = static_cast<Index>(offset);
    header_.tensors.push_back(std::move(tensor));
  }

  void place_tensors() {
    const auto data_begin = gguf::align_up(static_cast<Index>(position_), header_.alignment);
    for (GgufTensor& tensor : header_.tensors) {
      const GgufTypeInfo& type = gguf_type_info(tensor.type);
      const auto size = gguf::tensor_bytes(tensor.shape, type);
      if (!size) {
        refuse("tensor ", quote(tensor.name), ": a row of ",
               tensor.shape.empty() ? 1 : tensor.shape.back(), " elements, expected a multiple of ",
               type.block_columns, " (", type.name, ") and a size that does not overflow");
      }
      const auto begin = data_begin ? checked_add(*data_begin, tensor.begin) : std::nullopt;
      const auto end = begin ? checked_add(*begin, *size) : std::nullopt;
      if (!end || *end > to_index(bytes_.size())) {
        refuse("tensor ", quote(tensor.name), ": ", *size, " bytes at offset ", tensor.begin,
               ", which is beyond the end of the file of ", bytes_.size(),
               " bytes (the file is truncated, or its header lies)");
      }
      tensor.begin = *begin;
      tensor.end = *end;
    }
  }

  void check_names() const {
    std::vector<std::string_view> names;
    names.reserve(header_.tensors.size());
    for (const GgufTensor& tensor : header_.tensors) {
      names.emplace_back(tensor.name);
    }
    std::sort(names.begin(), names.end());
    const auto twin = std::adjacent_find(names.begin(), names.end());
    if (twin != names.end()) {
      refuse("duplicate tensor ", quote(*twin));
    }
  }

  void check_overlap() const {
    std::vector<const GgufTensor*> order;
    order.reserve(header_.tensors.size());
    for (const GgufTensor& tensor : header_.tensors) {
      if (tensor.begin != tensor.end) {
        order.push_back(&tensor);
      }
    }
    std::sort(order.begin(), order.end(),
              [](const GgufTensor* a, const GgufTensor* b) { return a->begin < b->begin; });
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (order[i]->begin < order[i - 1]->end) {
        refuse("tensors ", quote(order[i - 1]->name), " and ", quote(order[i]->name), " overlap");
      }
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& file_;
  std::uint64_t position_ = 0;
  GgufHeader header_;
};

}  // namespace

GgufHeader parse_gguf_header(std::span<const std::byte> bytes, const std::string& file) {
  return Reader(bytes, file).read();
}

}  // namespace fathom::formats
