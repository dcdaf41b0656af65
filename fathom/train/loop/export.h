// Writing a trained model: the official safetensors layout, which run, serve and transformers open.
#pragma once

#include <filesystem>

#include "fathom/base/platform/thread_pool.h"
#include "fathom/model/config/model_config.h"
#include "fathom/model/weights/store.h"

namespace fathom::train {

struct ExportOptions {
  bool overwrite = false;                 // otherwise a folder with files in it is refused
  Index max_shard_bytes = 5'000'000'000;  // a larger model has several files and an index
  // Where tokenizer.json and what else belongs to the text is copied from; empty: nowhere.
  std::filesystem::path text_files = {};
};

// The model whose weights are written; all of it stays the caller's.
struct ExportSource {
  const config::ModelConfig& config;
  const weights::NameMap& names;
  const weights::Store& store;
};

// Writes config.json and every weight of the store as layers see it, in the formats of the plan:
// after quantisation-aware training for that plan a reader gets the same bits. An MTP block that
// the store does not have is left out of the config as well. Appears as a whole or not at all.
// Throws InvalidArgument naming a number that is not finite or a tensor that its format cannot
// hold, InvalidCheckpoint naming a tensor that the store lacks, Io.
void export_model(const ExportSource& source,
                  const config::StoragePlan& plan,
                  const std::filesystem::path& folder,
                  const ExportOptions& options,
                  platform::ThreadPool& pool);

}  // namespace fathom::train
