// What the tensors of Llama are called in files: the only place with those strings.
#pragma once

#include "fathom/model/weights/name_map.h"

namespace fathom::llama {

// transformers' names are the official ones; GGUF has its own.
const weights::NameMap& weight_names();

}  // namespace fathom::llama
