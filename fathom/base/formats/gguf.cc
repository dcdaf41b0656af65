#include "fathom/base/formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::formats {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr std::string_view kAlignmentKey = "general.alignment";
constexpr Index kDefaultAlignment = 32;
constexpr std::uint32_t kMostDimensions = 4;

constexpr GgufTypeInfo kTypes[] = {
    {GgufType::F32, "F32", 1, 4},
    {GgufType::F16, "F16", 1, 2},
    {GgufType::Q4_0, "Q4_0", 32, 18},
    {GgufType::Q4_1, "Q4_1", 32, 20},
    {GgufType::Q5_0, "Q5_0", 32, 22},
    {GgufType::Q5_1, "Q5_1", 32, 24},
    {GgufType::Q8_0, "Q8_0", 32, 34},
    {GgufType::Q2_K, "Q2_K", 256, 84},
    {GgufType::Q3_K, "Q3_K", 256, 110},
    {GgufType::Q4_K, "Q4_K", 256, 144},
    {GgufType::Q5_K, "Q5_K", 256, 176},
    {GgufType::Q6_K, "Q6_K", 256, 210},
    {GgufType::IQ2_XXS, "IQ2_XXS", 256, 66},
    {GgufType::IQ2_XS, "IQ2_XS", 256, 74},
    {GgufType::IQ3_XXS, "IQ3_XXS", 256, 98},
    {GgufType::IQ1_S, "IQ1_S", 256, 50},
    {GgufType::IQ4_NL, "IQ4_NL", 32, 18},
    {GgufType::IQ3_S, "IQ3_S", 256, 110},
    {GgufType::IQ2_S, "IQ2_S", 256, 82},
    {GgufType::IQ4_XS, "IQ4_XS", 256, 136},
    {GgufType::I8, "I8", 1, 1},
    {GgufType::I16, "I16", 1, 2},
    {GgufType::I32, "I32", 1, 4},
    {GgufType::I64, "I64", 1, 8},
    {GgufType::F64, "F64", 1, 8},
    {GgufType::IQ1_M, "IQ1_M", 256, 56},
    {GgufType::BF16, "BF16", 1, 2},
    {GgufType::TQ1_0, "TQ1_0", 256, 54},
    {GgufType::TQ2_0, "TQ2_0", 256, 66},
    {GgufType::MXFP4, "MXFP4", 32, 17},
};

// Types that we know and do not decode, to refuse them by name: ggml's own (removed ones,
// activation formats, types without a reader here) and those of ik_llama.cpp, a fork with numbers
// of its own.
struct ForeignType {
  std::uint32_t number;
  std::string_view name;
  std::string_view owner;
};

constexpr std::string_view kGgml = "ggml";
constexpr std::string_view kIkLlama = "ik_llama.cpp";

