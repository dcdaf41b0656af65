// A read-only memory mapping of a whole file.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "fathom/base/core/index.h"

namespace fathom::platform {

// How the pages of a mapping are placed. The default leaves everything to the operating system.
struct MapOptions {
  bool huge_pages = false;  // ask for transparent huge pages (a hint)
  bool populate = false;    // read the whole file in at open
};

// Throws Io with the path and the system's reason. An empty file maps to an empty span.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path, const MapOptions& options = {});
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Part of a mapping is not needed for the time being: whole pages in it no longer count as memory
// of the process. They are read again when they are touched.
void give_back_pages(const std::byte* data, Index num_bytes);

}  // namespace fathom::platform
