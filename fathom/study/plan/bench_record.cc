#include "fathom/study/plan/bench_record.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/config/weight_table.h"
#include "fathom/study/plan/memory.h"

namespace fathom::plan {
namespace {

constexpr double kGiga = 1e9;
constexpr double kMicro = 1e-6;

using Json = nlohmann::json;
using config::Block;

struct RoleKey {
  Block block;
  std::string role;
  auto operator<=>(const RoleKey&) const = default;
};
struct RoleStorage {
  numeric::WeightFormat format;
  Index num_bytes;
};
using Roles = std::map<RoleKey, RoleStorage>;

// Looks values up and says where one is missing or of another type.
class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  [[noreturn]] void refuse(std::string_view key, std::string_view why) const {
    fail(ErrorCode::InvalidArgument, file_, ": ", key, ": ", why,
         "; expected the output of fathom bench --json");
  }
  const Json& at(const Json& object, std::string_view key) const {
    const auto found = object.is_object() ? object.find(key) : object.end();
    if (found == object.end()) {
      refuse(key, "is not there");
    }
    return *found;
  }
  double number(const Json& object, std::string_view key, double smallest, double largest) const {
    const Json& value = at(object, key);
    if (!value.is_number() ||
        !(value.get<double>() >= smallest && value.get<double>() <= largest)) {
      refuse(key, "is no number that can be");
    }
    return value.get<double>();
  }
  // 0 where it is not there or null.
  double optional_number(const Json& object, std::string_view key, double largest) const {
    const auto found = object.find(key);
    return found == object.end() || found->is_null() ? 0 : number(object, key, 0, largest);
  }
  Index count(const Json& object, std::string_view key, Index smallest) const {
    constexpr Index kMost = Index{1} << 50;
    return static_cast<Index>(
        number(object, key, static_cast<double>(smallest), static_cast<double>(kMost)));
  }
  std::string text(const Json& object, std::string_view key) const {
    const Json& value = at(object, key);
    if (!value.is_string()) {
      refuse(key, "is no text");
    }
    return value.get<std::string>();
  }
  const Json& list(const Json& object, std::string_view key) const {
    const Json& value = at(object, key);
    if (!value.is_array()) {
      refuse(key, "is no list");
    }
    return value;
  }

 private:
  std::string file_;
};

Block block_from(const Reader& reader, const Json& row) {
  const std::string name = reader.text(row, "block");
  if (name == "model") {
    return Block::Model;
  }
  if (name == "layer") {
    return Block::Layer;
  }
  if (name != "mtp") {
    reader.refuse("block", "found " + formats::quote(name));
  }
  return Block::Mtp;
}

Roles read_roles(const Reader& reader, const Json& root) {
  Roles roles;
  for (const Json& row : reader.list(root, "storage")) {
    const std::string name = reader.text(row, "format");
    const auto format = numeric::weight_format_from_name(name);
    if (!format) {
      reader.refuse("format", "found " + formats::quote(name));
    }
    roles[{block_from(reader, row), reader.text(row, "role")}] = {*format,
                                                                  reader.count(row, "bytes", 0)};
  }
  return roles;
}

// Bytes of a role are spread over its tensors by their numbers.
Storage storage_of(const config::ModelConfig& model, Roles roles) {
  std::map<RoleKey, Index> numbers;
  for (const config::WeightSpec& spec : config::weight_table(model)) {
    numbers[{spec.key.block, std::string(config::to_string(spec.key.role))}] += spec.num_elements();
  }
  const auto shared = std::make_shared<const std::pair<Roles, std::map<RoleKey, Index>>>(
      std::move(roles), std::move(numbers));
  const auto key_of = [](const config::WeightSpec& spec) {
    return RoleKey{spec.key.block, std::string(config::to_string(spec.key.role))};
  };
  return {.bytes_of =
              [shared, key_of](const config::WeightSpec& spec) {
                const auto role = shared->first.find(key_of(spec));
                if (role == shared->first.end()) {
                  return Index{0};
                }
                const double share = static_cast<double>(spec.num_elements()) /
                                     static_cast<double>(shared->second.at(key_of(spec)));
                return static_cast<Index>(static_cast<double>(role->second.num_bytes) * share);
              },
          .format_of =
              [shared, key_of](const config::WeightSpec& spec) {
                const auto role = shared->first.find(key_of(spec));
                return role == shared->first.end() ? numeric::WeightFormat::F32
                                                   : role->second.format;
              }};
}

std::vector<MeasuredCell> read_cells(const Reader& reader, const Json& root) {
  std::vector<MeasuredCell> cells;
  for (const char* phase : {"prefill", "decode"}) {
    for (const Json& row : reader.list(root, phase)) {
      cells.push_back({.is_prefill = std::string_view(phase) == "prefill",
                       .tokens = reader.count(row, "tokens", 1),
                       .context = reader.count(row, "context", 0),
                       .batch = reader.count(row, "batch", 1),
                       .tokens_per_s = reader.number(row, "tokens_per_s", 1e-9, 1e12),
                       .meanwhile = {kGiga * reader.number(row, "read_gb_s", 0, 1e9),
                                     kGiga * reader.optional_number(row, "cached_gb_s", 1e9),
                                     kMicro * reader.optional_number(row, "barrier_us", 1e9)}});
    }
  }
  return cells;
}

}  // namespace

Index tokens_before(const MeasuredCell& cell) {
  constexpr Index kSeedTokens = 64;  // in front of a decode run of `fathom bench` at context 0
  return cell.is_prefill ? 0 : std::max(cell.context, kSeedTokens);
}

CellWork work_of_cell(const ModelWork& work, const MeasuredCell& cell) {
  CellWork result;
  result.working_set_bytes = work.weight_bytes();
  if (cell.is_prefill) {
    result.amounts = work.of_prompt(cell.tokens, 0, kStepTokens);
    result.tokens = static_cast<double>(cell.tokens);
  } else {
    // The step in the middle of the run. Sequences of a batch share the rows that they begin with.
    const Index context = tokens_before(cell) + cell.tokens / 2;
    result.amounts = work.of(
        {.num_sequences = cell.batch, .context = context, .shared_context = tokens_before(cell)});
    result.working_set_bytes += work.cache_bytes_read(context);
    result.tokens = static_cast<double>(cell.batch);
  }
  result.seconds = result.tokens / cell.tokens_per_s;
  return result;
}

BenchRecord parse_bench_record(std::string_view json, const std::string& file) {
  const Reader reader(file);
  const Json root = Json::parse(json, nullptr, false);
  if (!root.is_object()) {
    reader.refuse("JSON", "found no object");
  }
  const std::string config_text = reader.at(root, "config").dump();
  config::ModelConfig model = config::parse_config_json(config_text, file + ": config").model;
  Storage storage = storage_of(model, read_roles(reader, root));
  const Json& peak = reader.at(root, "peak_rss_bytes");
  return {.name = reader.text(root, "model"),
          .config = std::move(model),
          .storage = std::move(storage),
          .numerics = reader.text(root, "numerics"),
          .layout = reader.text(root, "layout"),
          .num_threads = reader.count(root, "threads", 1),
          .file_bytes = reader.count(root, "file_bytes", 1),
          .peak_resident_bytes = peak.is_null() ? 0 : reader.count(root, "peak_rss_bytes", 0),
          .cells = read_cells(reader, root)};
}

}  // namespace fathom::plan
