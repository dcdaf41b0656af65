// The files of a low-rank adapter: adapter_config.json and adapter_model.safetensors, as PyPI peft
// lays them out.
//
// A tensor is called base_model.model.MODULE.lora_A.weight [r, K] or .lora_B.weight [O, r], where
// MODULE.weight is the weight's name in a checkpoint, in any dialect that the family reads. Routed
// experts have a module each. Written are official names (transformers' for Llama), F32, and in the
// file's metadata "fathom_base", what the base is known by.
#pragma once

#include <filesystem>
#include <memory>

#include "fathom/model/config/model_config.h"
#include "fathom/model/weights/adapter.h"
#include "fathom/model/weights/name_map.h"

namespace fathom::weights {

inline constexpr std::string_view kAdapterConfigFile = "adapter_config.json";
inline constexpr std::string_view kAdapterTensorFile = "adapter_model.safetensors";

// How a model orders and names what an adapter changes.
struct AdapterBase {
  const config::ModelConfig& config;
  const NameMap& names;
};

// `path`: the folder. Throws Io, InvalidCheckpoint or Unsupported naming file and tensor: a matrix
// without its other half, a rank that is not the config's, a number that is not finite, a module
// that the family has not or that no adapter can change.
std::shared_ptr<Adapter> read_adapter(const std::filesystem::path& path, const AdapterBase& base);

// Creates the folder if need be. Both files appear under their names when they are complete; older
// ones are replaced if `overwrite`, else they are refused with InvalidArgument.
void write_adapter(const std::filesystem::path& folder,
                   const Adapter& adapter,
                   const AdapterBase& base,
                   bool overwrite);

}  // namespace fathom::weights
