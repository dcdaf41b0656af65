// The .npy container of NumPy: reading arrays of token ids, and the header of a file to write.
//
// Little-endian, format versions 1 to 3. The bytes are untrusted: every size is checked against the
// file before anything is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::formats {

enum class NpyDType { I32, I64, F32 };
std::string_view to_string(NpyDType dtype);  // as the header spells it: "<i4"
Index element_bytes(NpyDType dtype);

struct NpyHeader {
  NpyDType dtype = NpyDType::I32;
  std::vector<Index> shape;  // outermost first, row-major
  Index data_begin = 0;      // byte offset of the first element in the file
};

// Parses and validates the header of the whole file `bytes`. Throws InvalidArgument naming `file`
// on anything else than an array of these types that fills the file exactly.
NpyHeader parse_npy_header(std::span<const std::byte> bytes, const std::string& file);

// The numbers of a one-dimensional integer array.
std::vector<std::int64_t> parse_npy_integers(std::span<const std::byte> bytes,
                                             const std::string& file);

// The header block (version 1.0, padded to a multiple of 64) of a row-major array.
std::string make_npy_header(NpyDType dtype, std::span<const Index> shape);

}  // namespace fathom::formats
