// The checkpoints of one run: their names, which are kept, and which one to go on from.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fathom/train/loop/checkpoint.h"

namespace fathom::train {

// Why a checkpoint is written; its name says so.
enum class CheckpointKind {
  Regular,  // at every so many steps: kept in rotation, and what a rollback goes back to
  Stop,     // where a run was stopped or ended: until the next regular one
};

class CheckpointFolder {
 public:
  struct Name {
    Index step;
    CheckpointKind kind;
    std::filesystem::path path;
  };

  // Makes the folder where there is none, and removes unfinished files of a killed process. `keep`
  // regular checkpoints stay, at least 1. Nobody else may use the folder meanwhile. Throws Io.
  CheckpointFolder(std::filesystem::path folder, Index keep);

  const std::filesystem::path& folder() const { return folder_; }
  // Newest first.
  std::vector<Name> list() const;
  bool is_empty() const { return list().empty(); }

  // Throws Io; older checkpoints are removed only when this one is on the disk.
  void write(Index step,
             CheckpointKind kind,
             const CheckpointFacts& facts,
             std::span<const optim::StateTensor> tensors);
  // The best state by now, beside the others: best.safetensors.
  void write_best(const CheckpointFacts& facts, std::span<const optim::StateTensor> tensors);
  std::optional<std::filesystem::path> best() const;

  // Offers checkpoints, newest first (only regular ones for a rollback), to `restore` until one is
  // taken without an error; what was wrong with others is told to `on_damage`. Throws
  // InvalidCheckpoint, with the last reason, when there are checkpoints and all are damaged; Io of
  // a file that cannot be read counts as damage. Returns the one that was taken, nothing where
  // there is none.
  using Restore = std::function<void(const CheckpointReader&)>;
  using OnDamage = std::function<void(const std::string&)>;
  std::optional<Name> restore_newest(bool regular_only,
                                     const Restore& restore,
                                     const OnDamage& on_damage) const;

 private:
  void remove_superseded(Index newest_step) const;

  std::filesystem::path folder_;
  Index keep_;
};

// Opens one file and hands it to `restore`. Throws Io and InvalidCheckpoint.
void restore_checkpoint(const std::filesystem::path& path,
                        const CheckpointFolder::Restore& restore);

}  // namespace fathom::train
