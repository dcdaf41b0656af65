#include "fathom/model/kv/snapshot_store.h"

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/model/kv/checksum.h"

namespace fathom::kv {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "snapshot-";
constexpr std::string_view kSuffix = ".fathomkv";
constexpr std::string_view kPartial = ".partial-";
constexpr std::size_t kNumDigits = 32;
constexpr std::size_t kMostNotes = 100;

enum class NameKind { Foreign, Snapshot, Unfinished };

NameKind kind_of_name(std::string_view name) {
  constexpr std::size_t kLength = kPrefix.size() + kNumDigits + kSuffix.size();
  const std::string_view digits = name.substr(std::min(kPrefix.size(), name.size()), kNumDigits);
  if (name.size() < kLength || !name.starts_with(kPrefix) ||
      digits.find_first_not_of("0123456789abcdef") != std::string_view::npos ||
      name.substr(kPrefix.size() + kNumDigits, kSuffix.size()) != kSuffix) {
    return NameKind::Foreign;
  }
  const std::string_view rest = name.substr(kLength);
  if (rest.empty()) {
    return NameKind::Snapshot;
  }
  // As platform::OutputFile calls what it has not committed.
  const bool is_unfinished =
      rest.starts_with(kPartial) && rest.size() > kPartial.size() &&
      rest.find_first_not_of("0123456789", kPartial.size()) == std::string_view::npos;
  return is_unfinished ? NameKind::Unfinished : NameKind::Foreign;
}

// A sequence has the same name whenever it is saved.
std::string name_of(const SnapshotHead& head) {
  std::vector<std::byte> bytes;
  for (const std::string* text : {&head.key.fingerprint, &head.key.scope}) {
    const Checksum checksum = checksum_of(std::as_bytes(std::span(*text)));
    const auto part = std::as_bytes(std::span(&checksum, 1));
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  const auto tokens = std::as_bytes(std::span(head.tokens));
  bytes.insert(bytes.end(), tokens.begin(), tokens.end());
  const Checksum checksum = checksum_of(bytes);
  std::string digits;
  for (const std::uint64_t half : {checksum.high, checksum.low}) {
    for (int shift = 60; shift >= 0; shift -= 4) {
      digits += "0123456789abcdef"[half >> shift & 15U];
    }
  }
  return std::string(kPrefix) + digits + std::string(kSuffix);
}

Index num_shared(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

bool is_prefix(const SnapshotHead& shorter, const SnapshotHead& longer) {
  return shorter.key == longer.key && shorter.num_tokens() <= longer.num_tokens() &&
         std::equal(shorter.tokens.begin(), shorter.tokens.end(), longer.tokens.begin());
}

// The last resumable position up to `most`, 0 where there is none.
Index last_resumable(const SnapshotHead& head, Index most) {
  Index last = 0;
  for (const TokenRange& range : head.resumable) {
    if (range.first <= most) {
      last = std::min(range.last, most);
    }
  }
  return last;
}

// Whether `longer` serves whoever looks for `shorter`.
bool replaces(const SnapshotHead& longer, const SnapshotHead& shorter) {
  return is_prefix(shorter, longer) &&
         last_resumable(longer, shorter.num_tokens()) == shorter.num_tokens();
}

// Throws Io with the system's reason; a file that is gone already is fine.
void remove_file(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (error) {
    fail(ErrorCode::Io, "remove ", path.string(), ": ", error.message());
  }
}

// Makes the folder where there is none, and keeps other processes out of it.
platform::FileLock lock_folder(const fs::path& folder, Index budget_bytes) {
  if (budget_bytes < 0) {
    fail(ErrorCode::InvalidArgument, "snapshots: budget of ", budget_bytes,
         " bytes, expected none that is negative");
  }
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    fail(ErrorCode::Io, "create ", folder.string(), ": ", error.message());
  }
  auto lock = platform::FileLock::try_lock(folder / "fathom-snapshots.lock");
  if (!lock) {
    fail(ErrorCode::InvalidArgument, "snapshots: ", folder.string(),
         ": another process uses this folder, expected one of its own for each server");
  }
  return std::move(*lock);
}

}  // namespace

SnapshotStore::SnapshotStore(fs::path folder, Index budget_bytes)
    : folder_(std::move(folder)),
      budget_bytes_(budget_bytes),
      folder_lock_(lock_folder(folder_, budget_bytes)) {
  scan();
}

void SnapshotStore::scan() {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator entry(folder_, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    paths.push_back(entry->path());
  }
  if (error) {
    fail(ErrorCode::Io, "read ", folder_.string(), ": ", error.message());
  }
  std::vector<Entry> found;
  for (const fs::path& path : paths) {
    try {
      scan_file(path, found);
    } catch (const Error& failure) {
      note(failure.what());
    }
  }
  std::vector<std::pair<fs::file_time_type, Entry>> by_age;
  for (Entry& entry : found) {
    by_age.emplace_back(fs::last_write_time(entry.path, error), std::move(entry));
  }
  std::sort(by_age.begin(), by_age.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first, a.second.path) < std::tie(b.first, b.second.path);
  });
  for (auto& [time, entry] : by_age) {
    entry.last_use = next_use_++;
    used_bytes_ += entry.file_bytes;
    entries_.push_back(std::move(entry));
  }
  try {
    make_room(nullptr, 0);
  } catch (const Error& failure) {
    note(failure.what());
  }
}

