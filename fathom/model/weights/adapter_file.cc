#include "fathom/model/weights/adapter_file.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/safetensors.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/platform/mapped_file.h"
#include "fathom/base/platform/small_file.h"
#include "fathom/model/config/adapter_config.h"
#include "fathom/model/weights/checkpoint_writer.h"
#include "fathom/model/weights/name_parts.h"

namespace fathom::weights {
namespace {

namespace fs = std::filesystem;
using config::AdapterConfig;
using config::WeightRole;
using formats::SafetensorsDType;
using formats::SafetensorsEntry;

constexpr std::string_view kPrefix = "base_model.model.";
constexpr std::string_view kSuffixA = ".lora_A.weight";
constexpr std::string_view kSuffixB = ".lora_B.weight";
constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kBaseKey = "fathom_base";

bool is_rotated(WeightRole role) {
  return role == WeightRole::Query || role == WeightRole::Key;
}

// Rows of a query or key are in the order of the halves of a head in transformers' files, and
// neighbours in pairs in GGUF's. Of memory's row, the file's.
Index file_row(const config::ModelConfig& config, const config::WeightKey& key, Index row) {
  if (!is_rotated(key.role) ||
      config.layers[to_size(key.layer_idx)].rope.pairs != config::RopePairs::Neighbours) {
    return row;
  }
  const Index width = config.head_dim;
  const Index in_head = row % width;
  return row - in_head + in_head % 2 * (width / 2) + in_head / 2;
}

std::string module_name(const AdapterBase& base, const Adapter::Key& key) {
  std::string name = base.names.name(Dialect::Official, key.first, key.second);
  FATHOM_CHECK(name.ends_with(kWeight));
  name.resize(name.size() - kWeight.size());
  return name;
}

// ---- reading ----

// One tensor of the file, for errors and numbers.
struct FileTensor {
  const SafetensorsEntry* entry = nullptr;
  Index rows = 0;
  Index columns = 0;
};

class AdapterReader {
 public:
  AdapterReader(const fs::path& folder, const AdapterBase& base)
      : base_(base),
        file_((folder / kAdapterTensorFile).string()),
        mapped_(file_),
        header_(formats::parse_safetensors_header(mapped_.bytes(), file_)) {
    const fs::path config_file = folder / kAdapterConfigFile;
    config_ = config::parse_adapter_config(platform::read_file(config_file), config_file.string());
  }

  std::shared_ptr<Adapter> read() {
    for (const SafetensorsEntry& entry : header_.entries) {
      sort(entry);
    }
    auto adapter = std::make_shared<Adapter>();
    adapter->base_model = config_.base_model;
    if (const auto at = header_.metadata.find(std::string(kBaseKey));
        at != header_.metadata.end()) {
      adapter->base_fingerprint = at->second;
    }
    for (const auto& [key, pair] : pairs_) {
      adapter->add(key, target_of(key, pair));
    }
    if (pairs_.empty()) {
      fail(ErrorCode::InvalidCheckpoint, file_, ": no tensors, expected some of an adapter");
    }
    return adapter;
  }

 private:
  struct Pair {
    std::string module;
    FileTensor a;
    FileTensor b;
  };

  [[noreturn]] void fail_tensor(ErrorCode code,
                                std::string_view name,
                                const std::string& problem) const {
    fail(code, file_, ": ", formats::quote(name), ": ", problem);
  }

  bool is_in_model(const config::WeightKey& key) const {
    const auto& blocks =
        key.block == config::Block::Mtp ? base_.config.mtp_layers : base_.config.layers;
    return key.block == config::Block::Model || key.layer_idx < to_index(blocks.size());
  }

