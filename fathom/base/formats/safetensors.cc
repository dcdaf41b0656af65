#include "fathom/base/formats/safetensors.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::formats {
namespace {

using nlohmann::json;

constexpr std::string_view kMetadataKey = "__metadata__";
constexpr std::size_t kLengthBytes = 8;
// The format's own limit on the header.
constexpr std::uint64_t kLargestHeaderBytes = 100'000'000;

struct DTypeRow {
  SafetensorsDType dtype;
  std::string_view name;
  Index bytes;
};

constexpr std::array kDTypes = {
    DTypeRow{SafetensorsDType::Bool, "BOOL", 1},
    DTypeRow{SafetensorsDType::U8, "U8", 1},
    DTypeRow{SafetensorsDType::I8, "I8", 1},
    DTypeRow{SafetensorsDType::F8E5M2, "F8_E5M2", 1},
    DTypeRow{SafetensorsDType::F8E4M3, "F8_E4M3", 1},
    DTypeRow{SafetensorsDType::F8E8M0, "F8_E8M0", 1},
    DTypeRow{SafetensorsDType::I16, "I16", 2},
    DTypeRow{SafetensorsDType::U16, "U16", 2},
    DTypeRow{SafetensorsDType::F16, "F16", 2},
    DTypeRow{SafetensorsDType::BF16, "BF16", 2},
    DTypeRow{SafetensorsDType::I32, "I32", 4},
    DTypeRow{SafetensorsDType::U32, "U32", 4},
    DTypeRow{SafetensorsDType::F32, "F32", 4},
    DTypeRow{SafetensorsDType::F64, "F64", 8},
    DTypeRow{SafetensorsDType::I64, "I64", 8},
    DTypeRow{SafetensorsDType::U64, "U64", 8},
};

const DTypeRow& dtype_row(SafetensorsDType dtype) {
  for (const DTypeRow& row : kDTypes) {
    if (row.dtype == dtype) {
      return row;
    }
  }
  fail(ErrorCode::Internal, "safetensors: no dtype ", static_cast<int>(dtype));
}

std::optional<SafetensorsDType> dtype_from_name(std::string_view name) {
  for (const DTypeRow& row : kDTypes) {
    if (row.name == name) {
      return row.dtype;
    }
  }
  return std::nullopt;
}

// Bytes of the tensor; nothing when the shape is negative or absurd. Zeros are left out of the
// overflow check's product, so that every product of dimensions that a reader forms is safe.
std::optional<Index> tensor_bytes(const std::vector<Index>& shape, SafetensorsDType dtype) {
  std::optional<Index> bytes = element_bytes(dtype);
  bool is_empty = false;
  for (const Index size : shape) {
    is_empty = is_empty || size == 0;
    bytes = checked_multiply(*bytes, size == 0 ? 1 : size);
    if (!bytes) {
      return std::nullopt;
    }
  }
  return is_empty ? 0 : *bytes;
}

// What the two JSON readers below share: every event is refused unless the reader expects it. A
// DOM would keep one of two equal keys and say nothing, hence the event interface.
class JsonReader {
 public:
  explicit JsonReader(std::string where) : where_(std::move(where)) {}
  virtual ~JsonReader() = default;
  JsonReader(const JsonReader&) = delete;
  JsonReader& operator=(const JsonReader&) = delete;

  virtual bool null() { unexpected("null"); }
  virtual bool boolean(bool) { unexpected("a boolean"); }
  virtual bool number_integer(std::int64_t value) {
    unexpected("the negative number " + std::to_string(value));
  }
  virtual bool number_unsigned(std::uint64_t value) {
    unexpected("the number " + std::to_string(value));
  }
  virtual bool number_float(double, const std::string& text) {
    unexpected("the number " + quote(text));
  }
  virtual bool string(std::string& text) { unexpected("the string " + quote(text)); }
  virtual bool binary(json::binary_t&) { unexpected("binary data"); }
  virtual bool start_object(std::size_t) { unexpected("an object"); }
  virtual bool key(std::string& name) = 0;
  virtual bool end_object() = 0;
  virtual bool start_array(std::size_t) { unexpected("an array"); }
  virtual bool end_array() { return true; }
  bool parse_error(std::size_t position, const std::string&, const json::exception& error) {
    // The library's text quotes the input raw; quote() keeps the message on one line.
    refuse("bad JSON at byte ", position, ": ", quote(error.what()));
  }

  void read(std::string_view text) {
    // The library takes a zero byte for the end of the input.
    if (text.find('\0') != std::string_view::npos) {
      refuse("bad JSON: zero byte at ", text.find('\0'));
    }
    json::sax_parse(text.begin(), text.end(), this);
  }

