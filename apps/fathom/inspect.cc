// fathom inspect: what a model is, how large, what it reads per token and what its context takes.
#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <memory>
#include <utility>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/number_text.h"
#include "fathom/model/config/footprint.h"

#include "apps/fathom/model_source.h"
#include "apps/fathom/options.h"

namespace fathom::app {
namespace {

using Json = nlohmann::ordered_json;
using config::WeightBytes;

constexpr std::array<Index, 3> kContexts = {4096, 131072, 1048576};
constexpr std::size_t kNamesShown = 8;

struct InspectOptions {
  std::string model;
  std::string storage;
  bool json = false;
};

std::string format_name(const weights::StoredTensor& tensor,
                        const std::optional<weights::TensorName>& meaning) {
  if (const auto* type = std::get_if<formats::GgufType>(&tensor.dtype)) {
    return std::string(formats::gguf_type_info(*type).name);
  }
  const auto dtype = std::get<formats::SafetensorsDType>(tensor.dtype);
  const bool is_packed =
      dtype == formats::SafetensorsDType::I8 || dtype == formats::SafetensorsDType::U8;
  const std::string name(formats::to_string(dtype));
  return is_packed && meaning && !meaning->is_scale ? "FP4 in " + name : name;
}

// Tensors and bytes by format as the files' headers have them, and the dialect of their names.
void add_files(Json& out, const OpenedModel& opened) {
  const weights::Checkpoint& checkpoint = *opened.checkpoint;
  const weights::NameMap& names = names_of(opened.config.model.family);
  struct Sum {
    Index tensors = 0;
    Index bytes = 0;
  };
  std::map<std::string, Sum> formats;
  const bool is_gguf = checkpoint.container() == weights::Container::Gguf;
  std::string dialect = is_gguf ? "gguf" : "official";
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    const std::optional<weights::TensorName> meaning = names.parse(name);
    Sum& sum = formats[format_name(tensor, meaning)];
    ++sum.tensors;
    sum.bytes += tensor.num_bytes;
    if (meaning && meaning->dialect == weights::Dialect::Transformers) {
      dialect = "transformers";
    }
  }
  out["container"] = is_gguf ? "gguf" : "safetensors";
  out["dialect"] = dialect;
  out["files"] = checkpoint.files().size();
  out["file_bytes"] = checkpoint.total_file_bytes();
  out["formats"] = Json::array();
  for (const auto& [name, sum] : formats) {
    out["formats"].push_back({{"format", name}, {"tensors", sum.tensors}, {"bytes", sum.bytes}});
  }
}

Json shape_of(const config::ModelConfig& model) {
  std::map<std::string, Index> attention;
  for (const config::LayerConfig& layer : model.layers) {
    ++attention[std::string(config::to_string(layer.attention))];
  }
  Json shape = {{"layers", model.num_layers()},
                {"mtp_layers", model.mtp_layers.size()},
                {"attention_layers", attention},
                {"hidden_size", model.hidden_size},
                {"heads", model.num_heads}};
  if (model.num_key_value_heads > 0) {
    shape["key_value_heads"] = model.num_key_value_heads;
  }
  if (model.num_experts > 0) {
    shape["experts"] = model.num_experts;
    shape["experts_per_token"] = model.num_experts_per_token;
  }
  if (model.mlp_hidden > 0) {
    shape["mlp_hidden"] = model.mlp_hidden;
  }
  shape["vocab_size"] = model.vocab_size;
  shape["max_context_tokens"] = model.max_context;
  return shape;
}

void add_sizes(Json& out, const config::ModelConfig& model, const config::BytesOf& bytes_of) {
  const config::ParameterCount parameters = config::count_parameters(model);
  out["parameters"] = {{"total", parameters.total}, {"active", parameters.active}};
  if (parameters.mtp > 0) {
    out["parameters"]["mtp"] = parameters.mtp;
    out["parameters"]["total_with_mtp"] = parameters.total + parameters.mtp;
  }
  const WeightBytes bytes = config::weight_bytes(model, bytes_of);
  out["weights_bytes"] = bytes.total();
  for (const config::WeightPart& part : config::kWeightParts) {
    if (bytes.*part.bytes > 0) {
      out["weights_bytes_by_part"][part.name] = bytes.*part.bytes;
    }
  }
  out["decode_bytes_per_token"] = config::decode_weight_bytes_per_token(model, bytes_of);
}

// The usual lengths that fit, and the model's own.
std::vector<Index> contexts_of(const config::ModelConfig& model) {
  std::vector<Index> contexts;
  std::copy_if(kContexts.begin(), kContexts.end(), std::back_inserter(contexts),
               [&](Index context) { return context < model.max_context; });
  contexts.push_back(model.max_context);
  return contexts;
}

void add_context(Json& out, const config::ModelConfig& model) {
  out["cache_bytes_per_token"] = config::cache_bytes_per_token(model, config::kFastCache);
  out["packed_cache_bytes_per_token"] = config::packed_cache_bytes_per_token(model);
  for (const Index context : contexts_of(model)) {
    const std::string key = std::to_string(context);
    out["cache_bytes_at_context"][key] = config::cache_bytes(model, context, config::kFastCache);
    out["packed_cache_bytes_at_context"][key] = config::packed_cache_bytes(model, context);
  }
  out["raw_row_bytes_per_token"] = config::raw_row_bytes_per_token(model, config::kFastCache);
}

Json inspect(const InspectOptions& options) {
  const ModelSource source = open_source(options.model);
  const config::ModelConfig& model = source.config.model;
  Json out;
  out["model"] = options.model;
  out["kind"] = source.opened ? "checkpoint" : "config";
  out["family"] = config::to_string(model.family);
  out["shape"] = shape_of(model);
  if (source.opened) {
    if (!options.storage.empty()) {
      fail(ErrorCode::InvalidArgument, "--storage: found \"", options.storage, "\", but ",
           options.model, " is a checkpoint: its files say how it is stored");
    }
    add_files(out, *source.opened);
    const weights::Store& store = *source.opened->store;
    add_sizes(out, model,
              [&](const config::WeightSpec& spec) { return store.stored_bytes(spec.key); });
    out["missing_tensors"] = store.missing();
    out["unexpected_tensors"] = store.unexpected();
  } else {
    const config::StoragePlan plan = storage_of(source.config, options.storage, options.model);
    out["storage"] = {{"experts", numeric::to_string(plan.experts)},
                      {"dense", numeric::to_string(plan.dense)},
                      {"from", options.storage.empty() ? "config" : "--storage"}};
    add_sizes(out, model,
              [&](const config::WeightSpec& spec) { return config::stored_bytes(spec, plan); });
  }
  add_context(out, model);
  out["unknown_config_keys"] = model.unknown_keys;
  out["assumed_config_values"] = source.config.assumed;
  return out;
}

std::string size_text(Index bytes) {
  constexpr std::pair<double, const char*> kUnits[] = {
      {1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}};
  for (const auto& [unit, name] : kUnits) {
    if (static_cast<double>(bytes) >= unit) {
      return fmt::format("{:.2f} {}", static_cast<double>(bytes) / unit, name);
    }
  }
  return fmt::format("{} B", bytes);
}

// One row of the table: what, the exact number, and the same for people.
std::string bytes_row(const std::string& name, Index bytes) {
  return fmt::format("  {:<26}{:>22}  {:>10}\n", name, formats::grouped(bytes), size_text(bytes));
}

std::string rate_row(const std::string& name, double bytes) {
  return fmt::format("  {:<26}{:>22.1f}\n", name, bytes);
}

std::string names_text(const std::string& title, const Json& names) {
  if (names.empty()) {
    return fmt::format("{:<28}none\n", title);
  }
  std::string text = fmt::format("{:<28}{}\n", title, names.size());
  for (std::size_t idx = 0; idx < names.size() && idx < kNamesShown; ++idx) {
    text += "  " + names[idx].get<std::string>() + "\n";
  }
  return names.size() > kNamesShown ? text + "  ... (--json has them all)\n" : text;
}

std::string head_text(const Json& out) {
  const Json& shape = out["shape"];
  std::string text = fmt::format("{}  {} of family {}\n", out["model"].get<std::string>(),
                                 out["kind"].get<std::string>(), out["family"].get<std::string>());
  std::string attention;
  for (const auto& item : shape["attention_layers"].items()) {
    attention += fmt::format("{}{} {}", attention.empty() ? "" : ", ", item.value().get<Index>(),
                             item.key());
  }
  const std::string feed_forward =
      shape.contains("experts")
          ? fmt::format("{} of {} experts", shape["experts_per_token"].get<Index>(),
                        shape["experts"].get<Index>())
          : fmt::format("MLP {}", shape["mlp_hidden"].get<Index>());
  text += fmt::format("  {} layers ({}), {} MTP; hidden {}, {}, vocabulary {}, context {}\n",
                      shape["layers"].get<Index>(), attention, shape["mtp_layers"].get<Index>(),
                      shape["hidden_size"].get<Index>(), feed_forward,
                      shape["vocab_size"].get<Index>(), shape["max_context_tokens"].get<Index>());
  if (out.contains("container")) {
    text += fmt::format("  {} with {} names, {} file(s), {}\n", out["container"].get<std::string>(),
                        out["dialect"].get<std::string>(), out["files"].get<Index>(),
                        size_text(out["file_bytes"].get<Index>()));
  } else {
    text += fmt::format(
        "  storage by {}: experts {}, dense {}\n", out["storage"]["from"].get<std::string>(),
        out["storage"]["experts"].get<std::string>(), out["storage"]["dense"].get<std::string>());
  }
  return text;
}

std::string readable(const Json& out) {
  std::string text = head_text(out);
  text += "\nParameters\n";
  for (const auto& item : out["parameters"].items()) {
    text +=
        fmt::format("  {:<26}{:>22}\n", item.key(), formats::grouped(item.value().get<Index>()));
  }
  text += "\nWeights, bytes\n";
  for (const auto& item : out["weights_bytes_by_part"].items()) {
    text += bytes_row(item.key(), item.value().get<Index>());
  }
  text += bytes_row("total", out["weights_bytes"].get<Index>());
  text += bytes_row("read per decoded token", out["decode_bytes_per_token"].get<Index>());
  if (out.contains("formats")) {
    text += "\nFormats in the files, bytes\n";
    for (const Json& row : out["formats"]) {
      text += bytes_row(fmt::format("{} ({} tensors)", row["format"].get<std::string>(),
                                    row["tensors"].get<Index>()),
                        row["bytes"].get<Index>());
    }
  }
  for (const auto& [title, prefix] :
       {std::pair{"Context in this program's cache, numerics fast, bytes", ""},
        std::pair{"Context in the packed deployment layout (FP8, FP4 or BF16 rows), bytes",
                  "packed_"}}) {
    text += fmt::format("\n{}\n", title);
    for (const auto& item : out[std::string(prefix) + "cache_bytes_at_context"].items()) {
      text += bytes_row("at " + formats::grouped(std::stoll(item.key())) + " tokens",
                        item.value().get<Index>());
    }
    text += rate_row("per further token",
                     out[std::string(prefix) + "cache_bytes_per_token"].get<double>());
  }
  if (out["raw_row_bytes_per_token"].get<Index>() > 0) {
    text += bytes_row("raw rows, per token kept", out["raw_row_bytes_per_token"].get<Index>());
  }
  text += "\n";
  if (out.contains("missing_tensors")) {
    text += names_text("Missing tensors", out["missing_tensors"]);
    text += names_text("Unexpected tensors", out["unexpected_tensors"]);
  }
  text += names_text("Unknown config keys", out["unknown_config_keys"]);
  if (!out["assumed_config_values"].empty()) {
    text += names_text("Assumed config values", out["assumed_config_values"]);
  }
  return text;
}

void run_inspect(const InspectOptions& options) {
  const Json out = inspect(options);
  print_out(options.json ? out.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"
                         : readable(out));
}

}  // namespace

Command add_inspect(CLI::App& program) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command =
      program.add_subcommand("inspect", "Sizes, formats, parameters and context memory of a model");
  command
      ->add_option("model", options->model,
                   "Checkpoint (folder, .safetensors, .gguf), config.json, v4-flash or v4-pro")
      ->required()
      ->type_name("MODEL");
  command->add_option("--storage", options->storage, "Of a config alone: how weights are stored")
      ->type_name("fp4|fp8|bf16|f32");
  add_json_option(*command, options->json);
  return {command, [options](InterruptWatch&) { run_inspect(*options); }};
}

}  // namespace fathom::app