constexpr ForeignType kForeignTypes[] = {
    {4, "Q4_2", kGgml},           {5, "Q4_3", kGgml},
    {9, "Q8_1", kGgml},           {15, "Q8_K", kGgml},
    {31, "Q4_0_4_4", kGgml},      {32, "Q4_0_4_8", kGgml},
    {33, "Q4_0_8_8", kGgml},      {37, "IQ4_NL_4_8", kGgml},
    {38, "IQ4_NL_8_8", kGgml},    {40, "NVFP4", kGgml},
    {41, "Q1_0", kGgml},          {36, "I2_S", kIkLlama},
    {97, "Q8_0_X4", kIkLlama},    {98, "Q8_1_X4", kIkLlama},
    {99, "Q8_2_X4", kIkLlama},    {133, "Q6_0", kIkLlama},
    {134, "IQ1_BN", kIkLlama},    {135, "IQ2_BN", kIkLlama},
    {136, "Q8_K64", kIkLlama},    {137, "IQ2_K", kIkLlama},
    {138, "IQ3_K", kIkLlama},     {139, "IQ4_K", kIkLlama},
    {140, "IQ5_K", kIkLlama},     {141, "IQ6_K", kIkLlama},
    {142, "IQ2_TN", kIkLlama},    {143, "IQ1_TN", kIkLlama},
    {144, "IQ4_KS", kIkLlama},    {145, "IQ2_KS", kIkLlama},
    {146, "IQ4_KSS", kIkLlama},   {147, "Q8_K16", kIkLlama},
    {148, "Q8_K32", kIkLlama},    {149, "Q8_KR8", kIkLlama},
    {150, "Q8_K128", kIkLlama},   {151, "Q8_KV", kIkLlama},
    {152, "IQ5_KS", kIkLlama},    {153, "IQ2_KT", kIkLlama},
    {154, "IQ3_KT", kIkLlama},    {155, "IQ4_KT", kIkLlama},
    {156, "IQ3_KS", kIkLlama},    {157, "IQ2_KL", kIkLlama},
    {158, "IQ1_KT", kIkLlama},    {202, "Q4_0_R8", kIkLlama},
    {206, "Q5_0_R4", kIkLlama},   {208, "Q8_0_R8", kIkLlama},
    {210, "Q2_K_R4", kIkLlama},   {211, "Q3_K_R4", kIkLlama},
    {212, "Q4_K_R4", kIkLlama},   {213, "Q5_K_R4", kIkLlama},
    {214, "Q6_K_R4", kIkLlama},   {216, "IQ2_XXS_R4", kIkLlama},
    {217, "IQ2_XS_R4", kIkLlama}, {218, "IQ3_XXS_R4", kIkLlama},
    {219, "IQ1_S_R4", kIkLlama},  {220, "IQ4_NL_R4", kIkLlama},
    {221, "IQ3_S_R4", kIkLlama},  {222, "IQ2_S_R4", kIkLlama},
    {223, "IQ4_XS_R8", kIkLlama}, {229, "IQ1_M_R4", kIkLlama},
    {230, "BF16_R16", kIkLlama},  {233, "Q6_0_R4", kIkLlama},
    {335, "IQ2_BN_R4", kIkLlama}, {337, "IQ2_K_R4", kIkLlama},
    {338, "IQ3_K_R4", kIkLlama},  {339, "IQ4_K_R4", kIkLlama},
    {340, "IQ5_K_R4", kIkLlama},  {344, "IQ4_KS_R4", kIkLlama},
    {352, "IQ5_KS_R4", kIkLlama}, {353, "MXFP4_R8", kIkLlama},
    {397, "Q8_K_R16", kIkLlama},  {398, "Q8_KV_R8", kIkLlama},
    {399, "Q8_K_R8", kIkLlama},
};

// The types of metadata values, with the format's numbers.
enum class ValueType : std::uint32_t {
  U8 = 0,
  I8 = 1,
  U16 = 2,
  I16 = 3,
  U32 = 4,
  I32 = 5,
  F32 = 6,
  Bool = 7,
  String = 8,
  Array = 9,
  U64 = 10,
  I64 = 11,
  F64 = 12,
};

const GgufTypeInfo* find_type(std::uint32_t number) {
  for (const GgufTypeInfo& row : kTypes) {
    if (static_cast<std::uint32_t>(row.type) == number) {
      return &row;
    }
  }
  return nullptr;
}

// Elements of the tensor with zeros counted as ones (`volume`), so that every product of dimensions
// that a reader forms is safe; nothing when that overflows.
std::optional<Index> volume(const std::vector<Index>& shape) {
  std::optional<Index> product = 1;
  for (const Index size : shape) {
    product = checked_multiply(*product, size == 0 ? 1 : size);
    if (!product) {
      return std::nullopt;
    }
  }
  return product;
}

// Bytes of a tensor of this shape (outermost first); nothing when the last dimension is not whole
// blocks or the size overflows.
std::optional<Index> tensor_bytes(const std::vector<Index>& shape, const GgufTypeInfo& type) {
  const auto elements = volume(shape);
  if (!elements || (shape.empty() ? 1 : shape.back()) % type.block_columns != 0) {
    return std::nullopt;
  }
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) {
    return 0;
  }
  return checked_multiply(*elements / type.block_columns, type.block_bytes);
}

