// Safetensors files for tests: a header of ours in front of zero bytes.
#pragma once

#include <string>
#include <vector>

#include "fathom/base/formats/safetensors.h"

#include "tests/support/temp_dir.h"

namespace fathom::weights {

inline std::string safetensors_bytes(const std::vector<formats::SafetensorsEntry>& entries) {
  std::string bytes = formats::make_safetensors_header(entries, {});
  for (const formats::SafetensorsEntry& entry : entries) {
    Index size = formats::element_bytes(entry.dtype);
    for (const Index extent : entry.shape) {
      size *= extent;
    }
    bytes.append(to_size(size), '\0');
  }
  return bytes;
}

inline formats::SafetensorsEntry entry(std::string name,
                                       formats::SafetensorsDType dtype,
                                       std::vector<Index> shape) {
  return {std::move(name), dtype, std::move(shape), 0, 0};
}

}  // namespace fathom::weights
