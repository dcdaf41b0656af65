// Any bytes as a file of pairs to prefer one of. Refused with one line, or read as pairs whose
// targets weigh 1 together.
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include "fathom/base/core/error.h"
#include "fathom/train/tune/chat_examples.h"

#include "tests/support/replay_engine.h"

namespace {

using namespace fathom;
using namespace fathom::tune;

void check(const Example& example) {
  double weight = 0;
  for (const Piece& piece : example.pieces) {
    if (piece.tokens.size() < 2 || piece.tokens.size() != piece.weights.size()) {
      std::abort();
    }
    for (const float each : piece.weights) {
      weight += static_cast<double>(each);
    }
  }
  if (example.pieces.size() != 2 || !(std::abs(weight - 1) < 1e-4)) {
    std::abort();
  }
}

void read(const std::filesystem::path& path, const ExampleOptions& options) {
  try {
    for (const Example& example :
         read_preference_examples(path, fathom::testing::v4_text_model(), options).examples) {
      check(example);
    }
  } catch (const Error& error) {
    if ((error.code() != ErrorCode::InvalidArgument && error.code() != ErrorCode::Unsupported) ||
        std::string_view(error.what()).find('\n') != std::string_view::npos) {
      std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path path =
      std::filesystem::path(std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp") /
      ("fathom-preferences-fuzz-" + std::to_string(getpid()));
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  read(path, {.most_tokens = 1000, .cuts_long = false});
  read(path, {.most_tokens = 12, .cuts_long = true});
  std::filesystem::remove(path);
  return 0;
}
