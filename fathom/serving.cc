#include "fathom/serving.h"

#include <algorithm>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "fathom/adapters.h"
#include "fathom/loaded_model.h"
#include "fathom/model/kv/checksum.h"
#include "fathom/text_model.h"

namespace fathom {
namespace {

std::string hex(const kv::Checksum& sum) {
  return fmt::format("{:016x}{:016x}", sum.high, sum.low);
}

std::string hash_of(const std::string& text) {
  return hex(kv::checksum_of(std::as_bytes(std::span(text))));
}

// Of a build and what it computes with: all that results may depend on besides the weights.
std::string computation_identity(const ModelFacts& facts) {
  return fmt::format("{} {} {} {} {} {}", facts.family, facts.backend, facts.numerics,
                     facts.vocab_size, facts.num_layers, kApiVersion);
}

// Other weights of the same shape in a place that is not sampled are told apart by their file.
std::string files_identity(const weights::Checkpoint& checkpoint) {
  std::string described;
  for (const std::filesystem::path& file : checkpoint.files()) {
    std::error_code ignored;
    const auto time = std::filesystem::last_write_time(file, ignored).time_since_epoch().count();
    described += fmt::format("{} {} {}\n", file.filename().string(),
                             std::filesystem::file_size(file, ignored), time);
  }
  return described;
}

std::string fingerprint_of(const std::string& identity) {
  return "fp_" + hash_of(identity).substr(0, 16);
}

}  // namespace

engine::EngineModel open_engine_model(const std::string& path,
                                      const ModelOptions& model,
                                      std::span<const NamedAdapter> adapters) {
  struct Owner {
    std::shared_ptr<LoadedModel> loaded;
    std::vector<LoadedModel::Adapted> adapted;
  };
  const auto owner = std::make_shared<Owner>();
  owner->loaded = std::make_shared<LoadedModel>(path, model);
  LoadedModel& loaded = *owner->loaded;
  loaded.finish_loading();  // before the first request, not in it
  const std::string weights = weights_identity(loaded.checkpoint()) +
                              computation_identity(loaded.facts()) + loaded.adapter_identity();
  engine::EngineModel result = {.owner = owner,
                                .lm = &loaded.lm(),
                                .context = &loaded.context(),
                                .cache_options = loaded.cache_options(),
                                .pages = loaded.pages(),
                                .limits = {.vocab_size = loaded.facts().vocab_size,
                                           .max_context = loaded.facts().max_context,
                                           .fingerprint = fingerprint_of(weights)},
                                .identity = weights + files_identity(loaded.checkpoint())};
  for (const NamedAdapter& adapter : adapters) {
    owner->adapted.push_back(loaded.build_adapted(adapter.path));
    const LoadedModel::Adapted& built = owner->adapted.back();
    result.adapters.push_back(
        {.name = adapter.name, .lm = built.lm.get(), .identity = built.identity});
  }
  return result;
}

engine::ModelLimits limits_of(const engine::LocalEngine& engine, const std::string& adapter) {
  engine::ModelLimits limits = engine.limits();
  limits.fingerprint = fingerprint_of(limits.fingerprint + engine.adapter_identity(adapter));
  return limits;
}

std::shared_ptr<engine::LocalEngine> open_engine(const std::string& path,
                                                 const ModelOptions& model,
                                                 const engine::EngineOptions& options,
                                                 const std::string& dialect,
                                                 std::span<const NamedAdapter> adapters) {
  // The text first: what is wrong with it is known in a moment.
  text::TextModel text = open_text_model(path, dialect);
  return std::make_shared<engine::LocalEngine>(open_engine_model(path, model, adapters),
                                               std::move(text), options);
}

}  // namespace fathom
