// The GGUF container, versions 2 and 3, little-endian: reading one file's header, and writing one.
//
// This file knows bytes, names, types and shapes. Split files are put together in model/weights;
// decoding the types is compute/numeric.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::formats {

// The tensor types of ggml that we decode, with ggml's numbers. A number outside this list is
// refused by name where we know whose it is (ik_llama.cpp's own types), by number otherwise.
enum class GgufType : std::uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  IQ2_XXS = 16,
  IQ2_XS = 17,
  IQ3_XXS = 18,
  IQ1_S = 19,
  IQ4_NL = 20,
  IQ3_S = 21,
  IQ2_S = 22,
  IQ4_XS = 23,
  I8 = 24,
  I16 = 25,
  I32 = 26,
  I64 = 27,
  F64 = 28,
  IQ1_M = 29,
  BF16 = 30,
  TQ1_0 = 34,
  TQ2_0 = 35,
  MXFP4 = 39,
};

struct GgufTypeInfo {
  GgufType type;
  std::string_view name;
  Index block_columns;  // elements in a block
  Index block_bytes;
};

// The row of the one type table; every enumerator has one.
const GgufTypeInfo& gguf_type_info(GgufType type);
std::optional<GgufType> gguf_type_from_name(std::string_view name);

// A metadata array keeps its elements as one vector of one type.
using GgufArray = std::variant<std::vector<bool>,
                               std::vector<std::int64_t>,
                               std::vector<std::uint64_t>,
                               std::vector<double>,
                               std::vector<std::string>>;
// Integers are widened (the file's type is not kept), floats are double.
using GgufValue = std::variant<bool, std::int64_t, std::uint64_t, double, std::string, GgufArray>;

struct GgufTensor {
  std::string name;
  GgufType type;
  std::vector<Index> shape;  // outermost first: the reverse of the file's order
  Index begin;               // byte range in the file
  Index end;
};

struct GgufHeader {
  std::uint32_t version = 3;
  Index alignment = 32;
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<GgufTensor> tensors;  // in the file's order

  // Typed access for readers of a config: the key's value if present; throws InvalidCheckpoint
  // naming `file` and the key when it is present with another type. Integers of either sign and
  // integral doubles answer find_integer; any number answers find_number.
  std::optional<std::int64_t> find_integer(std::string_view key, const std::string& file) const;
  std::optional<double> find_number(std::string_view key, const std::string& file) const;
  std::optional<bool> find_bool(std::string_view key, const std::string& file) const;
  std::optional<std::string> find_string(std::string_view key, const std::string& file) const;
  std::optional<std::vector<std::int64_t>> find_integers(std::string_view key,
                                                         const std::string& file) const;
  std::optional<std::vector<double>> find_numbers(std::string_view key,
                                                  const std::string& file) const;
};

// Parses and validates the header of the mapped file `bytes`; touches only header bytes. No size
// from the file is trusted before it is compared with what the file can hold. Throws
// InvalidCheckpoint naming `file` and the key or tensor.
GgufHeader parse_gguf_header(std::span<const std::byte> bytes, const std::string& file);

// How the writer stores a metadata value: the exact GGUF types, since readers of others insist.
struct GgufWriteValue {
  std::string key;
  std::variant<std::uint32_t,
               std::int32_t,
               float,
               bool,
               std::string,
               std::vector<std::uint32_t>,
               std::vector<std::int32_t>,
               std::vector<float>,
               std::vector<std::string>>
      value;
};

// The header block of a version 3 file (padded to `alignment`) and, for each tensor, its byte
// range in the file that follows; name, type and shape are read from `tensors`.
struct GgufLayout {
  std::string header;
  std::vector<GgufTensor> tensors;  // with begin and end filled in
};
GgufLayout make_gguf_header(std::span<const GgufWriteValue> metadata,
                            std::span<const GgufTensor> tensors,
                            Index alignment = 32);

}  // namespace fathom::formats
