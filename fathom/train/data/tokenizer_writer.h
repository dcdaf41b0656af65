// A trained vocabulary as a tokenizer.json: what Hugging Face tokenizers and our own reader load.
#pragma once

#include <string>
#include <vector>

#include "fathom/train/data/bpe_trainer.h"

namespace fathom::data {

// Byte-level, with DeepSeek-V4's pre-tokenizer; special tokens are matched in raw text.
std::string tokenizer_json(const TrainedVocabulary& vocabulary);

// What begins and ends a text in DeepSeek-V4's vocabulary; with `has_chat` also every control token
// that its prompts are made of.
std::vector<std::string> v4_special_tokens(bool has_chat);

}  // namespace fathom::data
