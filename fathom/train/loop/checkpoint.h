// One file of a run's state: tensors and facts, each byte under a checksum.
//
// A safetensors file that other tools open. Tensors are F32 [rows, columns]. The metadata holds
// "format" (kCheckpointFormat), "version", the facts under their names, "checksums" (a JSON object:
// XXH3-128 of each tensor's bytes) and "checksum" (of the names, extents and metadata before it).
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "fathom/train/optim/optimizer.h"

namespace fathom::train {

inline constexpr std::string_view kCheckpointFormat = "fathom-training";
inline constexpr std::string_view kCheckpointVersion = "1";

using CheckpointFacts = std::map<std::string, std::string>;

// Writes the file under another name, waits until it is on the disk, and only then gives it its
// own, over an older file; its folder's names too are on the disk at the end. Throws Io, and what
// was under the name before is untouched.
void write_checkpoint(const std::filesystem::path& path,
                      const CheckpointFacts& facts,
                      std::span<const optim::StateTensor> tensors);

// The facts and tensors of a whole file in memory: refuses, with InvalidCheckpoint naming `name`
// and the place, whatever write_checkpoint did not write, and any damage.
class CheckpointReader {
 public:
  // `bytes` have to outlive it.
  CheckpointReader(std::span<const std::byte> bytes, std::string name);

  const CheckpointFacts& facts() const { return facts_; }
  // Throws InvalidCheckpoint for one that is missing.
  const std::string& fact(const std::string& key) const;

  // Fills the tensors, which must be those of the file by name and extents; no value is changed
  // before all of them were compared. Throws InvalidCheckpoint naming the tensor.
  void read(std::span<const optim::StateTensor> tensors) const;

 private:
  struct Stored {
    Index rows;
    Index columns;
    std::span<const std::byte> bytes;
  };
  std::string name_;
  CheckpointFacts facts_;
  std::map<std::string, Stored, std::less<>> tensors_;
};

}  // namespace fathom::train
