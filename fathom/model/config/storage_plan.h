// What the words of configs say about storage, shared by the readers and the writer.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "fathom/model/config/json_fields.h"
#include "fathom/model/config/model_config.h"
#include "fathom/model/config/weight_table.h"

namespace fathom::config {

// The format that expert_dtype or dtype ("fp4", "fp8", "bf16") names.
std::optional<numeric::WeightFormat> find_config_format(std::string_view name);
std::optional<std::string_view> find_config_format_name(numeric::WeightFormat format);

// The format a key of the object names; Unsupported naming the key when it is none of the three.
numeric::WeightFormat require_config_format(JsonFields& fields, std::string_view key);
// The same of the inference config's dtype: FP4 is for experts only.
numeric::WeightFormat require_dense_format(JsonFields& fields);

// The official inference config's: experts are stored as everything else unless expert_dtype says
// otherwise. Nothing when neither key is there.
std::optional<numeric::WeightFormat> find_inference_expert_format(JsonFields& fields);

// The format that dtype of transformers names (bfloat16, float16, float32), and back.
std::optional<numeric::WeightFormat> find_plain_format(std::string_view name);
std::optional<std::string_view> find_plain_format_name(numeric::WeightFormat format);

// What the plan stores a tensor in; the tensor must not be a table of ids.
numeric::WeightFormat format_in(const StoragePlan& plan, const WeightSpec& spec);

// Official releases: with FP8 experts (-Base) the scales are F32, with FP4 experts E8M0.
StoragePlan make_storage_plan(numeric::WeightFormat experts, numeric::WeightFormat dense);

}  // namespace fathom::config
