// A model that serves many requests at once.
//
// Part of the door: for the program; not installed.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "fathom/fathom.h"
#include "fathom/serve/engine/local_engine.h"

namespace fathom {

// An adapter as requests call it, and the folder that holds it.
struct NamedAdapter {
  std::string name;
  std::string path;
};

// A checkpoint as an engine computes with it, also with each of the adapters beside its weights.
// Throws what Model::open throws.
engine::EngineModel open_engine_model(const std::string& path,
                                      const ModelOptions& model,
                                      std::span<const NamedAdapter> adapters = {});

// The limits of one of an engine's adapters: those of its model under another fingerprint.
engine::ModelLimits limits_of(const engine::LocalEngine& engine, const std::string& adapter);

// An engine for a checkpoint and the text that belongs to it. `dialect` (may be empty) asks for one
// of DeepSeek-V4's prompts. Throws what Model::open and open_text_model throw, and InvalidArgument
// for options that do not fit the model.
std::shared_ptr<engine::LocalEngine> open_engine(const std::string& path,
                                                 const ModelOptions& model,
                                                 const engine::EngineOptions& options,
                                                 const std::string& dialect = "",
                                                 std::span<const NamedAdapter> adapters = {});

}  // namespace fathom
