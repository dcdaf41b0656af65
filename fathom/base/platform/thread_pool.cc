#include "fathom/base/platform/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::platform {
namespace {

// Loops follow each other within microseconds during a step, so a worker looks for the next one
// this many times before it sleeps.
constexpr int kSpins = 2000;

void pause_processor() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

void pin_current_thread(int idx) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
    return;
  }
  int seen = 0;
  for (std::size_t processor = 0; processor < CPU_SETSIZE; ++processor) {
    if (CPU_ISSET(processor, &allowed) && seen++ == idx) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(processor, &one);
      // Only a hint: a refused pinning costs speed, not correctness.
      pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
      return;
    }
  }
}

}  // namespace

int available_processors() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
    return CPU_COUNT(&allowed);
  }
  return 1;
}

ThreadPool::ThreadPool(const ThreadPoolOptions& options) {
  if (options.num_threads < 0 || options.num_threads > 4096) {
    fail(ErrorCode::InvalidArgument, "threads: expected 0 to 4096, found ", options.num_threads);
  }
  const int count = options.num_threads == 0 ? available_processors() : options.num_threads;
  ranges_ = std::make_unique<Range[]>(static_cast<std::size_t>(count));
  workers_.reserve(static_cast<std::size_t>(count - 1));
  for (int idx = 1; idx < count; ++idx) {
    workers_.emplace_back([this, idx, pin = options.pin_to_cores] {
      if (pin) {
        pin_current_thread(idx);
      }
      work(idx);
    });
  }
}

ThreadPool::~ThreadPool() {
  is_stopping_ = true;
  begin_generation();
  for (std::thread& worker : workers_) {
    worker.join();
  }
}

void ThreadPool::run(Index num_tiles, Call call, const void* body) {
  call_ = call;
  body_ = body;
  error_ = nullptr;
  for (int idx = 0; idx < num_threads(); ++idx) {
    Range& range = ranges_[static_cast<std::size_t>(idx)];
    range.next.store(num_tiles * idx / num_threads(), std::memory_order_relaxed);
    range.end = num_tiles * (idx + 1) / num_threads();
  }
  num_running_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  begin_generation();
  drain(0);
  for (int spin = 0; num_running_.load(std::memory_order_acquire) != 0; ++spin) {
    if (spin < kSpins) {
      pause_processor();
    } else {
      std::this_thread::yield();  // more threads than processors: let the last ones finish
    }
  }
  if (error_) {
    std::rethrow_exception(error_);
  }
}

// A worker counts itself as a sleeper before it looks at the generation for the last time, and here
// the generation moves before sleepers are counted. All four in one order, so either the worker
// sees the new generation or it is seen here; then the lock is free once it waits.
void ThreadPool::begin_generation() {
  generation_.fetch_add(1, std::memory_order_seq_cst);
  if (num_sleepers_.load(std::memory_order_seq_cst) > 0) {
    { const std::lock_guard lock(mutex_); }
    start_.notify_all();
  }
}

void ThreadPool::sleep_through(std::uint64_t generation) {
  num_sleepers_.fetch_add(1, std::memory_order_seq_cst);
  {
    std::unique_lock lock(mutex_);
    start_.wait(lock, [&] { return generation_.load(std::memory_order_seq_cst) != generation; });
  }
  num_sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void ThreadPool::work(int thread_idx) {
  std::uint64_t seen = 0;
  while (true) {
    for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen;
         ++spin) {
      pause_processor();
    }
    if (generation_.load(std::memory_order_acquire) == seen) {
      sleep_through(seen);
    }
    seen = generation_.load(std::memory_order_acquire);
    if (is_stopping_) {
      return;
    }
    drain(thread_idx);
    num_running_.fetch_sub(1, std::memory_order_release);
  }
}

void ThreadPool::drain(int thread_idx) noexcept {
  for (int offset = 0; offset < num_threads(); ++offset) {
    Range& range = ranges_[static_cast<std::size_t>((thread_idx + offset) % num_threads())];
    // Looking before taking: in most loops nobody has tiles left over for others.
    while (range.next.load(std::memory_order_relaxed) < range.end) {
      const Index tile = range.next.fetch_add(1, std::memory_order_relaxed);
      if (tile >= range.end) {
        break;
      }
      try {
        call_(body_, tile, thread_idx);
      } catch (...) {
        stop_loop(std::current_exception());
      }
    }
  }
}

void ThreadPool::stop_loop(std::exception_ptr error) noexcept {
  const std::lock_guard lock(mutex_);
  if (!error_) {
    error_ = std::move(error);
  }
  for (int idx = 0; idx < num_threads(); ++idx) {
    Range& range = ranges_[static_cast<std::size_t>(idx)];
    range.next.store(range.end, std::memory_order_relaxed);
  }
}

}  // namespace fathom::platform
