#include "fathom/adapters.h"

#include <algorithm>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "fathom/base/formats/text.h"
#include "fathom/model/kv/checksum.h"

namespace fathom {
namespace {

// Of so many tensors, spread over the checkpoint, bytes are looked at.
constexpr Index kSampledTensors = 256;
constexpr Index kSampledBytes = 4096;

std::string hash_of(std::span<const std::byte> bytes) {
  const kv::Checksum sum = kv::checksum_of(bytes);
  return fmt::format("{:016x}{:016x}", sum.high, sum.low);
}

std::string hash_of(const std::string& text) {
  return hash_of(std::as_bytes(std::span(text)));
}

}  // namespace

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
      described +=
          hash_of(std::span(tensor.data, to_size(std::min(tensor.num_bytes, kSampledBytes))));
    }
    described.push_back('\n');
  }
  return hash_of(described);
}

weights::AdapterBase adapter_base(const OpenedModel& opened) {
  return {opened.config.model, names_of(opened.config.model.family)};
}

std::shared_ptr<const weights::Adapter> open_adapter(const std::string& path,
                                                     const OpenedModel& opened,
                                                     const Warn& warn) {
  std::shared_ptr<const weights::Adapter> adapter =
      weights::read_adapter(path, adapter_base(opened));
  if (warn && !adapter->base_fingerprint.empty() &&
      adapter->base_fingerprint != weights_identity(*opened.checkpoint)) {
    warn(path + " was made over other weights" +
         (adapter->base_model.empty() ? "" : " (" + formats::quote(adapter->base_model) + ")") +
         ": over another format of the same model that is fine, over another model it does harm");
  }
  return adapter;
}

std::string adapter_identity(const weights::Adapter& adapter) {
  std::string described;
  for (const auto& [key, target] : adapter.targets()) {
    const auto& [weight, expert_idx] = key;
    described += fmt::format("{} {} {} {} {} {} {}\n", to_string(weight.role),
                             static_cast<int>(weight.block), weight.layer_idx, expert_idx,
                             target.scale, hash_of(std::as_bytes(std::span(target.a))),
                             hash_of(std::as_bytes(std::span(target.b))));
  }
  return hash_of(described);
}

OpenedModel adapted(const OpenedModel& opened, std::shared_ptr<const weights::Adapter> adapter) {
  OpenedModel result = opened;
  result.store = opened.store->with_adapter(std::move(adapter));
  return result;
}

}  // namespace fathom
