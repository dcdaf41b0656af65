// The safetensors container: reading one file's header, and writing a file as a stream.
//
// This file knows bytes, names, dtypes and shapes. Sharded checkpoints are put together in
// model/weights; decoding numbers is compute/numeric.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::formats {

// Every dtype the format defines, so that a file with one that we cannot compute still opens.
enum class SafetensorsDType {
  Bool,
  U8,
  I8,
  F8E5M2,
  F8E4M3,
  F8E8M0,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  F64,
  I64,
  U64,
};

std::string_view to_string(SafetensorsDType dtype);  // as the header spells it: "F8_E4M3"
Index element_bytes(SafetensorsDType dtype);

struct SafetensorsEntry {
  std::string name;
  SafetensorsDType dtype;
  std::vector<Index> shape;
  Index begin;  // byte range in the file (not relative to the data section)
  Index end;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // ordered by begin
  std::map<std::string, std::string> metadata;
};

// Parses and validates the header of the mapped file `bytes` (only header bytes are touched).
// `file` names the file in errors. Throws InvalidCheckpoint on anything that is not a valid file:
// length beyond the file, bad JSON, duplicate names, unknown dtype, negative or absurd shape, range
// that does not equal shape x dtype, overlapping ranges, holes, bytes after the last tensor.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> bytes,
                                           const std::string& file);

// tensor name -> file name, from the text of model.safetensors.index.json. Rejects a file name
// with a directory part (it would reach outside the checkpoint's folder).
std::map<std::string, std::string> parse_safetensors_index(std::string_view json,
                                                           const std::string& file);

// The header block (8-byte length, JSON, space padding to a multiple of 8) of a file with these
// tensors laid out one after another in the given order. Only name, dtype and shape are read.
std::string make_safetensors_header(std::span<const SafetensorsEntry> entries,
                                    const std::map<std::string, std::string>& metadata);

// The text of model.safetensors.index.json.
std::string make_safetensors_index(const std::map<std::string, std::string>& weight_map,
                                   Index total_bytes);

}  // namespace fathom::formats
