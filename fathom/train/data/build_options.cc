#include "fathom/train/data/build_options.h"

#include <chrono>

#include <fmt/format.h>

#include "fathom/base/core/error.h"

namespace fathom::data {
namespace {

// A file that was written since is another one.
std::string describe_file(const std::filesystem::path& path) {
  const auto time = std::filesystem::last_write_time(path).time_since_epoch();
  return fmt::format("{} {} {}\n", path.string(), std::filesystem::file_size(path),
                     std::chrono::duration_cast<std::chrono::nanoseconds>(time).count());
}

}  // namespace

std::string BuildOptions::describe() const {
  std::string text =
      fmt::format("split {} {} field {} bytes {} skips {} repairs {}\n",
                  static_cast<int>(documents.split), documents.pattern, documents.text_field,
                  documents.most_bytes, documents.skips_broken_lines, repairs_utf8);
  text += fmt::format("quality {} {} {} {} {} {}\n", quality.min_characters, quality.max_characters,
                      quality.min_letters, quality.max_symbols, quality.max_repeated_lines,
                      quality.max_word_characters);
  text += fmt::format("duplicates {} {} validation {} shards {} vocabulary {} {} {}\n",
                      drops_exact_duplicates, near_threshold.value_or(0), validation_share,
                      shard_tokens, trained_vocabulary.value_or(0), has_chat_tokens,
                      most_training_bytes);
  for (const Input& input : inputs) {
    text += "input " + describe_file(input.path);
  }
  for (const std::filesystem::path& file : evaluation_files) {
    text += "evaluation " + describe_file(file);
  }
  return text;
}

void report(const BuildHooks& hooks, BuildStage stage, Index done, Index total) {
  if (hooks.is_stopped && hooks.is_stopped()) {
    fail(ErrorCode::Interrupted,
         "interrupted; what is done is kept, and the same command goes on from there");
  }
  if (hooks.progress) {
    hooks.progress(stage, done, total);
  }
}

}  // namespace fathom::data
