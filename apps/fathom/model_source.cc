#include "apps/fathom/model_source.h"

#include <array>
#include <filesystem>
#include <system_error>

#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/small_file.h"

namespace fathom::app {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfigSuffix = ".json";

// The official inference config spells the number of layers in its own way.
bool is_inference_config(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  return json.is_object() && json.contains("n_layers") && !json.contains("num_hidden_layers");
}

// inference/config.json, inference_config.json, or X.inference.config.json beside X.config.json.
std::optional<fs::path> find_inference_config(const fs::path& config) {
  const fs::path folder = config.parent_path();
  std::string name = config.filename().string();
  constexpr std::string_view kTail = ".config.json";
  std::array<fs::path, 3> candidates = {folder / "inference" / "config.json",
                                        folder / "inference_config.json", fs::path()};
  if (name.ends_with(kTail)) {
    candidates[2] = folder / name.replace(name.size() - kTail.size(), 1, ".inference.");
  }
  for (const fs::path& candidate : candidates) {
    std::error_code ignored;
    if (!candidate.empty() && fs::is_regular_file(candidate, ignored)) {
      return candidate;
    }
  }
  return std::nullopt;
}

bool has_weights(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") ||
        name.ends_with(".gguf")) {
      return true;
    }
  }
  return false;
}

}  // namespace

config::ParsedConfig read_config_source(const std::string& name) {
  if (auto builtin = config::find_builtin_config(name)) {
    return *std::move(builtin);
  }
  const std::string text = platform::read_file(name);
  if (is_inference_config(text)) {
    return config::parse_inference_config_json(text, name);
  }
  const std::optional<fs::path> inference = find_inference_config(name);
  return inference ? config::parse_config_json(text, name, platform::read_file(*inference),
                                               inference->string())
                   : config::parse_config_json(text, name);
}

ModelSource open_source(const std::string& name) {
  std::error_code ignored;
  const fs::path path(name);
  const fs::path inside = path / "config.json";
  if (fs::is_directory(path, ignored) && fs::exists(inside, ignored) && !has_weights(path)) {
    return {read_config_source(inside.string()), std::nullopt};
  }
  if (name.ends_with(kConfigSuffix) ||
      (!fs::exists(path, ignored) && config::find_builtin_config(name))) {
    return {read_config_source(name), std::nullopt};
  }
  OpenedModel opened = open_model(path);
  config::ParsedConfig config = opened.config;
  return {std::move(config), std::move(opened)};
}

config::StoragePlan storage_of(const config::ParsedConfig& config,
                               const std::string& storage_option,
                               const std::string& source) {
  if (!storage_option.empty()) {
    return config::storage_plan_from_name(storage_option);
  }
  if (!config.storage) {
    fail(ErrorCode::InvalidArgument, source,
         ": does not say how weights are stored (no dtype or expert_dtype, no inference config): "
         "add --storage fp4, fp8, bf16 or f32");
  }
  return *config.storage;
}

}  // namespace fathom::app
