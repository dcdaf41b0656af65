// How the model that a person names wants its conversations.
#pragma once

#include <memory>
#include <string>

#include "fathom/model/text/chat_format.h"

namespace fathom::app {

// Of a GGUF file or a checkpoint folder: DeepSeek-V4's prompts in the dialect of the checkpoint,
// else what its chat template stands for. `dialect` (may be empty) asks for one of V4's. Without a
// model, the first dialect. Throws Unsupported for a model of another family without a known
// template.
std::unique_ptr<const text::ChatFormat> open_chat_format(const std::string& model,
                                                         const std::string& dialect);

}  // namespace fathom::app
