// Cutting a text into pieces that no merge crosses: a sequence of splits, each over every piece
// that the one before left.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fathom/model/text/split_patterns.h"

namespace fathom::text {

// What becomes of matches (the names of Hugging Face tokenizers); what lies between them always is
// a piece of its own, but for the merging ones.
enum class SplitBehavior { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };

struct SplitStep {
  FindPattern find = nullptr;
  std::string literal = {};  // looked for where there is no pattern
  SplitBehavior behavior = SplitBehavior::Isolated;
  bool is_inverted = false;  // what lies between matches counts as the matches
  // Before this step a piece that does not begin with a blank gets one.
  bool adds_blank = false;
};

// A piece of a text while it is split.
struct SplitPart {
  std::size_t begin;
  std::size_t end;
  bool is_match;
};

class PreTokenizer {
 public:
  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<SplitStep> steps) : steps_(std::move(steps)) {}

  // Calls sink(piece) for each piece of a well-formed text, in order; pieces are never empty.
  template <typename Sink>
  void split(std::string_view text, const Sink& sink) const {
    if (!text.empty()) {
      split_from(0, text, sink);
    }
  }

 private:
  template <typename Sink>
  void split_from(std::size_t step_idx, std::string_view text, const Sink& sink) const {
    if (step_idx == steps_.size()) {
      sink(text);
      return;
    }
    const SplitStep& step = steps_[step_idx];
    if (step.adds_blank && !text.starts_with(' ')) {
      split_at(step_idx, " " + std::string(text), sink);
    } else {
      split_at(step_idx, text, sink);
    }
  }

  template <typename Sink>
  void split_at(std::size_t step_idx, std::string_view text, const Sink& sink) const {
    const SplitStep& step = steps_[step_idx];
    const auto pass_on = [&](const SplitPart& part) {
      split_from(step_idx + 1, text.substr(part.begin, part.end - part.begin), sink);
    };
    if (step.behavior == SplitBehavior::Isolated) {
      for_each_part(step, text, pass_on);
      return;
    }
    std::vector<SplitPart> parts;
    for_each_part(step, text, [&](const SplitPart& part) { parts.push_back(part); });
    for (const SplitPart& part : merge_parts(std::move(parts), step.behavior)) {
      pass_on(part);
    }
  }

  template <typename Take>
  static void for_each_part(const SplitStep& step, std::string_view text, const Take& take) {
    std::size_t position = 0;
    while (position < text.size()) {
      const Found found = find(step, text, position);
      if (found.begin > position) {
        take(SplitPart{position, found.begin, step.is_inverted});
      }
      if (found.end > found.begin) {
        take(SplitPart{found.begin, found.end, !step.is_inverted});
      }
      position = found.end;
    }
  }

  // The next match at or after `begin`; empty and at the end of the text when there is none.
  static Found find(const SplitStep& step, std::string_view text, std::size_t begin);
  static std::vector<SplitPart> merge_parts(std::vector<SplitPart> parts, SplitBehavior behavior);

  std::vector<SplitStep> steps_;
};

// The steps that a GGUF file means by tokenizer.ggml.pre. Throws Unsupported for a name that is not
// in the table. `source` names the file.
struct GgufPre {
  PreTokenizer pre_tokenizer;
  bool ignores_merges;  // a piece that is a token is that token, whatever the merges say
  bool adds_bos;        // unless the file says otherwise
};
GgufPre gguf_pre_tokenizer(std::string_view name, const std::string& source);

}  // namespace fathom::text
