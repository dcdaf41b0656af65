#include "fathom/base/formats/gguf_layout.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "fathom/base/core/error.h"

namespace fathom::formats {
namespace {

constexpr GgufTypeInfo kTypes[] = {
    {GgufType::F32, "F32", 1, 4},
    {GgufType::F16, "F16", 1, 2},
    {GgufType::Q4_0, "Q4_0", 32, 18},
    {GgufType::Q4_1, "Q4_1", 32, 20},
    {GgufType::Q5_0, "Q5_0", 32, 22},
    {GgufType::Q5_1, "Q5_1", 32, 24},
    {GgufType::Q8_0, "Q8_0", 32, 34},
    {GgufType::Q2_K, "Q2_K", 256, 84},
    {GgufType::Q3_K, "Q3_K", 256, 110},
    {GgufType::Q4_K, "Q4_K", 256, 144},
    {GgufType::Q5_K, "Q5_K", 256, 176},
    {GgufType::Q6_K, "Q6_K", 256, 210},
    {GgufType::IQ2_XXS, "IQ2_XXS", 256, 66},
    {GgufType::IQ2_XS, "IQ2_XS", 256, 74},
    {GgufType::IQ3_XXS, "IQ3_XXS", 256, 98},
    {GgufType::IQ1_S, "IQ1_S", 256, 50},
    {GgufType::IQ4_NL, "IQ4_NL", 32, 18},
    {GgufType::IQ3_S, "IQ3_S", 256, 110},
    {GgufType::IQ2_S, "IQ2_S", 256, 82},
    {GgufType::IQ4_XS, "IQ4_XS", 256, 136},
    {GgufType::I8, "I8", 1, 1},
    {GgufType::I16, "I16", 1, 2},
    {GgufType::I32, "I32", 1, 4},
    {GgufType::I64, "I64", 1, 8},
    {GgufType::F64, "F64", 1, 8},
    {GgufType::IQ1_M, "IQ1_M", 256, 56},
    {GgufType::BF16, "BF16", 1, 2},
    {GgufType::TQ1_0, "TQ1_0", 256, 54},
    {GgufType::TQ2_0, "TQ2_0", 256, 66},
    {GgufType::MXFP4, "MXFP4", 32, 17},
};

// ggml's own that we do not decode (removed ones, activation formats, types without a reader here)
// and those of ik_llama.cpp, a fork that writes the same magic.
constexpr std::string_view kGgml = "ggml";
constexpr std::string_view kIkLlama = "ik_llama.cpp";

constexpr gguf::ForeignType kForeignTypes[] = {
    {4, "Q4_2", kGgml},           {5, "Q4_3", kGgml},
    {9, "Q8_1", kGgml},           {15, "Q8_K", kGgml},
    {31, "Q4_0_4_4", kGgml},      {32, "Q4_0_4_8", kGgml},
    {33, "Q4_0_8_8", kGgml},      {37, "IQ4_NL_4_8", kGgml},
    {38, "IQ4_NL_8_8", kGgml},    {40, "NVFP4", kGgml},
    {41, "Q1_0", kGgml},          {36, "I2_S", kIkLlama},
    {97, "Q8_0_X4", kIkLlama},    {98, "Q8_1_X4", kIkLlama},
    {99, "Q8_2_X4", kIkLlama},    {133, "Q6_0", kIkLlama},
    {134, "IQ1_BN", kIkLlama},    {135, "IQ2_BN", kIkLlama},
    {136, "Q8_K64", kIkLlama},    {137, "IQ2_K", kIkLlama},
    {138, "IQ3_K", kIkLlama},     {139, "IQ4_K", kIkLlama},
    {140, "IQ5_K", kIkLlama},     {141, "IQ6_K", kIkLlama},
    {142, "IQ2_TN", kIkLlama},    {143, "IQ1_TN", kIkLlama},
    {144, "IQ4_KS", kIkLlama},    {145, "IQ2_KS", kIkLlama},
    {146, "IQ4_KSS", kIkLlama},   {147, "Q8_K16", kIkLlama},
    {148, "Q8_K32", kIkLlama},    {149, "Q8_KR8", kIkLlama},
    {150, "Q8_K128", kIkLlama},   {151, "Q8_KV", kIkLlama},
    {152, "IQ5_KS", kIkLlama},    {153, "IQ2_KT", kIkLlama},
    {154, "IQ3_KT", kIkLlama},    {155, "IQ4_KT", kIkLlama},
    {156, "IQ3_KS", kIkLlama},    {157, "IQ2_KL", kIkLlama},
    {158, "IQ1_KT", kIkLlama},    {202, "Q4_0_R8", kIkLlama},
    {206, "Q5_0_R4", kIkLlama},   {208, "Q8_0_R8", kIkLlama},
    {210, "Q2_K_R4", kIkLlama},   {211, "Q3_K_R4", kIkLlama},
    {212, "Q4_K_R4", kIkLlama},   {213, "Q5_K_R4", kIkLlama},
    {214, "Q6_K_R4", kIkLlama},   {216, "IQ2_XXS_R4", kIkLlama},
    {217, "IQ2_XS_R4", kIkLlama}, {218, "IQ3_XXS_R4", kIkLlama},
    {219, "IQ1_S_R4", kIkLlama},  {220, "IQ4_NL_R4", kIkLlama},
    {221, "IQ3_S_R4", kIkLlama},  {222, "IQ2_S_R4", kIkLlama},
    {223, "IQ4_XS_R8", kIkLlama}, {229, "IQ1_M_R4", kIkLlama},
    {230, "BF16_R16", kIkLlama},  {233, "Q6_0_R4", kIkLlama},
    {335, "IQ2_BN_R4", kIkLlama}, {337, "IQ2_K_R4", kIkLlama},
    {338, "IQ3_K_R4", kIkLlama},  {339, "IQ4_K_R4", kIkLlama},
    {340, "IQ5_K_R4", kIkLlama},  {344, "IQ4_KS_R4", kIkLlama},
    {352, "IQ5_KS_R4", kIkLlama}, {353, "MXFP4_R8", kIkLlama},
    {397, "Q8_K_R16", kIkLlama},  {398, "Q8_KV_R8", kIkLlama},
    {399, "Q8_K_R8", kIkLlama},
};

// Elements with zeros counted as ones.
std::optional<Index> volume(const std::vector<Index>& shape) {
  std::optional<Index> product = 1;
  for (const Index size : shape) {
    product = checked_multiply(*product, size == 0 ? 1 : size);
    if (!product) {
      return std::nullopt;
    }
  }
  return product;
}

}  // namespace

namespace gguf {

const GgufTypeInfo* find_type(std::uint32_t number) {
  for (const GgufTypeInfo& row : kTypes) {
    if (static_cast<std::uint32_t>(row.type) == number) {
      return &row;
    }
  }
  return nullptr;
}

const ForeignType* find_foreign_type(std::uint32_t number) {
  for (const ForeignType& row : kForeignTypes) {
    if (row.number == number) {
      return &row;
    }
  }
  return nullptr;
}

std::optional<Index> tensor_bytes(const std::vector<Index>& shape, const GgufTypeInfo& type) {
  const auto elements = volume(shape);
  if (!elements || (shape.empty() ? 1 : shape.back()) % type.block_columns != 0) {
    return std::nullopt;
  }
  const auto bytes = checked_multiply(*elements / type.block_columns, type.block_bytes);
  const bool is_empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  return bytes && is_empty ? 0 : bytes;
}

std::optional<Index> align_up(Index value, Index alignment) {
  const auto raised = checked_add(value, alignment - 1);
  return raised ? std::optional<Index>(*raised / alignment * alignment) : std::nullopt;
}

bool is_alignment(Index value) {
  return value > 0 && value <= std::numeric_limits<std::uint32_t>::max() &&
         std::has_single_bit(static_cast<std::uint64_t>(value));
}

}  // namespace gguf

const GgufTypeInfo& gguf_type_info(GgufType type) {
  const GgufTypeInfo* row = gguf::find_type(static_cast<std::uint32_t>(type));
  FATHOM_CHECK(row != nullptr);
  return *row;
}

std::optional<GgufType> gguf_type_from_name(std::string_view name) {
  for (const GgufTypeInfo& row : kTypes) {
    if (row.name == name) {
      return row.type;
    }
  }
  return std::nullopt;
}

}  // namespace fathom::formats