 protected:
  template <typename... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(ErrorCode::InvalidCheckpoint, where_, ": ", parts...);
  }
  [[noreturn]] void unexpected(const std::string& what) const {
    refuse("unexpected ", what, " ", place());
  }
  virtual std::string place() const = 0;

 private:
  std::string where_;
};

// The header of one file: an object of tensors, and the metadata.
class HeaderReader final : public JsonReader {
 public:
  explicit HeaderReader(const std::string& file) : JsonReader(file + ": header") {}

  bool start_object(std::size_t) override {
    switch (state_) {
      case State::Start:
        state_ = State::Top;
        return true;
      case State::TensorValue:
        state_ = State::Tensor;
        return true;
      case State::MetadataValue:
        state_ = State::Metadata;
        return true;
      default:
        unexpected("an object");
    }
  }

  bool key(std::string& name) override {
    if (state_ == State::Top && name == kMetadataKey) {
      if (std::exchange(has_metadata_, true)) {
        refuse("duplicate key ", quote(name));
      }
      state_ = State::MetadataValue;
    } else if (state_ == State::Top) {
      tensor_ = {};
      tensor_.name = std::move(name);
      has_dtype_ = has_shape_ = has_offsets_ = false;
      state_ = State::TensorValue;
    } else if (state_ == State::Metadata) {
      metadata_key_ = std::move(name);
    } else {
      tensor_key(name);
    }
    return true;
  }

  bool string(std::string& text) override {
    if (state_ == State::DType) {
      const auto dtype = dtype_from_name(text);
      if (!dtype) {
        refuse("tensor ", quote(tensor_.name), ": unknown dtype ", quote(text));
      }
      tensor_.dtype = *dtype;
      state_ = State::Tensor;
    } else if (state_ == State::Metadata) {
      if (!header_.metadata.emplace(metadata_key_, std::move(text)).second) {
        refuse("duplicate key ", quote(metadata_key_), " in ", kMetadataKey);
      }
    } else {
      unexpected("the string " + quote(text));
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ == State::Shape) {
      state_ = State::ShapeItems;
    } else if (state_ == State::Offsets) {
      state_ = State::OffsetItems;
      num_offsets_ = 0;
    } else {
      unexpected("an array");
    }
    return true;
  }

  bool number_unsigned(std::uint64_t value) override {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<Index>::max())) {
      unexpected("the absurd number " + std::to_string(value));
    }
    const auto number = static_cast<Index>(value);
    if (state_ == State::ShapeItems) {
      tensor_.shape.push_back(number);
    } else if (state_ == State::OffsetItems && num_offsets_ < 2) {
      (num_offsets_ == 0 ? tensor_.begin : tensor_.end) = number;
      ++num_offsets_;
    } else {
      unexpected("the number " + std::to_string(value));
    }
    return true;
  }

  bool end_array() override {
    if (state_ == State::OffsetItems && num_offsets_ != 2) {
      refuse("tensor ", quote(tensor_.name), ": data_offsets has ", num_offsets_, " of 2 numbers");
    }
    state_ = State::Tensor;
    return true;
  }

  bool end_object() override {
    if (state_ == State::Tensor) {
      if (!has_dtype_ || !has_shape_ || !has_offsets_) {
        refuse("tensor ", quote(tensor_.name), ": dtype, shape or data_offsets is missing");
      }
      check_range();
      header_.entries.push_back(std::move(tensor_));
    }
    state_ = state_ == State::Top ? State::End : State::Top;
    return true;
  }

  SafetensorsHeader take() { return std::move(header_); }

 protected:
  std::string place() const override {
    switch (state_) {
      case State::Start:
      case State::End:
      case State::Top:
        return "at the top";
      case State::MetadataValue:
      case State::Metadata:
        return "in " + std::string(kMetadataKey) + " (an object of strings is expected)";
      default:
        return "in tensor " + quote(tensor_.name);
    }
  }

 private:
  enum class State {
    Start,
    Top,
    TensorValue,
    Tensor,
    DType,
    Shape,
    ShapeItems,
    Offsets,
    OffsetItems,
    MetadataValue,
    Metadata,
    End,
  };

  void tensor_key(const std::string& name) {
    const auto take_once = [&](bool& seen, State next) {
      if (std::exchange(seen, true)) {
        refuse("tensor ", quote(tensor_.name), ": duplicate key ", quote(name));
      }
      state_ = next;
    };
    if (name == "dtype") {
      take_once(has_dtype_, State::DType);
    } else if (name == "shape") {
      take_once(has_shape_, State::Shape);
    } else if (name == "data_offsets") {
      take_once(has_offsets_, State::Offsets);
    } else {
      refuse("tensor ", quote(tensor_.name), ": unknown key ", quote(name));
    }
  }

  void check_range() const {
    const auto bytes = tensor_bytes(tensor_.shape, tensor_.dtype);
    if (!bytes) {
      refuse("tensor ", quote(tensor_.name), ": absurd shape (its size overflows)");
    }
    if (tensor_.end - tensor_.begin != *bytes) {
      refuse("tensor ", quote(tensor_.name), ": data_offsets [", tensor_.begin, ", ", tensor_.end,
             "], expected ", *bytes, " bytes (shape x dtype)");
    }
  }

  State state_ = State::Start;
  SafetensorsHeader header_;
  SafetensorsEntry tensor_;
  std::string metadata_key_;
  int num_offsets_ = 0;
  bool has_metadata_ = false;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
};

