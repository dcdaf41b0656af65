// A fixed set of threads that run the tiles of one parallel loop at a time.
//
// Which thread runs which tile is unspecified; a loop body must therefore write only what its tile
// owns. Tiles are a property of the problem, never of the number of threads, so that results do not
// depend on it. Each thread begins with a range of neighbouring tiles, so that memory which a tile
// fetches ahead is its own next tile's, and then helps the others.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::platform {

struct ThreadPoolOptions {
  int num_threads = 0;        // 0: one per available processor
  bool pin_to_cores = false;  // thread i to the i-th allowed processor: for first-touch placement
};

// Number of processors this process may run on.
int available_processors();

class ThreadPool {
 public:
  explicit ThreadPool(const ThreadPoolOptions& options = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(tile, thread_idx) for every tile in [0, num_tiles), thread_idx in [0,
  // num_threads()), and returns when all are done. The first exception a body throws is rethrown
  // here. Not re-entrant: a body must not call it.
  template <typename Body>
  void parallel_for(Index num_tiles, const Body& body) {
    if (num_tiles <= 1 || workers_.empty()) {
      for (Index tile = 0; tile < num_tiles; ++tile) {
        body(tile, 0);
      }
      return;
    }
    run(num_tiles, &invoke<Body>, &body);
  }

 private:
  using Call = void (*)(const void* body, Index tile, int thread_idx);
  template <typename Body>
  static void invoke(const void* body, Index tile, int thread_idx) {
    (*static_cast<const Body*>(body))(tile, thread_idx);
  }
  // A thread's tiles that nobody has taken yet; next passes end by one for each look in vain.
  struct alignas(64) Range {
    std::atomic<Index> next{0};
    Index end = 0;
  };
  void run(Index num_tiles, Call call, const void* body);
  void begin_generation();
  void sleep_through(std::uint64_t generation);
  void work(int thread_idx);
  void drain(int thread_idx) noexcept;
  void stop_loop(std::exception_ptr error) noexcept;

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable start_;
  // One loop: its body, how far it is, and the first exception. `generation_` wakes the workers.
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<int> num_sleepers_{0};
  std::atomic<int> num_running_{0};
  std::unique_ptr<Range[]> ranges_;
  Call call_ = nullptr;
  const void* body_ = nullptr;
  std::exception_ptr error_;
  std::atomic<bool> is_stopping_{false};
};

}  // namespace fathom::platform
