#include "fathom/families.h"

#include <algorithm>
#include <array>
#include <span>

#include "fathom/base/core/error.h"
#include "fathom/model/deepseek_v4/model.h"
#include "fathom/model/deepseek_v4/weight_names.h"
#include "fathom/model/llama/model.h"
#include "fathom/model/llama/weight_names.h"

namespace fathom {
namespace {

struct FamilyRow {
  config::Family family;
  const weights::NameMap& (*names)();
  std::unique_ptr<layers::CausalLm> (*build)(const OpenedModel& opened);
  std::span<const ops::Numerics> numerics;  // those that are defined for it
};

template <typename Model>
std::unique_ptr<layers::CausalLm> build(const OpenedModel& opened) {
  return std::make_unique<Model>(opened.store, opened.config.model);
}

constexpr auto kAllNumerics =
    std::to_array({ops::Numerics::High, ops::Numerics::Official, ops::Numerics::Fast});
constexpr auto kWithoutOfficial = std::to_array({ops::Numerics::High, ops::Numerics::Fast});

constexpr FamilyRow kFamilies[] = {
    {config::Family::DeepseekV4, &deepseek_v4::weight_names, &build<deepseek_v4::DeepseekV4>,
     kAllNumerics},
    {config::Family::Llama, &llama::weight_names, &build<llama::Llama>, kWithoutOfficial},
};

const FamilyRow& row_of(config::Family family) {
  for (const FamilyRow& row : kFamilies) {
    if (row.family == family) {
      return row;
    }
  }
  fail(ErrorCode::Internal, "family ", config::to_string(family),
       " has no row in the table of families");
}

config::ParsedConfig read_config(const weights::Checkpoint& checkpoint) {
  if (checkpoint.container() == weights::Container::Gguf) {
    return config::parse_gguf_config(checkpoint.gguf(), checkpoint.files().front().string());
  }
  if (checkpoint.config_text().empty()) {
    fail(ErrorCode::InvalidCheckpoint, checkpoint.files().front().string(),
         ": no config.json beside it");
  }
  return config::parse_config_json(checkpoint.config_text(), checkpoint.config_file(),
                                   checkpoint.inference_config_text(),
                                   checkpoint.inference_config_file());
}

}  // namespace

const weights::NameMap& names_of(config::Family family) {
  return row_of(family).names();
}

void check_numerics(config::Family family, ops::Numerics numerics) {
  const std::span<const ops::Numerics> defined = row_of(family).numerics;
  if (std::find(defined.begin(), defined.end(), numerics) == defined.end()) {
    fail(ErrorCode::Unsupported, "numerics: ", ops::to_string(numerics),
         " is not defined for models of family ", config::to_string(family),
         " (docs/numerics.md), expected high or fast");
  }
}

OpenedModel open_model(const std::filesystem::path& path, const platform::MapOptions& options) {
  OpenedModel opened;
  opened.checkpoint = weights::Checkpoint::open(path, options);
  opened.config = read_config(*opened.checkpoint);
  opened.store = std::make_shared<weights::Store>(opened.checkpoint, opened.config.model,
                                                  names_of(opened.config.model.family));
  return opened;
}

std::unique_ptr<layers::CausalLm> build_model(const OpenedModel& opened) {
  return row_of(opened.config.model.family).build(opened);
}

}  // namespace fathom
