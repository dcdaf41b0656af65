#include "fathom/train/loop/checkpoint_folder.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/mapped_file.h"
#include "fathom/base/platform/output_file.h"

namespace fathom::train {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".safetensors";
constexpr std::array<std::pair<CheckpointKind, std::string_view>, 2> kPrefixes = {
    {{CheckpointKind::Regular, "step-"}, {CheckpointKind::Stop, "stop-"}}};

std::optional<CheckpointFolder::Name> parse_name(const fs::path& path) {
  const std::string name = path.filename().string();
  for (const auto& [kind, prefix] : kPrefixes) {
    if (!name.starts_with(prefix) || !name.ends_with(kSuffix) ||
        name.size() <= prefix.size() + kSuffix.size()) {
      continue;
    }
    const char* const end = name.data() + name.size() - kSuffix.size();
    Index step = 0;
    const auto [stop, error] = std::from_chars(name.data() + prefix.size(), end, step);
    if (error == std::errc() && stop == end && step >= 0) {
      return CheckpointFolder::Name{step, kind, path};
    }
  }
  return std::nullopt;
}

}  // namespace

CheckpointFolder::CheckpointFolder(fs::path folder, Index keep)
    : folder_(std::move(folder)), keep_(keep) {
  FATHOM_CHECK(keep >= 1);
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) {
    fail(ErrorCode::Io, "create ", folder_.string(), ": ", error.message());
  }
  platform::remove_unfinished_files(folder_);
}

std::vector<CheckpointFolder::Name> CheckpointFolder::list() const {
  std::vector<Name> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    if (auto name = parse_name(entry.path())) {
      names.push_back(*std::move(name));
    }
  }
  std::sort(names.begin(), names.end(), [](const Name& a, const Name& b) {
    return a.step != b.step ? a.step > b.step : a.kind < b.kind;
  });
  return names;
}

void CheckpointFolder::write(Index step,
                             CheckpointKind kind,
                             const CheckpointFacts& facts,
                             std::span<const optim::StateTensor> tensors) {
  const std::string_view prefix = kPrefixes[kind == CheckpointKind::Regular ? 0 : 1].second;
  write_checkpoint(folder_ / fmt::format("{}{:09}{}", prefix, step, kSuffix), facts, tensors);
  if (kind == CheckpointKind::Regular) {
    remove_superseded(step);
  }
}

// What is newer than `newest_step` was left behind by a rollback or another run's settings; going
// on would otherwise begin there.
void CheckpointFolder::remove_superseded(Index newest_step) const {
  Index num_regular = 0;
  for (const Name& name : list()) {
    const bool is_regular = name.kind == CheckpointKind::Regular && name.step <= newest_step;
    num_regular += is_regular ? 1 : 0;
    if (!is_regular || num_regular > keep_) {
      std::error_code ignored;
      fs::remove(name.path, ignored);
    }
  }
}

void CheckpointFolder::write_best(const CheckpointFacts& facts,
                                  std::span<const optim::StateTensor> tensors) {
  write_checkpoint(folder_ / "best.safetensors", facts, tensors);
}

std::optional<fs::path> CheckpointFolder::best() const {
  fs::path path = folder_ / "best.safetensors";
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) ? std::optional(std::move(path)) : std::nullopt;
}

std::optional<CheckpointFolder::Name> CheckpointFolder::restore_newest(
    bool regular_only, const Restore& restore, const OnDamage& on_damage) const {
  std::string last;
  for (const Name& name : list()) {
    if (regular_only && name.kind != CheckpointKind::Regular) {
      continue;
    }
    try {
      restore_checkpoint(name.path, restore);
      return name;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::InvalidCheckpoint && error.code() != ErrorCode::Io) {
        throw;
      }
      last = error.what();
      on_damage(last);
    }
  }
  if (!last.empty()) {
    fail(ErrorCode::InvalidCheckpoint, folder_.string(),
         ": every checkpoint is damaged; the last one: ", last,
         " (begin again in another folder, or restore a copy)");
  }
  return std::nullopt;
}

void restore_checkpoint(const fs::path& path, const CheckpointFolder::Restore& restore) {
  const platform::MappedFile file(path);
  restore(CheckpointReader(file.bytes(), path.string()));
}

}  // namespace fathom::train
