#include "fathom/base/formats/npy.h"

#include <array>
#include <charconv>
#include <cstring>
#include <optional>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::formats {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr Index kMaxRank = 32;  // NumPy's own limit
constexpr std::size_t kHeaderAlignment = 64;

struct DTypeRow {
  NpyDType dtype;
  std::string_view name;
  Index bytes;
};
constexpr std::array<DTypeRow, 3> kDTypes = {{
    {NpyDType::I32, "<i4", 4},
    {NpyDType::I64, "<i8", 8},
    {NpyDType::F32, "<f4", 4},
}};

const DTypeRow& row(NpyDType dtype) {
  for (const DTypeRow& entry : kDTypes) {
    if (entry.dtype == dtype) {
      return entry;
    }
  }
  fail(ErrorCode::Internal, "npy: a dtype without a row in the table");
}

// Reads the Python dictionary of a header: three keys, each once, in any order.
class HeaderReader {
 public:
  HeaderReader(std::string_view text, const std::string& file) : rest_(text), file_(file) {}

  NpyHeader read() {
    expect('{');
    while (!skip('}')) {
      read_entry();
      if (!skip(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (!rest_.empty()) {
      refuse("the end of the header");
    }
    if (!dtype_ || !is_fortran_ || !shape_) {
      fail(ErrorCode::InvalidArgument, file_, ": npy header: no \"",
           !dtype_        ? "descr"
           : !is_fortran_ ? "fortran_order"
                          : "shape",
           "\"");
    }
    if (*is_fortran_ && shape_->size() > 1) {
      fail(ErrorCode::InvalidArgument, file_,
           ": npy array in Fortran order, expected row-major (C order)");
    }
    return {.dtype = *dtype_, .shape = std::move(*shape_), .data_begin = 0};
  }

 private:
  void read_entry() {
    const std::string_view key = read_string();
    expect(':');
    if (key == "descr" && !dtype_) {
      dtype_ = read_dtype();
    } else if (key == "fortran_order" && !is_fortran_) {
      is_fortran_ = read_bool();
    } else if (key == "shape" && !shape_) {
      shape_ = read_shape();
    } else {
      fail(ErrorCode::InvalidArgument, file_, ": npy header: unknown or repeated key ", quote(key));
    }
  }

  NpyDType read_dtype() {
    skip_spaces();
    if (rest_.starts_with('[')) {
      fail(ErrorCode::InvalidArgument, file_,
           ": npy array of records, expected dtype <i4, <i8 or <f4");
    }
    const std::string_view name = read_string();
    for (const DTypeRow& entry : kDTypes) {
      if (entry.name == name) {
        return entry.dtype;
      }
    }
    fail(ErrorCode::InvalidArgument, file_, ": npy dtype ", quote(name),
         ", expected <i4, <i8 or <f4");
  }

  bool read_bool() {
    skip_spaces();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (rest_.starts_with(word)) {
        rest_.remove_prefix(word.size());
        return value;
      }
    }
    refuse("True or False");
  }

  std::vector<Index> read_shape() {
    std::vector<Index> shape;
    expect('(');
    while (!skip(')')) {
      skip_spaces();
      Index dim = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), dim);
      if (error != std::errc() || dim < 0) {
        refuse("a dimension");
      }
      rest_.remove_prefix(to_size(end - rest_.data()));
      shape.push_back(dim);
      if (to_index(shape.size()) > kMaxRank) {
        fail(ErrorCode::InvalidArgument, file_, ": npy array of more than ", kMaxRank,
             " dimensions");
      }
      if (!skip(',')) {
        expect(')');
        break;
      }
    }
    return shape;
  }

  std::string_view read_string() {
    skip_spaces();
    const char mark = rest_.empty() ? '\0' : rest_.front();
    const std::size_t end = mark == '\'' || mark == '"' ? rest_.find(mark, 1) : rest_.npos;
    if (end == rest_.npos) {
      refuse("a string");
    }
    const std::string_view text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return text;
  }

  bool skip(char wanted) {
    skip_spaces();
    if (rest_.empty() || rest_.front() != wanted) {
      return false;
    }
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char wanted) {
    if (!skip(wanted)) {
      refuse(std::string(1, wanted));
    }
  }
  void skip_spaces() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\n')) {
      rest_.remove_prefix(1);
    }
  }
  [[noreturn]] void refuse(std::string_view expected) const {
    fail(ErrorCode::InvalidArgument, file_, ": npy header: expected ", expected, ", found ",
         rest_.empty() ? "its end" : quote(rest_.substr(0, 24)));
  }

  std::string_view rest_;
  const std::string& file_;
  std::optional<NpyDType> dtype_;
  std::optional<bool> is_fortran_;
  std::optional<std::vector<Index>> shape_;
};

