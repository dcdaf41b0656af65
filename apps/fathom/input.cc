#include "apps/fathom/input.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/platform/small_file.h"
#include "fathom/model/text/utf8.h"

namespace fathom::app {
namespace {

bool is_stdin(const std::string& file) {
  return file.empty() || file == "-";
}

using FileCloser = int (*)(std::FILE*);
using File = std::unique_ptr<std::FILE, FileCloser>;

// Standard input stays open.
File open_input(const std::string& file) {
  const auto leave_open = [](std::FILE*) { return 0; };
  return is_stdin(file) ? File(stdin, leave_open)
                        : File(std::fopen(file.c_str(), "rb"), &std::fclose);
}

[[noreturn]] void fail_to_read(const std::string& file) {
  // std::strerror may not be called by two threads at once.
  fail(ErrorCode::Io, "read ", is_stdin(file) ? "standard input" : file, ": ",
       std::generic_category().message(errno));
}

}  // namespace

void read_pieces(const std::string& file, const std::function<void(std::string_view)>& take) {
  const File input = open_input(file);
  if (input == nullptr) {
    fail_to_read(file);
  }
  std::array<char, 65536> piece;
  while (std::feof(input.get()) == 0) {
    const std::size_t size = std::fread(piece.data(), 1, piece.size(), input.get());
    if (std::ferror(input.get()) != 0) {
      fail_to_read(file);
    }
    take(std::string_view(piece.data(), size));
  }
}

std::string read_input(const std::string& file) {
  if (!is_stdin(file)) {
    return platform::read_file(file);
  }
  std::string bytes;
  read_pieces(file, [&](std::string_view piece) { bytes += piece; });
  return bytes;
}

std::string repaired_text(const std::string& bytes, const std::string& source) {
  if (formats::is_utf8(bytes)) {
    return bytes;
  }
  std::fprintf(stderr, "fathom: %s: not UTF-8 throughout; U+FFFD stands for each bad sequence\n",
               source.c_str());
  return text::repair_utf8(bytes);
}

std::string read_text_input(const std::string& file) {
  return repaired_text(read_input(file), is_stdin(file) ? "standard input" : file);
}

}  // namespace fathom::app
