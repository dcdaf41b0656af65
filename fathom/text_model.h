// What a checkpoint knows about text: its tokenizer and how it wants its conversations.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fathom/model/text/chat_format.h"
#include "fathom/model/text/tokenizer.h"

namespace fathom {

// A folder with tokenizer.json, a tokenizer.json itself, a .gguf file (of a split set: any part) or
// a .safetensors file with tokenizer.json beside it. Throws Io or InvalidArgument when there is no
// tokenizer, and what the readers throw.
std::shared_ptr<const text::Tokenizer> open_tokenizer(const std::string& name);

// Of a GGUF file or a checkpoint folder: DeepSeek-V4's prompts in the dialect of the checkpoint,
// else what its chat template stands for. `dialect` (may be empty) asks for one of V4's. Without a
// model, the first dialect. Throws Unsupported for a model of another family without a known
// template.
std::unique_ptr<const text::ChatFormat> open_chat_format(const std::string& model,
                                                         const std::string& dialect);

struct TextModel {
  std::shared_ptr<const text::Tokenizer> tokenizer;
  // Null where the model has no form of conversation that we know; `no_format` says why.
  std::shared_ptr<const text::ChatFormat> format;
  std::string no_format;
  std::vector<text::TokenId> stop_ids;        // end a reply whenever they are sampled
  std::optional<text::TokenId> raw_text_bos;  // goes in front of text that is no conversation
};

// Throws what open_tokenizer throws.
TextModel open_text_model(const std::string& model, const std::string& dialect = "");

}  // namespace fathom
