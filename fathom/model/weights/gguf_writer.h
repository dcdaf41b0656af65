// Laying out a checkpoint as one GGUF file.
#pragma once

#include <filesystem>
#include <span>

#include "fathom/base/formats/gguf.h"
#include "fathom/model/weights/checkpoint_writer.h"

namespace fathom::weights {

// Of `tensors` name, type and shape are read; they keep their order. An existing file is refused
// unless `overwrite`.
CheckpointWriter open_gguf_writer(const std::filesystem::path& path,
                                  std::span<const formats::GgufWriteValue> metadata,
                                  std::span<const formats::GgufTensor> tensors,
                                  bool overwrite);

}  // namespace fathom::weights
