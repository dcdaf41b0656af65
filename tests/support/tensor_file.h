// A safetensors file of test data, its tensors by name. A missing file or tensor throws, so that a
// test without its data fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/safetensors.h"
#include "fathom/base/platform/mapped_file.h"

namespace fathom::testing {

class TensorFile {
 public:
  explicit TensorFile(const std::filesystem::path& path)
      : file_(path), header_(formats::parse_safetensors_header(file_.bytes(), path.string())) {}

  const formats::SafetensorsEntry& entry(const std::string& name) const {
    for (const formats::SafetensorsEntry& each : header_.entries) {
      if (each.name == name) {
        return each;
      }
    }
    fail(ErrorCode::InvalidCheckpoint, "test data: no tensor ", name);
  }

  // The tensor's bytes as numbers of a type of the same size.
  template <typename Value>
  std::vector<Value> read(const std::string& name) const {
    const formats::SafetensorsEntry& found = entry(name);
    FATHOM_CHECK(formats::element_bytes(found.dtype) == to_index(sizeof(Value)));
    std::vector<Value> values(to_size(found.end - found.begin) / sizeof(Value));
    std::memcpy(values.data(), file_.bytes().data() + found.begin, values.size() * sizeof(Value));
    return values;
  }

  const std::vector<formats::SafetensorsEntry>& entries() const { return header_.entries; }

 private:
  platform::MappedFile file_;
  formats::SafetensorsHeader header_;
};

}  // namespace fathom::testing
