#include "fathom/serving.h"

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "fathom/loaded_model.h"
#include "fathom/text_model.h"

namespace fathom {
namespace {

// FNV-1a: a name for what results may depend on, no protection against anybody.
std::string fingerprint_of(const std::string& path, const ModelFacts& facts) {
  const std::string described = fmt::format(
      "{} {} {} {} {} {} {}", std::filesystem::path(path).filename().string(), facts.family,
      facts.backend, facts.numerics, facts.vocab_size, facts.num_layers, kApiVersion);
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : described) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  }
  return fmt::format("fp_{:016x}", hash);
}

}  // namespace

engine::EngineModel open_engine_model(const std::string& path, const ModelOptions& model) {
  const auto loaded = std::make_shared<LoadedModel>(path, model);
  return {.owner = loaded,
          .lm = &loaded->lm(),
          .context = &loaded->context(),
          .cache_options = loaded->cache_options(),
          .pages = loaded->pages(),
          .limits = {.vocab_size = loaded->facts().vocab_size,
                     .max_context = loaded->facts().max_context,
                     .fingerprint = fingerprint_of(path, loaded->facts())}};
}

std::shared_ptr<engine::LocalEngine> open_engine(const std::string& path,
                                                 const ModelOptions& model,
                                                 const engine::EngineOptions& options,
                                                 const std::string& dialect) {
  // The text first: what is wrong with it is known in a moment.
  text::TextModel text = open_text_model(path, dialect);
  return std::make_shared<engine::LocalEngine>(open_engine_model(path, model), std::move(text),
                                               options);
}

}  // namespace fathom
