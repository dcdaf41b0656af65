#include "fathom/model/config/storage_plan.h"

#include <array>

#include "fathom/base/formats/text.h"
#include "fathom/model/config/read_config.h"

namespace fathom::config {
namespace {

using numeric::ScaleFormat;
using numeric::WeightFormat;

struct FormatRow {
  std::string_view name;
  WeightFormat experts;
  WeightFormat dense;  // beside such experts in an official release
};

constexpr auto kFormats = std::to_array<FormatRow>({
    {"fp4", WeightFormat::Fp4, WeightFormat::Fp8},
    {"fp8", WeightFormat::Fp8, WeightFormat::Fp8},
    {"bf16", WeightFormat::BF16, WeightFormat::BF16},
    {"f32", WeightFormat::F32, WeightFormat::F32},  // no release has it; exact comparisons do
});

struct PlainRow {
  std::string_view name;
  WeightFormat format;
};

constexpr auto kPlainFormats = std::to_array<PlainRow>({
    {"bfloat16", WeightFormat::BF16},
    {"float16", WeightFormat::F16},
    {"float32", WeightFormat::F32},
});

}  // namespace

std::optional<WeightFormat> find_plain_format(std::string_view name) {
  for (const PlainRow& row : kPlainFormats) {
    if (row.name == name) {
      return row.format;
    }
  }
  return std::nullopt;
}

std::optional<std::string_view> find_plain_format_name(WeightFormat format) {
  for (const PlainRow& row : kPlainFormats) {
    if (row.format == format) {
      return row.name;
    }
  }
  return std::nullopt;
}

WeightFormat format_in(const StoragePlan& plan, const WeightSpec& spec) {
  switch (spec.storage) {
    case StorageClass::Expert:
      return plan.experts;
    case StorageClass::Dense:
      return plan.dense;
    case StorageClass::Plain:
      return find_plain_format_name(plan.dense) ? plan.dense : WeightFormat::BF16;
    case StorageClass::Bf16:
      return WeightFormat::BF16;
    case StorageClass::Float32:
      return WeightFormat::F32;
    case StorageClass::TokenIds:
      break;
  }
  fail(ErrorCode::Internal, to_string(spec.key.role), " has no weight format");
}

std::optional<WeightFormat> find_config_format(std::string_view name) {
  for (const FormatRow& row : kFormats) {
    if (row.name == name) {
      return row.experts;
    }
  }
  return std::nullopt;
}

std::optional<std::string_view> find_config_format_name(WeightFormat format) {
  for (const FormatRow& row : kFormats) {
    if (row.experts == format) {
      return row.name;
    }
  }
  return std::nullopt;
}

WeightFormat require_config_format(JsonFields& fields, std::string_view key) {
  const std::string name = fields.text(key);
  const std::optional<WeightFormat> format = find_config_format(name);
  if (!format) {
    fields.fail_at(ErrorCode::Unsupported, key,
                   "expected fp4, fp8, bf16 or f32, found " + formats::quote(name));
  }
  return *format;
}

WeightFormat require_dense_format(JsonFields& fields) {
  const WeightFormat format = require_config_format(fields, "dtype");
  if (format == WeightFormat::Fp4) {
    fields.fail_at(ErrorCode::Unsupported, "dtype", "expected fp8 or bf16, found \"fp4\"");
  }
  return format;
}

std::optional<WeightFormat> find_inference_expert_format(JsonFields& fields) {
  fields.ignore("expert_dtype");
  fields.ignore("dtype");
  if (fields.has("expert_dtype")) {
    return require_config_format(fields, "expert_dtype");
  }
  return fields.has("dtype") ? std::optional(require_dense_format(fields)) : std::nullopt;
}

StoragePlan make_storage_plan(WeightFormat experts, WeightFormat dense) {
  ScaleFormat scale = ScaleFormat::None;
  if (experts == WeightFormat::Fp8) {
    scale = ScaleFormat::F32;
  } else if (dense == WeightFormat::Fp8) {
    scale = ScaleFormat::E8M0;
  }
  return {.experts = experts, .dense = dense, .dense_scale = scale};
}

StoragePlan storage_plan_from_name(std::string_view name) {
  for (const FormatRow& row : kFormats) {
    if (row.name == name) {
      return make_storage_plan(row.experts, row.dense);
    }
  }
  fail(ErrorCode::InvalidArgument, "storage: expected fp4, fp8, bf16 or f32, found ",
       formats::quote(name));
}

}  // namespace fathom::config
