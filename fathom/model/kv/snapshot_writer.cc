#include "fathom/model/kv/snapshot_writer.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::kv {
namespace {

constexpr std::size_t kMostNotes = 100;

}  // namespace

SnapshotWriter::SnapshotWriter(SnapshotStore& store, Index max_waiting)
    : store_(store), max_waiting_(to_size(max_waiting)) {
  FATHOM_CHECK(max_waiting > 0);
  thread_ = std::thread([this] { run(); });
}

SnapshotWriter::~SnapshotWriter() {
  drop_waiting();
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool SnapshotWriter::submit(SnapshotKey key, std::vector<std::int32_t> tokens, SequenceCache fork) {
  Job added{std::move(key), std::move(tokens), std::move(fork)};
  std::deque<Job> replaced;  // given back without the lock
  {
    const std::lock_guard lock(mutex_);
    for (auto job = waiting_.begin(); job != waiting_.end();) {
      const Index length = to_index(job->tokens.size());
      const bool is_replaced =
          job->key == added.key && length <= to_index(added.tokens.size()) &&
          std::equal(job->tokens.begin(), job->tokens.end(), added.tokens.begin()) &&
          added.fork.is_resumable(length);
      if (is_replaced) {
        replaced.push_back(std::move(*job));
        job = waiting_.erase(job);
        ++stats_.num_replaced;
      } else {
        ++job;
      }
    }
    if (waiting_.size() >= max_waiting_) {
      ++stats_.num_refused;
      return false;
    }
    waiting_.push_back(std::move(added));
  }
  changed_.notify_all();
  return true;
}

void SnapshotWriter::run() {
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_stopping_ || !waiting_.empty(); });
    if (is_stopping_) {
      return;
    }
    is_writing_ = true;
    {
      const Job job = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      write(job);
    }
    lock.lock();
    is_writing_ = false;
    lock.unlock();
    changed_.notify_all();
  }
}

// Whatever goes wrong costs this snapshot; the next may fit.
void SnapshotWriter::write(const Job& job) {
  try {
    switch (store_.save(job.key, job.tokens, job.fork)) {
      case SnapshotStore::SaveResult::Written:
        return finish(&Stats::num_written, nullptr);
      case SnapshotStore::SaveResult::AlreadyThere:
        return finish(&Stats::num_already_there, nullptr);
      case SnapshotStore::SaveResult::TooLarge:
        return finish(&Stats::num_too_large, nullptr);
    }
  } catch (const std::exception& error) {
    finish(&Stats::num_failed, error.what());
  }
}

void SnapshotWriter::finish(std::uint64_t Stats::*counter, const char* note) {
  const std::lock_guard lock(mutex_);
  ++(stats_.*counter);
  if (note != nullptr && notes_.size() < kMostNotes) {
    notes_.emplace_back(note);
  }
}

void SnapshotWriter::flush() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_.empty() && !is_writing_; });
}

void SnapshotWriter::drop_waiting() {
  std::deque<Job> dropped;  // given back without the lock
  {
    const std::lock_guard lock(mutex_);
    stats_.num_dropped += waiting_.size();
    dropped.swap(waiting_);
  }
  changed_.notify_all();
}

SnapshotWriter::Stats SnapshotWriter::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

std::vector<std::string> SnapshotWriter::take_notes() {
  std::vector<std::string> notes = store_.take_notes();
  const std::lock_guard lock(mutex_);
  notes.insert(notes.end(), notes_.begin(), notes_.end());
  notes_.clear();
  return notes;
}

}  // namespace fathom::kv
