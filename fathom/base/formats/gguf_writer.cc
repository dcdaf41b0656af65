// Writing the header block of a GGUF file.
#include <bit>
#include <type_traits>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/gguf.h"
#include "fathom/base/formats/gguf_layout.h"
#include "fathom/base/formats/text.h"

namespace fathom::formats {
namespace {

using gguf::ValueType;

// Appends little-endian numbers and counted strings.
class Writer {
 public:
  template <typename Int>
  void integer(Int value) {
    const auto bits = std::uint64_t{static_cast<std::make_unsigned_t<Int>>(value)};
    for (std::size_t i = 0; i < sizeof(Int); ++i) {
      bytes_ += static_cast<char>(bits >> (8 * i) & 0xff);
    }
  }
  void text(std::string_view value) {
    integer(std::uint64_t{value.size()});
    bytes_ += value;
  }
  void pad(Index alignment) {
    bytes_.append(to_size(*gguf::align_up(to_index(bytes_.size()), alignment)) - bytes_.size(),
                  '\0');
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
    if (entry.key == gguf::kAlignmentKey) {
      const auto* value = std::get_if<std::uint32_t>(&entry.value);
      if (value == nullptr || Index{*value} != alignment) {
        fail(ErrorCode::InvalidArgument, "gguf: ", gguf::kAlignmentKey, " is not the alignment ",
             alignment, " of the file");
      }
      has_alignment = true;
    }
  }
  const bool adds_alignment = alignment != gguf::kDefaultAlignment && !has_alignment;
  writer.integer(std::uint64_t{metadata.size() + (adds_alignment ? 1 : 0)});
  for (const GgufWriteValue& entry : metadata) {
    writer.text(entry.key);
    std::visit([&](const auto& value) { writer.value(value); }, entry.value);
  }
  if (adds_alignment) {
    writer.text(gguf::kAlignmentKey);
    writer.value(static_cast<std::uint32_t>(alignment));
  }
}

}  // namespace

GgufLayout make_gguf_header(std::span<const GgufWriteValue> metadata,
                            std::span<const GgufTensor> tensors,
                            Index alignment) {
  if (!gguf::is_alignment(alignment)) {
    fail(ErrorCode::InvalidArgument, "gguf: alignment ", alignment, ", expected a power of two");
  }
  Writer writer;
  for (const char letter : gguf::kMagic) {
    writer.integer(letter);
  }
  writer.integer(std::uint32_t{3});
  writer.integer(std::uint64_t{tensors.size()});
  write_metadata(writer, metadata, alignment);
  GgufLayout layout;
  std::map<std::string_view, bool> seen;
  Index offset = 0;
  for (const GgufTensor& tensor : tensors) {
    const auto size = gguf::tensor_bytes(tensor.shape, gguf_type_info(tensor.type));
    const auto end = size ? checked_add(offset, *size) : std::nullopt;
    const auto next = end ? gguf::align_up(*end, alignment) : std::nullopt;
    if (!next || tensor.shape.size() > gguf::kMostDimensions || !is_utf8(tensor.name) ||
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
