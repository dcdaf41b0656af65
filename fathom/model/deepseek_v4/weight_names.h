// What DeepSeek-V4's tensors are called in files (architecture specification 2.1, 2.3, 2.4).
//
// Understood: the official names with the tolerance of the official converter, transformers' names
// (also the mixed ones its save_pretrained writes), llama.cpp's GGUF names and ds4's MTP file.
#pragma once

#include "fathom/model/weights/name_map.h"

namespace fathom::deepseek_v4 {

const weights::NameMap& weight_names();

}  // namespace fathom::deepseek_v4
