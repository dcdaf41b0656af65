// Runs a fuzz target without libFuzzer: first every file of the kept corpus, then mutations of them
// until the time is up or their number is reached. The mutations follow from the seed and from the
// files in the order of their names: they are the same on every machine, so a finding can be
// repeated, and a gate that bounds their number meets nothing that was not met before it.
//
// usage: TARGET [--seconds N] [--mutations N] [--seed N] CORPUS_DIR...
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

std::vector<Bytes> read_corpus(const std::vector<std::string>& folders) {
  std::vector<std::filesystem::path> paths;
  for (const std::string& folder : folders) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file()) {
        paths.push_back(entry.path());
      }
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> corpus;
  for (const std::filesystem::path& path : paths) {
    std::ifstream file(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return corpus;
}

// One to eight edits: flip a bit, set a byte, insert, erase, copy a piece of another file.
Bytes mutate(const std::vector<Bytes>& corpus, std::mt19937_64& random) {
  const auto below = [&](std::size_t limit) { return limit == 0 ? 0 : random() % limit; };
  Bytes bytes = corpus[below(corpus.size())];
  const std::size_t num_edits = 1 + below(8);
  for (std::size_t edit = 0; edit < num_edits; ++edit) {
    const std::size_t at = below(bytes.size() + 1);
    const auto position = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(6)) {
      case 0:
        if (at < bytes.size()) {
          bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1U << below(8)));
        }
        break;
      case 1:
        if (at < bytes.size()) {
          bytes[at] = static_cast<std::uint8_t>(random());
        }
        break;
      case 2:
        bytes.insert(position, 1 + below(16), static_cast<std::uint8_t>(random()));
        break;
      case 3:
        bytes.erase(position, position + static_cast<std::ptrdiff_t>(below(bytes.size() - at + 1)));
        break;
      case 4: {  // an absurd 64-bit number
        const std::uint64_t value = (below(2) == 0) ? ~std::uint64_t{0} >> below(64) : random();
        for (std::size_t i = 0; i < 8 && at + i < bytes.size(); ++i) {
          bytes[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
        }
        break;
      }
      default: {
        const Bytes& other = corpus[below(corpus.size())];
        const std::size_t from = below(other.size());
        const std::size_t count = below(std::min<std::size_t>(other.size() - from, 256) + 1);
        bytes.insert(position, other.begin() + static_cast<std::ptrdiff_t>(from),
                     other.begin() + static_cast<std::ptrdiff_t>(from + count));
      }
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 2;
  std::size_t most_mutations = std::numeric_limits<std::size_t>::max();
  std::uint64_t seed = 1;
  std::vector<std::string> folders;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--seconds" && i + 1 < argc) {
      seconds = std::atof(argv[++i]);
    } else if (argument == "--mutations" && i + 1 < argc) {
      most_mutations = std::strtoull(argv[++i], nullptr, 10);
    } else if (argument == "--seed" && i + 1 < argc) {
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else {
      folders.push_back(argument);
    }
  }
  const std::vector<Bytes> corpus = read_corpus(folders);
  if (corpus.empty()) {
    std::fprintf(stderr, "no corpus file in the given folders\n");
    return 1;
  }
  for (const Bytes& bytes : corpus) {
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::mt19937_64 random(seed);
  const auto start = std::chrono::steady_clock::now();
  std::size_t num_runs = 0;
  while (num_runs < most_mutations &&
         std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() <
             seconds) {
    const Bytes bytes = mutate(corpus, random);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    ++num_runs;
  }
  std::printf("%zu corpus files, %zu mutations, no finding\n", corpus.size(), num_runs);
  return 0;
}
