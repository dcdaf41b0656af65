// What a checkpoint knows about text: its tokenizer and how it wants its conversations.
#pragma once

#include <memory>
#include <string>

#include "fathom/model/text/chat_format.h"
#include "fathom/model/text/text_model.h"
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

using text::TextModel;

// Throws what open_tokenizer throws.
TextModel open_text_model(const std::string& model, const std::string& dialect = "");

}  // namespace fathom