Index little_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
  }
  return static_cast<Index>(value);
}

// Bytes of the array; nothing when they cannot be counted in an Index.
std::optional<Index> array_bytes(const NpyHeader& header) {
  std::optional<Index> count = element_bytes(header.dtype);
  for (const Index dim : header.shape) {
    count = count ? checked_multiply(*count, dim) : count;
  }
  return count;
}

std::string shape_text(std::span<const Index> shape) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    text += (axis == 0 ? "" : ", ") + std::to_string(shape[axis]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

}  // namespace

std::string_view to_string(NpyDType dtype) {
  return row(dtype).name;
}
Index element_bytes(NpyDType dtype) {
  return row(dtype).bytes;
}

NpyHeader parse_npy_header(std::span<const std::byte> bytes, const std::string& file) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic) || text.size() < 10) {
    fail(ErrorCode::InvalidArgument, file, ": not an npy file (it does not start with \\x93NUMPY)");
  }
  const int major = static_cast<std::uint8_t>(text[6]);
  if (major < 1 || major > 3 || text[7] != 0) {
    fail(ErrorCode::InvalidArgument, file, ": npy format version ", major, ".",
         int{static_cast<std::uint8_t>(text[7])}, ", expected 1.0, 2.0 or 3.0");
  }
  const std::size_t text_begin = major == 1 ? 10 : 12;
  if (text.size() < text_begin) {
    fail(ErrorCode::InvalidArgument, file, ": npy file of ", text.size(), " bytes is truncated");
  }
  const Index length = little_endian(text.substr(8, text_begin - 8));
  if (length > to_index(text.size() - text_begin)) {
    fail(ErrorCode::InvalidArgument, file, ": npy header of ", length, " bytes, but ",
         text.size() - text_begin, " bytes follow");
  }
  NpyHeader header = HeaderReader(text.substr(text_begin, to_size(length)), file).read();
  header.data_begin = to_index(text_begin) + length;
  const Index found = to_index(text.size()) - header.data_begin;
  const std::optional<Index> expected = array_bytes(header);
  if (!expected || *expected != found) {
    fail(ErrorCode::InvalidArgument, file, ": npy array of ", to_string(header.dtype), " ",
         shape_text(header.shape), " needs ",
         expected ? std::to_string(*expected) : "more than 2^63", " bytes, found ", found);
  }
  return header;
}

std::vector<std::int64_t> parse_npy_integers(std::span<const std::byte> bytes,
                                             const std::string& file) {
  const NpyHeader header = parse_npy_header(bytes, file);
  if (header.shape.size() != 1 || header.dtype == NpyDType::F32) {
    fail(ErrorCode::InvalidArgument, file, ": npy array of ", to_string(header.dtype), " ",
         shape_text(header.shape), ", expected one dimension of <i4 or <i8");
  }
  const std::byte* next = bytes.data() + header.data_begin;
  std::vector<std::int64_t> values(to_size(header.shape.front()));
  for (std::int64_t& value : values) {
    if (header.dtype == NpyDType::I32) {
      std::int32_t narrow = 0;
      std::memcpy(&narrow, next, sizeof narrow);
      value = narrow;
    } else {
      std::memcpy(&value, next, sizeof value);
    }
    next += element_bytes(header.dtype);
  }
  return values;
}

std::string make_npy_header(NpyDType dtype, std::span<const Index> shape) {
  std::string dictionary = "{'descr': '" + std::string(to_string(dtype)) +
                           "', 'fortran_order': False, 'shape': " + shape_text(shape) + ", }";
  // The newline at the end is part of the format.
  const std::size_t used = kMagic.size() + 4 + dictionary.size() + 1;
  dictionary.append((kHeaderAlignment - used % kHeaderAlignment) % kHeaderAlignment, ' ');
  dictionary += '\n';
  FATHOM_CHECK(dictionary.size() <= 0xffff);
  std::string header(kMagic);
  header += '\x01';
  header += '\0';
  header += static_cast<char>(dictionary.size() & 0xff);
  header += static_cast<char>(dictionary.size() >> 8);
  return header + dictionary;
}

}  // namespace fathom::formats