void SnapshotStore::scan_file(const fs::path& path, std::vector<Entry>& found) {
  const NameKind kind = kind_of_name(path.filename().string());
  if (kind == NameKind::Foreign) {
    return;
  }
  std::error_code error;
  if (fs::symlink_status(path, error).type() != fs::file_type::regular) {
    note(path.string() + ": left alone: not a regular file");
    return;
  }
  if (kind == NameKind::Unfinished) {
    note(path.string() + ": removed: its writing was interrupted");
    remove_file(path);
    return;
  }
  Entry entry{.id = next_id_++,
              .path = path,
              .file_bytes = to_index(fs::file_size(path, error)),
              .last_use = 0,
              .head = nullptr};
  if (error) {
    fail(ErrorCode::Io, "read ", path.string(), ": ", error.message());
  }
  try {
    entry.head = std::make_shared<SnapshotHead>(SnapshotFile(path).head());
  } catch (const Error& failure) {
    if (failure.code() == ErrorCode::InvalidArgument) {
      note(std::string(failure.what()) + "; removed");
      remove_file(path);
      return;
    }
    // It may be of use to another program; here it only takes room.
    note(std::string(failure.what()) + "; left alone until its room is needed");
  }
  found.push_back(std::move(entry));
}

void SnapshotStore::note(std::string line) {
  if (notes_.size() < kMostNotes) {
    notes_.push_back(std::move(line));
  }
}

// Its time on disk tells the next start; a file system that keeps none costs the order, no more.
void SnapshotStore::touch(Entry& entry) {
  entry.last_use = next_use_++;
  std::error_code ignored;
  fs::last_write_time(entry.path, fs::file_time_type::clock::now(), ignored);
}

std::optional<SnapshotStore::Match> SnapshotStore::find(
    const SnapshotKey& key, std::span<const std::int32_t> tokens) const {
  const std::lock_guard lock(mutex_);
  std::optional<Match> best;
  Index best_bytes = 0;
  for (const Entry& entry : entries_) {
    if (entry.head == nullptr || !(entry.head->key == key)) {
      continue;
    }
    const Index num_tokens = last_resumable(*entry.head, num_shared(tokens, entry.head->tokens));
    const Index before = best ? best->num_tokens : 0;
    if (num_tokens > before || (num_tokens == before && best && entry.file_bytes < best_bytes)) {
      best = Match{.id = entry.id, .num_tokens = num_tokens};
      best_bytes = entry.file_bytes;
    }
  }
  return best;
}

bool SnapshotStore::load(const Match& match, SequenceCache& cache) {
  fs::path path;
  std::shared_ptr<const SnapshotHead> head;
  {
    const std::lock_guard lock(mutex_);
    const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& each) { return each.id == match.id; });
    if (entry == entries_.end()) {
      return false;
    }
    touch(*entry);
    path = entry->path;
    head = entry->head;
  }
  try {
    const SnapshotFile file(path);
    if (!(file.head().key == head->key) || file.head().tokens != head->tokens) {
      fail(ErrorCode::InvalidArgument, path.string(), ": holds another sequence than at the start");
    }
    file.restore(match.num_tokens, cache);
    return true;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::OutOfMemory || error.code() == ErrorCode::Internal) {
      throw;
    }
    drop_unusable(match.id, error);
    return false;
  }
}