  void sort(const SafetensorsEntry& entry) {
    std::string_view module = entry.name;
    const bool is_a = module.ends_with(kSuffixA);
    if (!consume(module, kPrefix) || (!is_a && !module.ends_with(kSuffixB))) {
      fail_tensor(ErrorCode::Unsupported, entry.name,
                  "expected base_model.model.MODULE.lora_A.weight or .lora_B.weight");
    }
    module.remove_suffix(kSuffixA.size());
    const auto parsed = base_.names.parse(std::string(module).append(kWeight));
    if (!parsed || parsed->is_scale || parsed->second_role || !is_in_model(parsed->key)) {
      fail_tensor(ErrorCode::InvalidCheckpoint, entry.name, "the model has no such module");
    }
    const Index expert_idx = parsed->expert_idx;
    const bool is_expert = parsed->key.role == WeightRole::ExpertGate ||
                           parsed->key.role == WeightRole::ExpertUp ||
                           parsed->key.role == WeightRole::ExpertDown;
    if (!config::can_be_adapted(parsed->key.role) || is_expert != (expert_idx >= 0)) {
      fail_tensor(ErrorCode::Unsupported, entry.name,
                  "no adapter for this module, expected some of " +
                      config::adapter_target_names(base_.config) +
                      (is_expert ? ", of one expert each" : ""));
    }
    Pair& pair = pairs_[{parsed->key, std::max<Index>(expert_idx, 0)}];
    FileTensor& place = is_a ? pair.a : pair.b;
    if (place.entry != nullptr) {
      fail_tensor(ErrorCode::InvalidCheckpoint, entry.name,
                  "a second name of " + formats::quote(place.entry->name));
    }
    if (entry.shape.size() != 2 || entry.shape[0] < 1 || entry.shape[1] < 1) {
      fail_tensor(ErrorCode::InvalidCheckpoint, entry.name, "expected a matrix");
    }
    place = {&entry, entry.shape[0], entry.shape[1]};
    pair.module = module;
  }

  Adapter::Target target_of(const Adapter::Key& key, const Pair& pair) const {
    if (pair.a.entry == nullptr || pair.b.entry == nullptr) {
      fail(ErrorCode::InvalidCheckpoint, file_, ": ", formats::quote(pair.module),
           ": found one of lora_A and lora_B, expected both");
    }
    const Index rank = config_.rank_of(pair.module);
    if (pair.a.rows != rank || pair.b.columns != rank) {
      fail(ErrorCode::InvalidCheckpoint, file_, ": ", formats::quote(pair.module), ": lora_A has ",
           pair.a.rows, " rows and lora_B ", pair.b.columns, " columns, expected ", rank, " (",
           kAdapterConfigFile, " says r)");
    }
    Adapter::Target target = {.rows = pair.b.rows,
                              .columns = pair.a.columns,
                              .rank = rank,
                              .alpha = config_.alpha_of(pair.module),
                              .scale = config_.scale_of(pair.module, rank),
                              .a = numbers_of(pair.a),
                              .b = {}};
    const std::vector<float> b = numbers_of(pair.b);
    if (is_rotated(key.first.role) && target.rows % base_.config.head_dim != 0) {
      fail_tensor(ErrorCode::InvalidCheckpoint, pair.b.entry->name,
                  std::to_string(target.rows) + " rows, expected a multiple of " +
                      std::to_string(base_.config.head_dim) + " (the width of a head)");
    }
    target.b.reserve(b.size());
    for (Index row = 0; row < target.rows; ++row) {
      const auto from = b.begin() + file_row(base_.config, key.first, row) * rank;
      target.b.insert(target.b.end(), from, from + rank);
    }
    return target;
  }

  std::vector<float> numbers_of(const FileTensor& tensor) const {
    numeric::WeightView view;
    switch (tensor.entry->dtype) {
      case SafetensorsDType::F32:
        view.format = numeric::WeightFormat::F32;
        break;
      case SafetensorsDType::F16:
        view.format = numeric::WeightFormat::F16;
        break;
      case SafetensorsDType::BF16:
        view.format = numeric::WeightFormat::BF16;
        break;
      default:
        fail_tensor(
            ErrorCode::Unsupported, tensor.entry->name,
            "dtype " + std::string(to_string(tensor.entry->dtype)) + ", expected F32, F16 or BF16");
    }
    view.rows = tensor.rows;
    view.columns = tensor.columns;
    view.data = mapped_.bytes().data() + tensor.entry->begin;
    view.row_stride_bytes = numeric::row_bytes(view.format, view.columns);
    std::vector<float> numbers(to_size(view.rows * view.columns));
    for (Index row = 0; row < view.rows; ++row) {
      numeric::decode_row(view, row, 0, view.columns, numbers.data() + row * view.columns);
    }
    if (!std::all_of(numbers.begin(), numbers.end(), [](float x) { return std::isfinite(x); })) {
      fail_tensor(ErrorCode::InvalidCheckpoint, tensor.entry->name,
                  "a number is not finite, expected numbers");
    }
    return numbers;
  }