// model.safetensors.index.json: only weight_map is read; what else it holds is skipped.
class IndexReader final : public JsonReader {
 public:
  explicit IndexReader(const std::string& file) : JsonReader(file) {}

  bool null() override { return skip("null"); }
  bool boolean(bool) override { return skip("a boolean"); }
  bool number_integer(std::int64_t) override { return skip("a number"); }
  bool number_unsigned(std::uint64_t) override { return skip("a number"); }
  bool number_float(double, const std::string&) override { return skip("a number"); }

  bool string(std::string& text) override {
    if (!in_map_ || depth_ != 2) {
      return skip("a string");
    }
    if (text.empty() || text == "." || text == ".." ||
        text.find_first_of(std::string_view("/\\:\0", 4)) != std::string::npos) {
      refuse("weight_map: ", quote(name_), " is in the file ", quote(text),
             ", expected a plain file name in the checkpoint's folder");
    }
    if (!map_.emplace(name_, text).second) {
      refuse("weight_map: duplicate tensor ", quote(name_));
    }
    return true;
  }

  bool start_object(std::size_t) override { return open(true); }
  bool start_array(std::size_t) override { return open(false); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    if (depth_ == 1) {
      in_map_ = name == "weight_map";
      if (in_map_ && std::exchange(has_map_, true)) {
        refuse("duplicate key \"weight_map\"");
      }
    } else if (in_map_) {
      name_ = std::move(name);
    }
    return true;
  }

  std::map<std::string, std::string> take() {
    if (!has_map_) {
      refuse("weight_map is missing");
    }
    return std::move(map_);
  }

 protected:
  std::string place() const override {
    return in_map_ ? "in weight_map (an object of strings is expected)" : "at the top";
  }

 private:
  bool skip(const std::string& what) const {
    if (in_map_ || depth_ == 0) {
      unexpected(what);
    }
    return true;
  }

  bool open(bool is_object) {
    if ((depth_ == 0 || in_map_) && !(is_object && depth_ < 2)) {
      unexpected(is_object ? "an object" : "an array");
    }
    ++depth_;
    return true;
  }

  bool close() {
    --depth_;
    if (depth_ == 1) {
      in_map_ = false;
    }
    return true;
  }

  std::map<std::string, std::string> map_;
  std::string name_;
  Index depth_ = 0;
  bool in_map_ = false;
  bool has_map_ = false;
};

void check_names(const std::vector<SafetensorsEntry>& entries, const std::string& file) {
  std::vector<std::string_view> names;
  names.reserve(entries.size());
  for (const SafetensorsEntry& entry : entries) {
    names.emplace_back(entry.name);
  }
  std::sort(names.begin(), names.end());
  const auto twin = std::adjacent_find(names.begin(), names.end());
  if (twin != names.end()) {
    fail(ErrorCode::InvalidCheckpoint, file, ": header: duplicate tensor ", quote(*twin));
  }
}

// The ranges, sorted, must tile the data section from its first byte to its last.
void check_tiling(const std::vector<SafetensorsEntry>& entries,
                  Index data_bytes,
                  const std::string& file) {
  Index covered = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin != covered) {
      fail(ErrorCode::InvalidCheckpoint, file, ": tensor ", quote(entry.name), " begins at ",
           entry.begin, entry.begin < covered ? " and overlaps" : " and leaves a hole after",
           " the one before, which ends at ", covered);
    }
    if (entry.end > data_bytes) {
      fail(ErrorCode::InvalidCheckpoint, file, ": tensor ", quote(entry.name), " ends at ",
           entry.end, ", expected at most ", data_bytes,
           " (the file is truncated, or its header lies)");
    }
    covered = entry.end;
  }
  if (covered != data_bytes) {
    fail(ErrorCode::InvalidCheckpoint, file, ": ", data_bytes - covered,
         " bytes after the last tensor, expected none");
  }
}

