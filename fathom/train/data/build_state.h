// How far a build of a data set is: what is on the disk and counts, and what does not.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "fathom/train/data/manifest.h"

namespace fathom::data {

struct BuildState {
  std::string settings;      // hash of all that the result depends on
  bool is_selected = false;  // every document is decided about
  bool has_tokenizer = false;
  Index num_decided = 0;  // documents; the lists beside hold what follows from them
  Index num_texts = 0;
  Index num_signatures = 0;
  Index hit_bytes = 0;
  Index num_broken_lines = 0;
  Index num_sharded = 0;  // documents that are in finished shards, or were refused before
  std::vector<ManifestShard> shards;
  bool operator==(const BuildState&) const = default;
};

// The file appears whole or stays as it was. Throws Io.
void save_state(const BuildState& state, const std::filesystem::path& path);

// Nothing where there is no file. Throws Io, InvalidArgument naming the file and what is wrong.
std::optional<BuildState> load_state(const std::filesystem::path& path);

}  // namespace fathom::data
