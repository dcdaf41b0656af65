// What the reader and the writer of GGUF share: numbers of the format and sizes of tensors.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/base/formats/gguf.h"

namespace fathom::formats::gguf {

inline constexpr std::string_view kMagic = "GGUF";
inline constexpr std::string_view kAlignmentKey = "general.alignment";
inline constexpr Index kDefaultAlignment = 32;
inline constexpr std::uint32_t kMostDimensions = 4;

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

// A type that we know and do not decode, to refuse it by name.
struct ForeignType {
  std::uint32_t number;
  std::string_view name;
  std::string_view owner;  // ggml, or the fork with numbers of its own
};

// Null for a number that is not in the list.
const GgufTypeInfo* find_type(std::uint32_t number);
const ForeignType* find_foreign_type(std::uint32_t number);

// Bytes of a tensor of this shape (outermost first); nothing when a size is negative, the last
// dimension is not whole blocks, or the product overflows (zeros counted as ones, so that every
// product of dimensions that a reader forms is safe).
std::optional<Index> tensor_bytes(const std::vector<Index>& shape, const GgufTypeInfo& type);

std::optional<Index> align_up(Index value, Index alignment);

// A power of two that fits the 32 bits of the metadata key.
bool is_alignment(Index value);

}  // namespace fathom::formats::gguf