std::uint64_t read_header_bytes(std::span<const std::byte> bytes, const std::string& file) {
  if (bytes.size() < kLengthBytes) {
    fail(ErrorCode::InvalidCheckpoint, file, ": ", bytes.size(),
         " bytes, expected at least 8 (a safetensors header length)");
  }
  std::uint64_t header_bytes = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) {
    header_bytes = header_bytes << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  }
  const std::uint64_t room = bytes.size() - kLengthBytes;
  if (header_bytes > room || header_bytes > kLargestHeaderBytes) {
    fail(ErrorCode::InvalidCheckpoint, file, ": header length ", header_bytes,
         ", expected at most ", std::min(room, kLargestHeaderBytes),
         " (the file is truncated, or no safetensors file)");
  }
  return header_bytes;
}

// A JSON string literal.
std::string json_string(std::string_view text) {
  if (!is_utf8(text)) {
    fail(ErrorCode::InvalidArgument, "safetensors: ", quote(text), " is not UTF-8");
  }
  return json(text).dump();
}

}  // namespace

std::string_view to_string(SafetensorsDType dtype) {
  return dtype_row(dtype).name;
}

Index element_bytes(SafetensorsDType dtype) {
  return dtype_row(dtype).bytes;
}

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> bytes,
                                           const std::string& file) {
  const std::uint64_t header_bytes = read_header_bytes(bytes, file);
  const auto block = bytes.subspan(kLengthBytes, header_bytes);
  std::string text(block.size(), '\0');
  if (!block.empty()) {
    std::memcpy(text.data(), block.data(), block.size());
  }
  if (text.empty() || text.front() != '{') {
    fail(ErrorCode::InvalidCheckpoint, file, ": header: expected to begin with {");
  }
  HeaderReader reader(file);
  reader.read(text);
  SafetensorsHeader header = reader.take();
  check_names(header.entries, file);
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  check_tiling(header.entries, to_index(bytes.size() - kLengthBytes - header_bytes), file);
  const Index data_begin = static_cast<Index>(kLengthBytes + header_bytes);
  for (SafetensorsEntry& entry : header.entries) {
    entry.begin += data_begin;
    entry.end += data_begin;
  }
  return header;
}

std::map<std::string, std::string> parse_safetensors_index(std::string_view json_text,
                                                           const std::string& file) {
  IndexReader reader(file);
  reader.read(json_text);
  return reader.take();
}

std::string make_safetensors_header(std::span<const SafetensorsEntry> entries,
                                    const std::map<std::string, std::string>& metadata) {
  std::string text = "{";
  const auto separate = [&] { text += text.size() > 1 ? "," : ""; };
  if (!metadata.empty()) {
    std::string items;
    for (const auto& [key, value] : metadata) {
      items += (items.empty() ? "" : ",") + json_string(key) + ":" + json_string(value);
    }
    text += json_string(kMetadataKey) + ":{" + items + "}";
  }
  std::vector<std::string_view> names;
  Index begin = 0;
  for (const SafetensorsEntry& entry : entries) {
    const auto size = tensor_bytes(entry.shape, entry.dtype);
    const auto end = size ? checked_add(begin, *size) : std::nullopt;
    if (!end || entry.name == kMetadataKey) {
      fail(ErrorCode::InvalidArgument, "safetensors: tensor ", quote(entry.name),
           ": its name is reserved, or its shape is negative or absurd");
    }
    separate();
    text += json_string(entry.name) + R"(:{"dtype":")" + std::string(to_string(entry.dtype)) +
            R"(","shape":)" + json(entry.shape).dump() + R"(,"data_offsets":[)" +
            std::to_string(begin) + "," + std::to_string(*end) + "]}";
    begin = *end;
    names.emplace_back(entry.name);
  }
  std::sort(names.begin(), names.end());
  const auto twin = std::adjacent_find(names.begin(), names.end());
  if (twin != names.end()) {
    fail(ErrorCode::InvalidArgument, "safetensors: duplicate tensor ", quote(*twin));
  }
  text += "}";
  text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes, ' ');
  if (text.size() > kLargestHeaderBytes) {
    fail(ErrorCode::InvalidArgument, "safetensors: a header of ", text.size(),
         " bytes, expected at most ", kLargestHeaderBytes);
  }
  std::string block;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    block += static_cast<char>(text.size() >> (8 * i) & 0xff);
  }
  return block + text;
}

std::string make_safetensors_index(const std::map<std::string, std::string>& weight_map,
                                   Index total_bytes) {
  std::string text = "{\n  \"metadata\": {\"total_size\": " + std::to_string(total_bytes) +
                     "},\n  \"weight_map\": {";
  bool is_first = true;
  for (const auto& [name, file] : weight_map) {
    text += (is_first ? "\n    " : ",\n    ") + json_string(name) + ": " + json_string(file);
    is_first = false;
  }
  return text + "\n  }\n}\n";
}

}  // namespace fathom::formats
