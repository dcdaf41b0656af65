#include "fathom/model/text/pre_tokenizer.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::text {
namespace {

struct PreRow {
  std::string_view name;
  std::array<SplitPattern, 6> patterns;
  std::size_t num_patterns;
  bool ignores_merges = false;
  bool adds_bos = false;
};

using enum SplitPattern;

constexpr std::array<SplitPattern, 6> kDeepseek = {ThreeNumbers, HanKana, DeepseekWords};
constexpr std::array<SplitPattern, 6> kDeepseekLlm = {
    Newline, LatinLetters, LatinPunctuation, TrailingSpaces, Ideographs, Number};
constexpr std::array<SplitPattern, 6> kDeepseekCoder = {Newline, SpaceLetters, SpacePunctuation,
                                                        Ideographs, Number};
constexpr std::array<SplitPattern, 6> kDefault = {Punctuation, Gpt2Words, Numbers, ThreeDigits};
constexpr std::array<SplitPattern, 6> kFalcon = {PunctuationTick, Gpt2Words, ThreeDigits};

constexpr PreRow kPres[] = {
    {"joyai-llm", kDeepseek, 3},
    {"deepseek-v3", kDeepseek, 3},
    {"hunyuan-dense", kDeepseek, 3},
    {"deepseek-llm", kDeepseekLlm, 6},
    {"deepseek-coder", kDeepseekCoder, 5},
    {"default", kDefault, 4},
    {"falcon", kFalcon, 3},
    {"gpt-2", {Gpt2Words}, 1},
    {"phi-2", {Gpt2Words}, 1},
    {"mpt", {Gpt2Words}, 1},
    {"olmo", {Gpt2Words}, 1},
    {"jais", {Gpt2Words}, 1},
    {"trillion", {Gpt2Words}, 1},
    {"granite-docling", {Gpt2Words}, 1},
    {"smollm", {Number, Gpt2Words}, 2},
    {"starcoder", {Number, Gpt2Words}, 2},
    {"refact", {Number, Gpt2Words}, 2},
    {"command-r", {Number, Gpt2Words}, 2},
    {"codeshell", {Number, Gpt2Words}, 2},
    {"exaone", {Number, Gpt2Words}, 2},
    {"minerva-7b", {Number, Gpt2Words}, 2},
    {"llama-bpe", {LlamaWords}, 1, true, true},
    {"llama3", {LlamaWords}, 1, true, true},
    {"llama-v3", {LlamaWords}, 1, true, true},
    {"falcon3", {LlamaWords}, 1, true, true},
    {"falcon-h1", {LlamaWords}, 1, true, true},
    {"pixtral", {LlamaWords}, 1, true, true},
    {"midm-2.0", {LlamaWords}, 1, true, true},
    {"lfm2", {LlamaWords}, 1, true, true},
    {"dbrx", {LlamaWords}, 1},
    {"smaug-bpe", {LlamaWords}, 1},
    {"qwen2", {QwenWords}, 1},
    {"deepseek-r1-qwen", {QwenWords}, 1},
    {"megrez", {QwenWords}, 1},
    {"stablelm2", {QwenWords}, 1},
    {"hunyuan", {QwenWords}, 1},
    {"solar-open", {QwenWords}, 1},
    {"grok-2", {QwenWords}, 1},
    {"qwen35", {QwenMarkWords}, 1},
};

}  // namespace

Found PreTokenizer::find(const SplitStep& step, std::string_view text, std::size_t begin) {
  if (step.find != nullptr) {
    return step.find(text, begin);
  }
  const std::size_t position = step.literal.empty() ? text.npos : text.find(step.literal, begin);
  return position == text.npos ? Found{text.size(), text.size()}
                               : Found{position, position + step.literal.size()};
}

std::vector<SplitPart> PreTokenizer::merge_parts(std::vector<SplitPart> parts,
                                                 SplitBehavior behavior) {
  if (behavior == SplitBehavior::Removed) {
    std::erase_if(parts, [](const SplitPart& part) { return part.is_match; });
    return parts;
  }
  // Merging with the next one is merging with the previous one in a mirror.
  const bool is_mirrored = behavior == SplitBehavior::MergedWithNext;
  if (is_mirrored) {
    std::reverse(parts.begin(), parts.end());
  }
  std::vector<SplitPart> merged;
  bool previous_is_match = false;
  for (const SplitPart& part : parts) {
    const bool joins = behavior == SplitBehavior::Contiguous ? part.is_match == previous_is_match
                                                             : part.is_match && !previous_is_match;
    if (joins && !merged.empty()) {
      merged.back().begin = std::min(merged.back().begin, part.begin);
      merged.back().end = std::max(merged.back().end, part.end);
    } else {
      merged.push_back(part);
    }
    previous_is_match = part.is_match;
  }
  if (is_mirrored) {
    std::reverse(merged.begin(), merged.end());
  }
  return merged;
}

GgufPre gguf_pre_tokenizer(std::string_view name, const std::string& source) {
  const auto row = std::find_if(std::begin(kPres), std::end(kPres),
                                [&](const PreRow& each) { return each.name == name; });
  if (row == std::end(kPres)) {
    std::string names;
    for (const PreRow& each : kPres) {
      names += (names.empty() ? "" : " ") + std::string(each.name);
    }
    fail(ErrorCode::Unsupported, source,
         ": metadata key \"tokenizer.ggml.pre\": ", formats::quote(name),
         " is not known, expected one of ", names);
  }
  std::vector<SplitStep> steps;
  for (std::size_t i = 0; i < row->num_patterns; ++i) {
    steps.push_back({.find = scanner_of(row->patterns[i])});
  }
  return {PreTokenizer(std::move(steps)), row->ignores_merges, row->adds_bos};
}

}  // namespace fathom::text
