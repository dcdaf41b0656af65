#include "fathom/model/config/model_config.h"

#include <array>
#include <cstddef>

#include "fathom/base/core/error.h"

namespace fathom::config {
namespace {

template <typename Enum>
struct NameRow {
  Enum value;
  std::string_view name;
};

constexpr auto kFamilies = std::to_array<NameRow<Family>>({
    {Family::DeepseekV4, "deepseek_v4"},
    {Family::Llama, "llama"},
});

constexpr auto kAttentionKinds = std::to_array<NameRow<AttentionKind>>({
    {AttentionKind::SlidingWindow, "sliding_window"},
    {AttentionKind::CompressedSparse, "compressed_sparse"},
    {AttentionKind::HeavilyCompressed, "heavily_compressed"},
    {AttentionKind::Grouped, "grouped"},
});

constexpr auto kRouterKinds = std::to_array<NameRow<RouterKind>>({
    {RouterKind::HashTable, "hash_table"},
    {RouterKind::TopK, "top_k"},
    {RouterKind::None, "none"},
});

template <typename Enum, std::size_t kSize>
std::string_view name_in(const std::array<NameRow<Enum>, kSize>& rows, Enum value) {
  for (const NameRow<Enum>& row : rows) {
    if (row.value == value) {
      return row.name;
    }
  }
  fail(ErrorCode::Internal, "enumerator ", static_cast<int>(value), " of a config has no name");
}

}  // namespace

std::string_view to_string(Family family) {
  return name_in(kFamilies, family);
}
std::string_view to_string(AttentionKind kind) {
  return name_in(kAttentionKinds, kind);
}
std::string_view to_string(RouterKind kind) {
  return name_in(kRouterKinds, kind);
}

}  // namespace fathom::config
