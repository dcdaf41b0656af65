#include "fathom/model/config/adapter_targets.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::config {
namespace {

struct TargetRow {
  std::string_view group;
  WeightRole role;
};

constexpr auto kTargets = std::to_array<TargetRow>({
    {"attention", WeightRole::QueryDown},
    {"attention", WeightRole::QueryUp},
    {"attention", WeightRole::KeyValue},
    {"attention", WeightRole::OutputDown},
    {"attention", WeightRole::OutputUp},
    {"attention", WeightRole::Query},
    {"attention", WeightRole::Key},
    {"attention", WeightRole::Value},
    {"attention", WeightRole::Output},
    {"compressor", WeightRole::CompressorValue},
    {"compressor", WeightRole::CompressorGate},
    {"router", WeightRole::RouterWeight},
    {"experts", WeightRole::ExpertGate},
    {"experts", WeightRole::ExpertUp},
    {"experts", WeightRole::ExpertDown},
    {"shared", WeightRole::SharedGate},
    {"shared", WeightRole::SharedUp},
    {"shared", WeightRole::SharedDown},
    {"mlp", WeightRole::MlpGate},
    {"mlp", WeightRole::MlpUp},
    {"mlp", WeightRole::MlpDown},
});

// Those that some layer of the model has.
std::vector<TargetRow> targets_of(const ModelConfig& config) {
  std::vector<TargetRow> found;
  const std::vector<WeightSpec> table = weight_table(config);
  std::copy_if(kTargets.begin(), kTargets.end(), std::back_inserter(found),
               [&](const TargetRow& row) {
                 return std::any_of(table.begin(), table.end(), [&](const WeightSpec& spec) {
                   return spec.key.role == row.role && spec.key.block == Block::Layer;
                 });
               });
  return found;
}

struct Wish {
  std::string_view name;
  Index rank;
};

Wish parse_wish(std::string_view text, Index default_rank) {
  const std::size_t equal = text.find('=');
  Wish wish = {text.substr(0, equal), default_rank};
  if (equal != std::string_view::npos) {
    const std::string_view digits = text.substr(equal + 1);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), wish.rank);
    if (error != std::errc() || end != digits.data() + digits.size()) {
      wish.rank = 0;
    }
  }
  if (wish.rank < 1 || wish.rank > kMaxAdapterRank) {
    fail(ErrorCode::InvalidArgument, "targets: ", formats::quote(text),
         ": expected a rank of 1 to ", kMaxAdapterRank, " after the =");
  }
  return wish;
}

}  // namespace

bool can_be_adapted(WeightRole role) {
  return std::any_of(kTargets.begin(), kTargets.end(),
                     [&](const TargetRow& row) { return row.role == role; });
}

std::string adapter_target_names(const ModelConfig& config) {
  std::string groups;
  std::string roles;
  std::string_view last_group;
  for (const TargetRow& row : targets_of(config)) {
    if (row.group != last_group) {
      groups.append(groups.empty() ? "" : ", ").append(row.group);
      last_group = row.group;
    }
    roles.append(", ").append(to_string(row.role));
  }
  return groups + roles;
}

std::vector<AdapterRank> parse_adapter_targets(std::string_view text,
                                               const ModelConfig& config,
                                               Index default_rank) {
  const std::vector<TargetRow> targets = targets_of(config);
  std::map<WeightRole, Index> ranks;
  while (true) {
    const std::size_t comma = text.find(',');
    const Wish wish = parse_wish(text.substr(0, comma), default_rank);
    bool is_known = false;
    for (const TargetRow& row : targets) {
      if (wish.name == row.group || wish.name == to_string(row.role)) {
        ranks[row.role] = wish.rank;
        is_known = true;
      }
    }
    if (!is_known) {
      fail(ErrorCode::InvalidArgument, "targets: the model has no ", formats::quote(wish.name),
           ", expected some of: ", adapter_target_names(config));
    }
    if (comma == std::string_view::npos) {
      break;
    }
    text.remove_prefix(comma + 1);
  }
  std::vector<AdapterRank> result;
  for (const TargetRow& row : targets) {
    if (const auto at = ranks.find(row.role); at != ranks.end()) {
      result.push_back({row.role, at->second});
    }
  }
  return result;
}

}  // namespace fathom::config
