#include "apps/fathom/input.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/platform/mapped_file.h"
#include "fathom/model/text/utf8.h"

namespace fathom::app {
namespace {

bool is_stdin(const std::string& file) {
  return file.empty() || file == "-";
}

std::string bytes_of(const platform::MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

std::string read_stdin() {
  std::string bytes;
  char block[1 << 16];
  std::size_t size = 0;
  while ((size = std::fread(block, 1, sizeof block, stdin)) > 0) {
    bytes.append(block, size);
  }
  if (std::ferror(stdin) != 0) {
    fail(ErrorCode::Io, "read standard input: ", std::strerror(errno));
  }
  return bytes;
}

}  // namespace

std::string read_input(const std::string& file) {
  return is_stdin(file) ? read_stdin() : bytes_of(platform::MappedFile(file));
}

std::string read_text_input(const std::string& file) {
  std::string bytes = read_input(file);
  if (formats::is_utf8(bytes)) {
    return bytes;
  }
  std::fprintf(stderr, "fathom: %s: not UTF-8 throughout; U+FFFD stands for each bad sequence\n",
               is_stdin(file) ? "standard input" : file.c_str());
  return text::repair_utf8(bytes);
}

}  // namespace fathom::app
