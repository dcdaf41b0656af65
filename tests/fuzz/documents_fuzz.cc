// Any bytes as an input of a data set: as text, cut and uncut, as lines of JSON, and as gzip of
// them. Refused with one line, or taken apart into documents of well-formed UTF-8.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/train/data/documents.h"

namespace {

using namespace fathom;
using namespace fathom::data;

void read(const std::filesystem::path& path, const DocumentOptions& options) {
  try {
    DocumentReader reader(list_inputs({path}).front(), options);
    while (const auto document = reader.next()) {
      if (!formats::is_utf8(document->text) || document->place.empty()) {
        std::abort();
      }
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::InvalidArgument ||
        std::string_view(error.what()).find('\n') != std::string_view::npos) {
      std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path folder =
      std::filesystem::path(std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp") /
      ("fathom-documents-fuzz-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  for (const char* const name : {"a.txt", "a.jsonl", "a.txt.gz"}) {
    const std::filesystem::path path = folder / name;
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
    read(path, {});
    read(path, {.split = TextSplit::BlankLines,
                .pattern = {},
                .text_field = "text",
                .most_bytes = 40,
                .skips_broken_lines = true});
  }
  std::filesystem::remove_all(folder);
  return 0;
}
