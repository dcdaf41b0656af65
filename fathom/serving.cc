#include "fathom/serving.h"

#include <algorithm>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "fathom/loaded_model.h"
#include "fathom/model/kv/checksum.h"
#include "fathom/text_model.h"

namespace fathom {
namespace {

// Of so many tensors, spread over the checkpoint, bytes are looked at.
constexpr Index kSampledTensors = 256;
constexpr Index kSampledBytes = 4096;

std::string hex(const kv::Checksum& sum) {
  return fmt::format("{:016x}{:016x}", sum.high, sum.low);
}

std::string hash_of(const std::string& text) {
  return hex(kv::checksum_of(std::as_bytes(std::span(text))));
}

// Names, shapes and places of all tensors, and bytes of some: what is replaced by other weights is
// told apart without reading all of them.
std::string weights_identity(const weights::Checkpoint& checkpoint) {
  std::string described;
  const Index stride = ceil_div(to_index(checkpoint.tensors().size()), kSampledTensors);
  Index idx = 0;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    described += fmt::format("{} {}", name, tensor.num_bytes);
    for (const Index extent : tensor.shape) {
      described += fmt::format(",{}", extent);
    }
    if (idx++ % stride == 0) {
      const auto head = std::span(tensor.data, to_size(std::min(tensor.num_bytes, kSampledBytes)));
      described += hex(kv::checksum_of(head));
    }
    described.push_back('\n');
  }
  return hash_of(described);
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

}  // namespace

engine::EngineModel open_engine_model(const std::string& path, const ModelOptions& model) {
  const auto loaded = std::make_shared<LoadedModel>(path, model);
  const std::string weights =
      weights_identity(loaded->checkpoint()) + computation_identity(loaded->facts());
  return {.owner = loaded,
          .lm = &loaded->lm(),
          .context = &loaded->context(),
          .cache_options = loaded->cache_options(),
          .pages = loaded->pages(),
          .limits = {.vocab_size = loaded->facts().vocab_size,
                     .max_context = loaded->facts().max_context,
                     .fingerprint = "fp_" + hash_of(weights).substr(0, 16)},
          .identity = weights + files_identity(loaded->checkpoint())};
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