void SnapshotStore::drop_unusable(std::uint64_t id, const Error& error) {
  const std::lock_guard lock(mutex_);
  const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& each) { return each.id == id; });
  if (entry == entries_.end()) {
    return;  // evicted meanwhile
  }
  std::error_code ignored;
  if (error.code() == ErrorCode::Io && fs::exists(entry->path, ignored)) {
    note(error.what());  // the system's trouble, not the file's
    return;
  }
  note(std::string(error.what()) + "; removed");
  try {
    remove(entry);
  } catch (const Error& failure) {
    entry->head = nullptr;
    note(failure.what());
  }
}

SnapshotStore::SaveResult SnapshotStore::save(const SnapshotKey& key,
                                              std::span<const std::int32_t> tokens,
                                              const SequenceCache& cache) {
  const std::lock_guard one_at_a_time(save_mutex_);
  const SnapshotImage image(key, {tokens.begin(), tokens.end()}, cache);
  const fs::path path = folder_ / name_of(image.head());
  {
    const std::lock_guard lock(mutex_);
    if (is_covered(image.head())) {
      return SaveResult::AlreadyThere;
    }
    if (image.file_bytes() > budget_bytes_) {
      return SaveResult::TooLarge;
    }
    make_room(&image.head(), image.file_bytes());
  }
  try {
    image.write(path);
  } catch (...) {
    std::error_code ignored;
    fs::remove(path, ignored);  // named, but perhaps not on the disk
    throw;
  }
  const std::lock_guard lock(mutex_);
  add_written(image, path);
  return SaveResult::Written;
}

bool SnapshotStore::is_covered(const SnapshotHead& head) {
  const auto covering = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.head != nullptr && replaces(*entry.head, head);
  });
  if (covering != entries_.end()) {
    touch(*covering);
  }
  return covering != entries_.end();
}

// Until so many bytes fit, removes first what `head` (if any) replaces, then what was not used for
// longest.
void SnapshotStore::make_room(const SnapshotHead* head, Index num_bytes) {
  const auto is_replaced = [&](const Entry& entry) {
    return head != nullptr && entry.head != nullptr && replaces(*head, *entry.head);
  };
  while (!entries_.empty() && used_bytes_ + num_bytes > budget_bytes_) {
    remove(std::min_element(entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) {
      return std::pair(!is_replaced(a), a.last_use) < std::pair(!is_replaced(b), b.last_use);
    }));
  }
}

void SnapshotStore::add_written(const SnapshotImage& image, const fs::path& path) {
  const auto same = std::find_if(entries_.begin(), entries_.end(),
                                 [&](const Entry& entry) { return entry.path == path; });
  if (same != entries_.end()) {  // of another version, written over
    used_bytes_ -= same->file_bytes;
    entries_.erase(same);
  }
  Entry added{.id = next_id_++,
              .path = path,
              .file_bytes = image.file_bytes(),
              .last_use = 0,
              .head = std::make_shared<SnapshotHead>(image.head())};
  touch(added);
  used_bytes_ += added.file_bytes;
  for (std::size_t idx = entries_.size(); idx-- > 0;) {
    if (entries_[idx].head != nullptr && replaces(*added.head, *entries_[idx].head)) {
      try {
        remove(entries_.begin() + static_cast<std::ptrdiff_t>(idx));
      } catch (const Error& failure) {
        note(failure.what());
      }
    }
  }
  entries_.push_back(std::move(added));
}

// Throws Io where the file stays; it then still counts.
void SnapshotStore::remove(std::vector<Entry>::iterator entry) {
  remove_file(entry->path);
  used_bytes_ -= entry->file_bytes;
  entries_.erase(entry);
}

Index SnapshotStore::used_bytes() const {
  const std::lock_guard lock(mutex_);
  return used_bytes_;
}

Index SnapshotStore::num_snapshots() const {
  const std::lock_guard lock(mutex_);
  return std::count_if(entries_.begin(), entries_.end(),
                       [](const Entry& entry) { return entry.head != nullptr; });
}

std::vector<std::string> SnapshotStore::take_notes() {
  const std::lock_guard lock(mutex_);
  return std::exchange(notes_, {});
}

}  // namespace fathom::kv
