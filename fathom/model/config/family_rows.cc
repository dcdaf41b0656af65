#include "fathom/model/config/family_rows.h"

#include <array>

#include "fathom/model/config/deepseek_v4_facts.h"
#include "fathom/model/config/llama_facts.h"

namespace fathom::config {
namespace {

// The reader refuses deepseek_v41 with a reason.
constexpr auto kDeepseekV4Types = std::to_array<std::string_view>({"deepseek_v4", "deepseek_v41"});
constexpr auto kLlamaTypes = std::to_array<std::string_view>({"llama", "mistral"});

constexpr auto kRows = std::to_array<FamilyRow>({
    {.family = Family::DeepseekV4,
     .model_types = kDeepseekV4Types,
     .gguf_architecture = kDeepseekV4Architecture,
     .read_json = &read_deepseek_v4_json,
     .read_gguf = &read_deepseek_v4_gguf,
     .write_json = &write_deepseek_v4_json,
     .write_gguf = &write_deepseek_v4_gguf,
     .integers = &deepseek_v4_integers,
     .numbers = &deepseek_v4_numbers},
    {.family = Family::Llama,
     .model_types = kLlamaTypes,
     .gguf_architecture = kLlamaArchitecture,
     .read_json = &read_llama_json,
     .read_gguf = &read_llama_gguf,
     .write_json = &write_llama_json,
     .write_gguf = &write_llama_gguf,
     .integers = &llama_integers,
     .numbers = &llama_numbers},
});

}  // namespace

std::span<const FamilyRow> family_rows() {
  return kRows;
}

const FamilyRow& row_of(Family family) {
  for (const FamilyRow& row : kRows) {
    if (row.family == family) {
      return row;
    }
  }
  fail(ErrorCode::Internal, "family ", to_string(family), " has no row in the table of families");
}

}  // namespace fathom::config
