// Laying out a checkpoint in safetensors: one file, or shards and an index.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "fathom/base/formats/safetensors.h"
#include "fathom/model/weights/checkpoint_writer.h"

namespace fathom::weights {

struct SafetensorsWriteOptions {
  Index max_shard_bytes = 5'000'000'000;  // a larger tensor has a shard of its own
  bool overwrite = false;                 // otherwise a folder with files in it is refused
};

// Of `tensors` only name, dtype and shape are read; they keep their order. What fits one shard is
// model.safetensors alone. config_json becomes config.json.
CheckpointWriter open_safetensors_writer(const std::filesystem::path& folder,
                                         std::span<const formats::SafetensorsEntry> tensors,
                                         const std::string& config_json,
                                         const SafetensorsWriteOptions& options);

}  // namespace fathom::weights
