#include "apps/fathom/tokenizer_source.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <regex>
#include <string_view>
#include <system_error>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/gguf.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/platform/mapped_file.h"
#include "fathom/model/text/utf8.h"

namespace fathom::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kJsonName = "tokenizer.json";

std::string_view view_of(const platform::MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// The part of a split set that holds the metadata.
fs::path first_part(const fs::path& path) {
  static const std::regex kPart(R"((.*-)\d{5}(-of-\d{5}\.gguf))");
  std::smatch match;
  const std::string name = path.filename().string();
  return std::regex_match(name, match, kPart)
             ? path.parent_path() / (match[1].str() + "00001" + match[2].str())
             : path;
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

std::shared_ptr<const text::Tokenizer> open_tokenizer(const std::string& name) {
  fs::path path = name;
  if (path.extension() == ".gguf") {
    path = first_part(path);
    const platform::MappedFile file(path);
    return text::Tokenizer::from_gguf(formats::parse_gguf_header(file.bytes(), path.string()),
                                      path.string());
  }
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    path /= kJsonName;
  } else if (path.extension() == ".safetensors") {
    path.replace_filename(kJsonName);
  }
  if (path != fs::path(name) && !fs::exists(path, ignored)) {
    fail(ErrorCode::InvalidArgument, name, ": no tokenizer, expected ", path.string());
  }
  const platform::MappedFile file(path);
  return text::Tokenizer::parse_json(view_of(file), path.string());
}

std::string read_input(const std::string& file) {
  return file.empty() ? read_stdin() : std::string(view_of(platform::MappedFile(file)));
}

std::string read_text_input(const std::string& file) {
  std::string bytes = read_input(file);
  if (formats::is_utf8(bytes)) {
    return bytes;
  }
  std::fprintf(stderr, "fathom: %s: not UTF-8 throughout; U+FFFD stands for each bad sequence\n",
               file.empty() ? "standard input" : file.c_str());
  return text::repair_utf8(bytes);
}

}  // namespace fathom::app
