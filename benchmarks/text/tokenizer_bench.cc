// Seconds to open a tokenizer and to encode texts on one thread, as one JSON object. A zero byte
// ends a text.
//
// usage: tokenizer_bench TEXTS tokenizer.json
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/platform/mapped_file.h"
#include "fathom/model/text/tokenizer.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string read(const char* path) {
  const fathom::platform::MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

int run(const char* text_path, const char* tokenizer_path) {
  using namespace fathom::text;
  const std::string text = read(text_path);
  const auto load_start = Clock::now();
  const auto tokenizer = Tokenizer::parse_json(read(tokenizer_path), tokenizer_path);
  const double load_seconds = seconds_since(load_start);
  const auto start = Clock::now();
  std::size_t num_tokens = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view one = rest.substr(0, rest.find('\0'));
    num_tokens += tokenizer->encode(one, ControlTokens::Recognised).size();
    rest.remove_prefix(std::min(one.size() + 1, rest.size()));
  }
  const double seconds = seconds_since(start);
  std::printf("{\"seconds\": %.6f, \"load_seconds\": %.6f, \"tokens\": %zu}\n", seconds,
              load_seconds, num_tokens);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: tokenizer_bench TEXTS tokenizer.json\n");
    return 2;
  }
  try {
    return run(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tokenizer_bench: %s\n", error.what());
    return 1;
  }
}
