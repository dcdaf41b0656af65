// The table of what each family brings to this room: how its files name it, and its readers, writer
// and facts. (Layers and tensor names are in the table of fathom/families.cc, which sees them.)
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/formats/gguf.h"
#include "fathom/model/config/config_facts.h"
#include "fathom/model/config/json_fields.h"
#include "fathom/model/config/read_config.h"

namespace fathom::config {

struct FamilyRow {
  Family family;
  std::span<const std::string_view> model_types;  // in config.json
  std::string_view gguf_architecture;
  // `inference` is the official inference config beside it, or null.
  ParsedConfig (*read_json)(JsonFields fields, JsonFields* inference);
  ParsedConfig (*read_gguf)(const formats::GgufHeader& header, const std::string& file);
  std::string (*write_json)(const ModelConfig& config, const StoragePlan& storage);
  std::vector<formats::GgufWriteValue> (*write_gguf)(const ModelConfig& config);
  const std::vector<IntegerFact>& (*integers)();
  const std::vector<NumberFact>& (*numbers)();
};

std::span<const FamilyRow> family_rows();
const FamilyRow& row_of(Family family);

// What the rows hold, each in a file of its own.
inline constexpr std::string_view kDeepseekV4Architecture = "deepseek4";
ParsedConfig read_deepseek_v4_json(JsonFields fields, JsonFields* inference);
ParsedConfig read_deepseek_v4_gguf(const formats::GgufHeader& header, const std::string& file);
std::string write_deepseek_v4_json(const ModelConfig& config, const StoragePlan& storage);
std::vector<formats::GgufWriteValue> write_deepseek_v4_gguf(const ModelConfig& config);

inline constexpr std::string_view kLlamaArchitecture = "llama";
ParsedConfig read_llama_json(JsonFields fields, JsonFields* inference);
ParsedConfig read_llama_gguf(const formats::GgufHeader& header, const std::string& file);
std::string write_llama_json(const ModelConfig& config, const StoragePlan& storage);
std::vector<formats::GgufWriteValue> write_llama_gguf(const ModelConfig& config);

}  // namespace fathom::config
