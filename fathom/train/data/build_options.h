// What a build of a data set is asked for.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fathom/train/data/documents.h"
#include "fathom/train/data/quality.h"

namespace fathom::data {

struct BuildOptions {
  std::filesystem::path out;
  std::vector<Input> inputs;  // in this order
  DocumentOptions documents;
  bool repairs_utf8 = true;  // otherwise documents with bytes that are no UTF-8 are refused
  QualityLimits quality;
  bool drops_exact_duplicates = true;
  std::optional<double> near_threshold;  // likeness from which documents are near duplicates
  std::vector<std::filesystem::path> evaluation_files;  // what no document may give away
  double validation_share = 0;
  Index shard_tokens = Index{1} << 24;  // a shard ends with the document that reaches this
  // The tokenizer is trained on the documents that are kept, up to so many bytes of them.
  std::optional<Index> trained_vocabulary;
  bool has_chat_tokens = false;
  Index most_training_bytes = Index{1} << 30;

  // All that the result depends on but the tokenizer: another one is another build.
  std::string describe() const;
};

enum class BuildStage { Select, TrainTokenizer, Shards };

// Calls back to whoever waits; both may be called often.
struct BuildHooks {
  std::function<void(BuildStage stage, Index done, Index total)> progress;
  std::function<bool()> is_stopped;
};

// Throws Interrupted when asked to stop.
void report(const BuildHooks& hooks, BuildStage stage, Index done, Index total);

}  // namespace fathom::data
