#include "fathom/model/config/read_config.h"

#include <algorithm>

#include "fathom/base/formats/text.h"
#include "fathom/model/config/family_rows.h"

namespace fathom::config {
namespace {

// "a", "b" or "c"
std::string alternatives(const std::vector<std::string_view>& names) {
  std::string text;
  for (std::size_t idx = 0; idx < names.size(); ++idx) {
    text += idx == 0 ? "" : idx + 1 == names.size() ? " or " : ", ";
    text += formats::quote(names[idx]);
  }
  return text;
}

const FamilyRow& row_of_model_type(JsonFields& fields) {
  const std::string found = fields.text("model_type");
  std::vector<std::string_view> known;
  for (const FamilyRow& row : family_rows()) {
    if (std::find(row.model_types.begin(), row.model_types.end(), found) != row.model_types.end()) {
      return row;
    }
    known.insert(known.end(), row.model_types.begin(), row.model_types.end());
  }
  fields.fail_at(ErrorCode::Unsupported, "model_type",
                 "expected " + alternatives(known) + ", found " + formats::quote(found));
}

const FamilyRow& row_of_architecture(const formats::GgufHeader& header, const std::string& file) {
  const std::string key = "general.architecture";
  const std::optional<std::string> found = header.find_string(key, file);
  if (!found) {
    fail(ErrorCode::InvalidCheckpoint, file, ": ", key, ": key is missing");
  }
  std::vector<std::string_view> known;
  for (const FamilyRow& row : family_rows()) {
    if (row.gguf_architecture == *found) {
      return row;
    }
    known.push_back(row.gguf_architecture);
  }
  fail(ErrorCode::Unsupported, file, ": ", key, ": expected ", alternatives(known), ", found ",
       formats::quote(*found));
}

}  // namespace

ParsedConfig parse_config_json(std::string_view json,
                               const std::string& file,
                               std::string_view inference_json,
                               const std::string& inference_file) {
  JsonFields fields = JsonFields::parse(json, file);
  const FamilyRow& row = row_of_model_type(fields);
  if (inference_json.empty()) {
    return row.read_json(std::move(fields), nullptr);
  }
  JsonFields inference = JsonFields::parse(inference_json, inference_file);
  return row.read_json(std::move(fields), &inference);
}

ParsedConfig parse_gguf_config(const formats::GgufHeader& header, const std::string& file) {
  return row_of_architecture(header, file).read_gguf(header, file);
}

std::string make_config_json(const ModelConfig& config, const StoragePlan& storage) {
  if (config.layers.empty()) {
    fail(ErrorCode::InvalidArgument,
         "config.json: num_hidden_layers: expected at least 1, found 0");
  }
  return row_of(config.family).write_json(config, storage);
}

std::string_view gguf_architecture(Family family) {
  return row_of(family).gguf_architecture;
}

std::vector<formats::GgufWriteValue> make_gguf_facts(const ModelConfig& config) {
  return row_of(config.family).write_gguf(config);
}

}  // namespace fathom::config
