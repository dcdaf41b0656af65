// Which documents of a build are kept.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "fathom/base/platform/append_file.h"
#include "fathom/base/platform/thread_pool.h"
#include "fathom/train/data/build_options.h"
#include "fathom/train/data/build_state.h"
#include "fathom/train/data/contamination.h"
#include "fathom/train/data/document_stream.h"
#include "fathom/train/data/duplicates.h"

namespace fathom::data {

// Decides about one document after the other, in the order of the inputs; what it knows of those
// before is in files of its folder, so that it goes on where a build was cut. What a document is
// refused for is the first reason in the order of kRefusals.
class Selection {
 public:
  Selection(const BuildOptions& options, const std::filesystem::path& folder, BuildState& state);

  // Until every document is decided about. Calls save() whenever the state may be kept: its lists
  // are on the disk then.
  void run(platform::ThreadPool& pool, const BuildHooks& hooks, const std::function<void()>& save);

  const Decisions& decisions() const { return decisions_; }
  const Contamination& contamination() const { return contamination_; }

 private:
  // What can be said about a document on its own.
  struct Opinion {
    std::optional<Refusal> refusal;
    std::vector<Index> items;  // of the evaluation files
    Hash128 text_hash;
    Signature signature;
  };
  Opinion form_opinion(const Document& document) const;
  std::optional<Refusal> decide(const Document& document, const Opinion& opinion);
  void note_hit(const Document& document, const std::vector<Index>& items);
  void checkpoint();

  const BuildOptions& options_;
  BuildState& state_;
  Decisions decisions_;
  platform::AppendFile hits_;  // a JSON object per line
  Contamination contamination_;
  std::optional<ExactDuplicates> exact_;
  std::optional<NearDuplicates> near_;
};

inline constexpr const char* kHitsFile = "contamination.jsonl";

}  // namespace fathom::data
