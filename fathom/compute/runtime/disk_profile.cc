#include "fathom/compute/runtime/disk_profile.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/clock.h"

namespace fathom::runtime {
namespace {

using platform::Clock;
using platform::seconds_since;

constexpr std::size_t kAlignment_bytes = 4096;  // of addresses, offsets and sizes of direct reads

[[noreturn]] void fail_io(const std::filesystem::path& folder, const char* action) {
  fail(ErrorCode::Io, folder.string(), ": ", action, " for measuring the disk: ",
       std::strerror(errno));  // NOLINT(concurrency-mt-unsafe): only glibc's own buffer
}

struct FreeBlock {
  void operator()(std::byte* block) const { std::free(block); }
};
using Block = std::unique_ptr<std::byte, FreeBlock>;

Block allocate_block(Index num_bytes) {
  auto* block = static_cast<std::byte*>(std::aligned_alloc(kAlignment_bytes, to_size(num_bytes)));
  if (block == nullptr) {
    fail(ErrorCode::OutOfMemory, "disk probe: no ", num_bytes, " bytes for a block");
  }
  return Block(block);
}

// A file without a name: it is gone whatever happens to the process.
class UnnamedFile {
 public:
  explicit UnnamedFile(const DiskProbeOptions& options) : folder_(options.folder) {
    std::string name = (folder_ / "fathom-probe-XXXXXX").string();
    descriptor_ = mkstemp(name.data());
    if (descriptor_ < 0) {
      fail_io(folder_, "create a file");
    }
    // Opened again by name while it has one, for reading past the page cache.
    direct_ = open(name.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    unlink(name.c_str());
    write_all(options);
  }
  ~UnnamedFile() {
    close(descriptor_);
    if (direct_ >= 0) {
      close(direct_);
    }
  }
  UnnamedFile(const UnnamedFile&) = delete;
  UnnamedFile& operator=(const UnnamedFile&) = delete;

  bool is_direct() const { return direct_ >= 0; }
  // Nothing where the system refuses the read.
  bool read(std::byte* block, Index num_bytes, Index offset) const {
    const int descriptor = is_direct() ? direct_ : descriptor_;
    return pread(descriptor, block, to_size(num_bytes), offset) == num_bytes;
  }
  void forget_pages() const { posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED); }
  // Some systems open a file for direct reads and refuse every one of them.
  void give_up_direct() {
    close(direct_);
    direct_ = -1;
  }

 private:
  void write_all(const DiskProbeOptions& options) const {
    const Block block = allocate_block(options.block_bytes);
    std::mt19937_64 random(1);  // disks may compress what repeats
    for (Index at = 0; at < options.block_bytes; at += Index{sizeof(std::uint64_t)}) {
      const std::uint64_t number = random();
      std::memcpy(block.get() + at, &number, sizeof(number));
    }
    for (Index offset = 0; offset < options.file_bytes; offset += options.block_bytes) {
      if (pwrite(descriptor_, block.get(), to_size(options.block_bytes), offset) !=
          options.block_bytes) {
        fail_io(folder_, "write a file");
      }
    }
    if (fdatasync(descriptor_) != 0) {
      fail_io(folder_, "write a file");
    }
  }

  std::filesystem::path folder_;
  int descriptor_ = -1;
  int direct_ = -1;
};

// Reads until the time is up; returns bytes per second of all threads together.
double read_at_depth(const UnnamedFile& file, const DiskProbeOptions& options, int depth) {
  const Index num_blocks = options.file_bytes / options.block_bytes;
  std::vector<Block> blocks;
  for (int reader = 0; reader < depth; ++reader) {
    blocks.push_back(allocate_block(options.block_bytes));
  }
  file.forget_pages();
  std::atomic<Index> num_read{0};
  std::atomic<bool> has_failed{false};
  const auto start = Clock::now();
  const auto read_blocks = [&](int reader) {
    std::mt19937_64 random(static_cast<std::uint64_t>(reader) + 1);
    std::uniform_int_distribution<Index> any(0, num_blocks - 1);
    std::byte* const block = blocks[to_size(reader)].get();
    while (!has_failed && seconds_since(start) < options.seconds_per_depth) {
      if (!file.read(block, options.block_bytes, any(random) * options.block_bytes)) {
        has_failed = true;
        return;
      }
      ++num_read;
    }
  };
  std::vector<std::thread> readers;
  for (int reader = 0; reader < depth; ++reader) {
    readers.emplace_back(read_blocks, reader);
  }
  for (std::thread& reader : readers) {
    reader.join();
  }
  return has_failed ? 0
                    : static_cast<double>(num_read * options.block_bytes) / seconds_since(start);
}

void check(const DiskProbeOptions& options) {
  const auto alignment = static_cast<Index>(kAlignment_bytes);
  if (options.block_bytes < alignment || options.block_bytes % alignment != 0 ||
      options.file_bytes < options.block_bytes || options.queue_depths.empty()) {
    fail(ErrorCode::InvalidArgument, "disk probe: blocks of ", options.block_bytes,
         " bytes of a file of ", options.file_bytes, ", expected whole pages of ", alignment,
         " bytes and a file of at least one block");
  }
}

}  // namespace

DiskProfile measure_disk(const DiskProbeOptions& options) {
  check(options);
  DiskProbeOptions whole = options;
  whole.file_bytes = options.file_bytes / options.block_bytes * options.block_bytes;
  UnnamedFile file(whole);
  const auto told = [&] {
    if (options.on_measured) {
      options.on_measured();
    }
  };
  told();
  const Block block = allocate_block(whole.block_bytes);
  if (file.is_direct() && !file.read(block.get(), whole.block_bytes, 0)) {
    file.give_up_direct();
  }
  DiskProfile profile{.reads = {}, .is_direct = file.is_direct()};
  for (const int depth : whole.queue_depths) {
    const double rate = read_at_depth(file, whole, depth);
    if (!(rate > 0)) {
      fail_io(options.folder, "read a file");
    }
    profile.reads.push_back({depth, rate});
    told();
  }
  return profile;
}

}  // namespace fathom::runtime
