// Synthetic checkpoints: random weights for any config, in the official layout or as GGUF.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "fathom/base/platform/thread_pool.h"
#include "fathom/model/config/model_config.h"
#include "fathom/model/weights/name_map.h"

namespace fathom::weights {

// What the numbers are like.
enum class SynthValues {
  Distinct,  // no tensor can be mistaken for another (distribution_of): for tests
  Initial,   // a model to be trained (initial_distribution_of)
};

struct SynthOptions {
  SynthValues values = SynthValues::Distinct;
  std::uint64_t seed = 7;
  bool overwrite = false;
  Index max_shard_bytes = 5'000'000'000;
  std::string name = "random";  // general.name of a GGUF file
  // Told how far the work is, between portions of it; false cancels (Interrupted).
  std::function<bool(Index done_bytes, Index total_bytes)> progress = {};
};

// Writes the folder `out`, or the file if its name ends in .gguf (which has no MTP block: there is
// no form of one that llama.cpp would open). The same seed gives the same bytes, whatever the
// number of threads. On any error nothing is left behind. Memory does not grow with the model.
void write_synthetic(const config::ModelConfig& config,
                     const config::StoragePlan& plan,
                     const NameMap& names,
                     const std::filesystem::path& out,
                     const SynthOptions& options,
                     platform::ThreadPool& pool);

}  // namespace fathom::weights
