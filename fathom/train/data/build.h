// Building a data set: inputs to shards, in stages that are never done twice.
//
// First every document is decided about, then the tokenizer is trained where one is wanted, then
// the documents that are kept are written as shards. In its folder OUT/.build a build keeps what it
// knows, so that one that was cut, however, goes on when it is asked for again: its result is the
// same, byte for byte. Memory does not grow with the inputs but for the look-up tables of
// duplicates and 16 bytes per document of the shard being written.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "fathom/base/platform/thread_pool.h"
#include "fathom/model/text/text_model.h"
#include "fathom/train/data/build_options.h"
#include "fathom/train/data/manifest.h"

namespace fathom::data {

// A tokenizer that exists: of a model, or a tokenizer.json alone.
struct BuildTokenizer {
  text::TextModel model;
  std::string source;  // for the manifest
  std::string json;    // the text of a tokenizer.json, which is put beside the shards; may be empty
};

// The tokenizer is what `options.trained_vocabulary` asks for where none is given.
//
// Throws Io (a full disk leaves what is finished, to go on from), Interrupted, what the readers of
// inputs throw; InvalidArgument where OUT holds another build, finished or not, where another
// process builds there, and where no document is kept.
Manifest build(const BuildOptions& options,
               std::optional<BuildTokenizer> tokenizer,
               platform::ThreadPool& pool,
               const BuildHooks& hooks);

// Removes what a build, finished or not, left in a folder, and nothing else. Throws Io.
void remove_build(const std::filesystem::path& out);

}  // namespace fathom::data
