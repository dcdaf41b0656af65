// Bytes of input files, as they are or out of gzip (RFC 1952, also several members in one file).
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "fathom/base/core/index.h"

namespace fathom::data {

// Where the bytes of an input come from.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills the front of `bytes`; how many, 0 only at the end. Throws Io, and InvalidArgument for a
  // damaged file.
  virtual Index read(std::span<std::byte> bytes) = 0;
  // Of the file on disk: for progress.
  virtual Index num_bytes_read() const = 0;
};

// A file as it is, or unpacked where its name ends in ".gz".
std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path);

}  // namespace fathom::data