std::optional<Index> align_up(Index value, Index alignment) {
  const auto raised = checked_add(value, alignment - 1);
  return raised ? std::optional<Index>(*raised / alignment * alignment) : std::nullopt;
}

bool is_alignment(Index value) {
  return value > 0 && value <= std::numeric_limits<std::uint32_t>::max() &&
         std::has_single_bit(static_cast<std::uint64_t>(value));
}

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
    if (const auto alignment = header_.find_integer(kAlignmentKey, file_)) {
      if (!is_alignment(*alignment)) {
        refuse(kAlignmentKey, " is ", *alignment, ", expected a power of two");
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
    const auto raw = take(kMagic.size(), "the magic");
    std::string magic(raw.size(), '\0');
    std::memcpy(magic.data(), raw.data(), raw.size());
    if (magic != kMagic) {
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
    if (const GgufTypeInfo* row = find_type(number)) {
      return row->type;
    }
    for (const ForeignType& row : kForeignTypes) {
      if (row.number == number) {
        refuse(what, " has the type ", row.name, " (", number, ") of ", row.owner,
               ", which is not supported");
      }
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
    if (num_dimensions > kMostDimensions) {
      refuse(what, " has ", num_dimensions, " dimensions, expected at most ", kMostDimensions);
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
    const auto data_begin = align_up(static_cast<Index>(position_), header_.alignment);
    for (GgufTensor& tensor : header_.tensors) {
      const GgufTypeInfo& type = gguf_type_info(tensor.type);
      const auto size = tensor_bytes(tensor.shape, type);
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

[[noreturn]] void wrong_type(const std::string& file,
                             std::string_view key,
                             std::string_view expected) {
  fail(ErrorCode::InvalidCheckpoint, file, ": metadata key ", quote(key), ", expected ", expected);
}

constexpr double kTwoTo63 = 9223372036854775808.0;

std::optional<std::int64_t> to_integer(std::int64_t value) {
  return value;
}
std::optional<std::int64_t> to_integer(std::uint64_t value) {
  return value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())
             ? std::nullopt
             : std::optional(static_cast<std::int64_t>(value));
}
std::optional<std::int64_t> to_integer(double value) {
  // A NaN fails the first comparison.
  return value >= -kTwoTo63 && value < kTwoTo63 && std::trunc(value) == value
             ? std::optional(static_cast<std::int64_t>(value))
             : std::nullopt;
}

// What std::visit is given: numbers are converted by `convert`, everything else gives nothing.
template <typename Result, typename Convert>
struct NumberVisitor {
  const Convert& convert;
  std::optional<Result> operator()(std::int64_t value) const { return convert(value); }
  std::optional<Result> operator()(std::uint64_t value) const { return convert(value); }
  std::optional<Result> operator()(double value) const { return convert(value); }
  std::optional<Result> operator()(bool) const { return std::nullopt; }
  template <typename Other>
  std::optional<Result> operator()(const Other&) const {
    return std::nullopt;
  }
};

template <typename Result, typename Convert>
std::optional<std::vector<Result>> convert_array(const GgufValue& value, const Convert& convert) {
  const auto* array = std::get_if<GgufArray>(&value);
  if (array == nullptr) {
    return std::nullopt;
  }
  return std::visit(
      [&](const auto& items) -> std::optional<std::vector<Result>> {
        using Item = typename std::decay_t<decltype(items)>::value_type;
        if constexpr (std::is_same_v<Item, bool> || std::is_same_v<Item, std::string>) {
          return std::nullopt;
        } else {
          std::vector<Result> result;
          result.reserve(items.size());
          for (const Item item : items) {
            const std::optional<Result> converted = convert(item);
            if (!converted) {
              return std::nullopt;
            }
            result.push_back(*converted);
          }
          return result;
        }
      },
      *array);
}

constexpr auto kToInteger = [](auto value) { return to_integer(value); };
constexpr auto kToNumber = [](auto value) {
  return std::optional<double>(static_cast<double>(value));
};

// The value of the key as `read` gives it; nothing without the key; throws when `read` has none.
template <typename Read>
auto find_value(const GgufHeader& header,
                std::string_view key,
                const std::string& file,
                std::string_view expected,
                const Read& read) -> decltype(read(std::declval<const GgufValue&>())) {
  const auto found = header.metadata.find(key);
  if (found == header.metadata.end()) {
    return std::nullopt;
  }
  auto result = read(found->second);
  if (!result) {
    wrong_type(file, key, expected);
  }
  return result;
}

template <typename Value>
std::optional<Value> exactly(const GgufValue& value) {
  const auto* held = std::get_if<Value>(&value);
  return held == nullptr ? std::nullopt : std::optional(*held);
}

// Appends little-endian numbers and counted strings.
class Writer {
 public:
  template <typename Int>
  void integer(Int value) {
    const auto bits = static_cast<std::uint64_t>(value);
    for (std::size_t i = 0; i < sizeof(Int); ++i) {
      bytes_ += static_cast<char>(bits >> (8 * i) & 0xff);
    }
  }
  void text(std::string_view value) {
    integer(std::uint64_t{value.size()});
    bytes_ += value;
  }
  void pad(Index alignment) {
    bytes_.append(to_size(*align_up(to_index(bytes_.size()), alignment)) - bytes_.size(), '\0');
  }

  void item(std::uint32_t value) { integer(value); }
  void item(std::int32_t value) { integer(value); }
  void item(float value) { integer(std::bit_cast<std::uint32_t>(value)); }
  void item(bool value) { integer(std::uint8_t{value}); }
  void item(const std::string& value) { text(value); }

  static constexpr ValueType type_of(std::uint32_t) { return ValueType::U32; }
  static constexpr ValueType type_of(std::int32_t) { return ValueType::I32; }
  static constexpr ValueType type_of(float) { return ValueType::F32; }
  static constexpr ValueType type_of(bool) { return ValueType::Bool; }
  static ValueType type_of(const std::string&) { return ValueType::String; }

  template <typename Item>
  void value(const Item& single) {
    integer(static_cast<std::uint32_t>(type_of(single)));
    item(single);
  }
  template <typename Item>
  void value(const std::vector<Item>& items) {
    integer(static_cast<std::uint32_t>(ValueType::Array));
    integer(static_cast<std::uint32_t>(type_of(Item{})));
    integer(std::uint64_t{items.size()});
    for (const Item& each : items) {
      item(each);
    }
  }

  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

void write_metadata(Writer& writer, std::span<const GgufWriteValue> metadata, Index alignment) {
  std::map<std::string_view, bool> seen;
  bool has_alignment = false;
  for (const GgufWriteValue& entry : metadata) {
    if (!is_utf8(entry.key) || !seen.emplace(entry.key, true).second) {
      fail(ErrorCode::InvalidArgument, "gguf: metadata key ", quote(entry.key),
           " is there twice or is not UTF-8");
    }
    if (entry.key == kAlignmentKey) {
      const auto* value = std::get_if<std::uint32_t>(&entry.value);
      if (value == nullptr || Index{*value} != alignment) {
        fail(ErrorCode::InvalidArgument, "gguf: ", kAlignmentKey, " is not the alignment ",
             alignment, " of the file");
      }
      has_alignment = true;
    }
  }
  const bool adds_alignment = alignment != kDefaultAlignment && !has_alignment;
  writer.integer(std::uint64_t{metadata.size() + (adds_alignment ? 1 : 0)});
  for (const GgufWriteValue& entry : metadata) {
    writer.text(entry.key);
    std::visit([&](const auto& value) { writer.value(value); }, entry.value);
  }
  if (adds_alignment) {
    writer.text(kAlignmentKey);
    writer.value(static_cast<std::uint32_t>(alignment));
  }
}

}  // namespace

const GgufTypeInfo& gguf_type_info(GgufType type) {
  const GgufTypeInfo* row = find_type(static_cast<std::uint32_t>(type));
  FATHOM_CHECK(row != nullptr);
  return *row;
}

std::optional<GgufType> gguf_type_from_name(std::string_view name) {
  for (const GgufTypeInfo& row : kTypes) {
    if (row.name == name) {
      return row.type;
    }
  }
  return std::nullopt;
}

std::optional<std::int64_t> GgufHeader::find_integer(std::string_view key,
                                                     const std::string& file) const {
  return find_value(*this, key, file, "an integer", [](const GgufValue& value) {
    return std::visit(NumberVisitor<std::int64_t, decltype(kToInteger)>{kToInteger}, value);
  });
}

std::optional<double> GgufHeader::find_number(std::string_view key, const std::string& file) const {
  return find_value(*this, key, file, "a number", [](const GgufValue& value) {
    return std::visit(NumberVisitor<double, decltype(kToNumber)>{kToNumber}, value);
  });
}

std::optional<bool> GgufHeader::find_bool(std::string_view key, const std::string& file) const {
  return find_value(*this, key, file, "a bool", exactly<bool>);
}

std::optional<std::string> GgufHeader::find_string(std::string_view key,
                                                   const std::string& file) const {
  return find_value(*this, key, file, "a string", exactly<std::string>);
}

std::optional<std::vector<std::int64_t>> GgufHeader::find_integers(std::string_view key,
                                                                   const std::string& file) const {
  return find_value(*this, key, file, "an array of integers", [](const GgufValue& value) {
    return convert_array<std::int64_t>(value, kToInteger);
  });
}

std::optional<std::vector<double>> GgufHeader::find_numbers(std::string_view key,
                                                            const std::string& file) const {
  return find_value(*this, key, file, "an array of numbers",
                    [](const GgufValue& value) { return convert_array<double>(value, kToNumber); });
}

GgufHeader parse_gguf_header(std::span<const std::byte> bytes, const std::string& file) {
  return Reader(bytes, file).read();
}

GgufLayout make_gguf_header(std::span<const GgufWriteValue> metadata,
                            std::span<const GgufTensor> tensors,
                            Index alignment) {
  if (!is_alignment(alignment)) {
    fail(ErrorCode::InvalidArgument, "gguf: alignment ", alignment, ", expected a power of two");
  }
  Writer writer;
  for (const char letter : kMagic) {
    writer.integer(letter);
  }
  writer.integer(std::uint32_t{3});
  writer.integer(std::uint64_t{tensors.size()});
  write_metadata(writer, metadata, alignment);
  GgufLayout layout;
  std::map<std::string_view, bool> seen;
  Index offset = 0;
  for (const GgufTensor& tensor : tensors) {
    const auto size = tensor_bytes(tensor.shape, gguf_type_info(tensor.type));
    const auto end = size ? checked_add(offset, *size) : std::nullopt;
    const auto next = end ? align_up(*end, alignment) : std::nullopt;
    if (!next || tensor.shape.size() > kMostDimensions || !is_utf8(tensor.name) ||
        !seen.emplace(tensor.name, true).second) {
      fail(ErrorCode::InvalidArgument, "gguf: tensor ", quote(tensor.name),
           " is there twice, or its name, type and shape do not make a tensor");
    }
    writer.text(tensor.name);
    writer.integer(static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto size_of = tensor.shape.rbegin(); size_of != tensor.shape.rend(); ++size_of) {
      writer.integer(static_cast<std::uint64_t>(*size_of));
    }
    writer.integer(static_cast<std::uint32_t>(tensor.type));
    writer.integer(static_cast<std::uint64_t>(offset));
    layout.tensors.push_back(tensor);
    layout.tensors.back().begin = offset;
    layout.tensors.back().end = *end;
    offset = *next;
  }
  writer.pad(alignment);
  layout.header = writer.take();
  for (GgufTensor& tensor : layout.tensors) {
    tensor.begin += to_index(layout.header.size());
    tensor.end += to_index(layout.header.size());
  }
  return layout;
}

}  // namespace fathom::formats
