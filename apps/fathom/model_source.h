// What a person names on the command line: a checkpoint, a config alone, or a built-in config.
#pragma once

#include <optional>
#include <string>

#include "fathom/families.h"

namespace fathom::app {

struct ModelSource {
  config::ParsedConfig config;
  std::optional<OpenedModel> opened;  // of a checkpoint
};

// A checkpoint, a .json file, a folder with nothing but a config, or a built-in name such as
// v4-flash.
ModelSource open_source(const std::string& name);

// A config alone: a .json file (official, transformers or inference keys, with the inference config
// beside it where there is one) or a built-in name.
config::ParsedConfig read_config_source(const std::string& name);

// The storage of a config: what --storage says (may be empty), else what the config promises.
// Throws InvalidArgument when neither says it.
config::StoragePlan storage_of(const config::ParsedConfig& config,
                               const std::string& storage_option,
                               const std::string& source);

}  // namespace fathom::app
