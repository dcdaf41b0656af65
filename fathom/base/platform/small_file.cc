#include "fathom/base/platform/small_file.h"

#include <span>

#include "fathom/base/platform/mapped_file.h"
#include "fathom/base/platform/output_file.h"

namespace fathom::platform {

std::string read_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  OutputFile file(path, to_index(text.size()));
  file.write(0, std::as_bytes(std::span(text)));
  file.sync();
  file.commit();
  sync_folder(path.parent_path());
}

}  // namespace fathom::platform
