// The one table of model families, and opening a model of any of them.
//
// This and fathom.{h,cc} are the door: the only files that see every floor.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "fathom/model/config/read_config.h"
#include "fathom/model/layers/causal_lm.h"
#include "fathom/model/weights/store.h"

namespace fathom {

// A model on disk before its layers are built: headers were read, nothing else.
struct OpenedModel {
  std::shared_ptr<const weights::Checkpoint> checkpoint;
  config::ParsedConfig config;
  std::shared_ptr<weights::Store> store;
};

// Throws Io or InvalidCheckpoint naming the file.
OpenedModel open_model(const std::filesystem::path& path, const platform::MapOptions& options = {});

// How the family of a config calls its tensors.
const weights::NameMap& names_of(config::Family family);

// Throws Unsupported where a family has no such rounding points.
void check_numerics(config::Family family, ops::Numerics numerics);

// The layers over the opened weights. Throws InvalidCheckpoint naming the first missing tensor.
std::unique_ptr<layers::CausalLm> build_model(const OpenedModel& opened);

}  // namespace fathom
