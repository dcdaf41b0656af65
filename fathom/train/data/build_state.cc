#include "fathom/train/data/build_state.h"

#include <limits>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/small_file.h"
#include "fathom/model/text/json_field.h"
#include "fathom/model/text/json_text.h"

namespace fathom::data {
namespace {

using text::JsonField;

struct CountRow {
  const char* name;
  Index BuildState::*count;
};
constexpr CountRow kCounts[] = {
    {"decided", &BuildState::num_decided},           {"texts", &BuildState::num_texts},
    {"signatures", &BuildState::num_signatures},     {"hit_bytes", &BuildState::hit_bytes},
    {"broken_lines", &BuildState::num_broken_lines}, {"sharded", &BuildState::num_sharded},
};

Index count_of(const JsonField& field) {
  const auto value = field.integer(0, std::numeric_limits<std::int64_t>::max());
  if (!value) {
    field.refuse("a count");
  }
  return *value;
}

}  // namespace

void save_state(const BuildState& state, const std::filesystem::path& path) {
  std::string json =
      fmt::format("{{\"settings\":{},\"is_selected\":{},\"has_tokenizer\":{}",
                  text::json_string(state.settings), state.is_selected, state.has_tokenizer);
  for (const CountRow& row : kCounts) {
    json += fmt::format(",\"{}\":{}", row.name, state.*row.count);
  }
  json += ",\"shards\":[";
  for (const ManifestShard& shard : state.shards) {
    json += fmt::format("{}{{\"file\":{},\"documents\":{},\"tokens\":{},\"targets\":{}}}",
                        &shard == state.shards.data() ? "" : ",", text::json_string(shard.file),
                        shard.num_documents, shard.num_tokens, shard.num_targets);
  }
  json += "]}\n";
  platform::write_file(path, json);
}

std::optional<BuildState> load_state(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) {
    return std::nullopt;
  }
  const text::JsonValue root = text::parse_json(platform::read_file(path), path.string());
  const JsonField field(&root, path.string());
  BuildState state;
  state.settings = field.member("settings").text();
  state.is_selected = field.member("is_selected").boolean_or(false);
  state.has_tokenizer = field.member("has_tokenizer").boolean_or(false);
  for (const CountRow& row : kCounts) {
    state.*row.count = count_of(field.member(row.name));
  }
  const JsonField shards = field.member("shards");
  shards.require(JsonField::Kind::Array, "a list");
  for (Index i = 0; i < shards.size(); ++i) {
    const JsonField shard = shards.item(i);
    state.shards.push_back({.file = shard.member("file").text(),
                            .num_documents = count_of(shard.member("documents")),
                            .num_tokens = count_of(shard.member("tokens")),
                            .num_targets = count_of(shard.member("targets"))});
  }
  return state;
}

}  // namespace fathom::data