  AdapterBase base_;
  std::string file_;
  platform::MappedFile mapped_;
  formats::SafetensorsHeader header_;
  AdapterConfig config_;
  std::map<Adapter::Key, Pair> pairs_;
};

// ---- writing ----

// The name without the part that says which layer.
std::string_view without_layer(std::string_view module) {
  constexpr std::string_view kLayers = "layers.";
  const std::size_t at = module.find(kLayers);
  if (at == std::string_view::npos) {
    return module;
  }
  const std::size_t dot = module.find('.', at + kLayers.size());
  return module.substr(dot + 1);
}

AdapterConfig config_of(const Adapter& adapter, const AdapterBase& base) {
  const Adapter::Target& first = adapter.targets().begin()->second;
  AdapterConfig config;
  config.base_model = adapter.base_model;
  config.rank = first.rank;
  config.alpha = first.alpha;
  config.has_root_scale = first.scale != first.alpha / static_cast<double>(first.rank);
  std::map<std::string, std::set<std::pair<Index, double>>, std::less<>> kinds;
  for (const auto& [key, target] : adapter.targets()) {
    const std::string module = module_name(base, key);
    kinds[std::string(without_layer(module))].insert({target.rank, target.alpha});
  }
  for (const auto& [ending, found] : kinds) {
    config.target_modules.push_back(ending);
  }
  for (const auto& [key, target] : adapter.targets()) {
    const std::string module = module_name(base, key);
    const std::string ending(without_layer(module));
    const std::string& pattern = kinds.at(ending).size() == 1 ? ending : module;
    if (target.rank != config.rank) {
      config.rank_pattern[pattern] = target.rank;
    }
    if (target.alpha != config.alpha) {
      config.alpha_pattern[pattern] = target.alpha;
    }
  }
  return config;
}

std::vector<SafetensorsEntry> entries_of(const Adapter& adapter, const AdapterBase& base) {
  std::vector<SafetensorsEntry> entries;
  const auto add = [&](const std::string& name, Index rows, Index columns) {
    entries.push_back({name, SafetensorsDType::F32, {rows, columns}, 0, 0});
  };
  for (const auto& [key, target] : adapter.targets()) {
    const std::string module = std::string(kPrefix) + module_name(base, key);
    add(module + std::string(kSuffixA), target.rank, target.columns);
    add(module + std::string(kSuffixB), target.rows, target.rank);
  }
  return entries;
}

// B in the file's order of rows.
std::vector<float> file_b(const Adapter::Key& key,
                          const Adapter::Target& target,
                          const AdapterBase& base) {
  std::vector<float> b(target.b.size());
  for (Index row = 0; row < target.rows; ++row) {
    std::copy_n(target.b.begin() + row * target.rank, target.rank,
                b.begin() + file_row(base.config, key.first, row) * target.rank);
  }
  return b;
}

}  // namespace

std::shared_ptr<Adapter> read_adapter(const fs::path& path, const AdapterBase& base) {
  return AdapterReader(path, base).read();
}

void write_adapter(const fs::path& folder,
                   const Adapter& adapter,
                   const AdapterBase& base,
                   bool overwrite) {
  FATHOM_CHECK(!adapter.targets().empty());
  std::error_code ignored;
  for (const std::string_view name : {kAdapterConfigFile, kAdapterTensorFile}) {
    if (!overwrite && fs::exists(folder / name, ignored)) {
      fail(ErrorCode::InvalidArgument, (folder / name).string(),
           ": is there already; overwriting was not asked for");
    }
  }
  const std::string header = formats::make_safetensors_header(
      entries_of(adapter, base),
      {{"format", "pt"}, {std::string(kBaseKey), adapter.base_fingerprint}});
  CheckpointWriter writer(folder);
  Index at = to_index(header.size());
  const Index num_bytes = at + adapter.num_parameters() * to_index(sizeof(float));
  const Index file = writer.add_file(std::string(kAdapterTensorFile), num_bytes);
  writer.write_to_file(file, 0, std::as_bytes(std::span(header)));
  const auto write = [&](const std::vector<float>& numbers) {
    writer.write_to_file(file, at, std::as_bytes(std::span(numbers)));
    at += to_index(numbers.size() * sizeof(float));
  };
  for (const auto& [key, target] : adapter.targets()) {
    write(target.a);
    write(file_b(key, target, base));
  }
  writer.add_text(std::string(kAdapterConfigFile),
                  config::make_adapter_config(config_of(adapter, base)));
  writer.commit();
}

}  // namespace fathom::weights
