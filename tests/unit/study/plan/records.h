// Output of `fathom bench --json` as far as the planner reads it, for tests.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "fathom/model/config/read_config.h"
#include "fathom/model/config/weight_table.h"

namespace fathom::plan {

// A run of V4-Flash with every weight in Q8_0.
inline nlohmann::json flash_record() {
  using Json = nlohmann::json;
  const auto flash = config::find_builtin_config("v4-flash")->model;
  Json storage = Json::array();
  for (const config::WeightSpec& spec : config::weight_table(flash)) {
    const char* block = spec.key.block == config::Block::Mtp     ? "mtp"
                        : spec.key.block == config::Block::Layer ? "layer"
                                                                 : "model";
    const std::string role(config::to_string(spec.key.role));
    Json* row = nullptr;
    for (Json& other : storage) {
      row = other["block"] == block && other["role"] == role ? &other : row;
    }
    if (row == nullptr) {
      storage.push_back({{"block", block}, {"role", role}, {"format", "Q8_0"}, {"bytes", 0}});
      row = &storage.back();
    }
    (*row)["bytes"] = (*row)["bytes"].get<Index>() + spec.num_elements();
  }
  return {
      {"model", "flash.gguf"},
      {"numerics", "fast"},
      {"layout", "panels"},
      {"threads", 8},
      {"file_bytes", 284'000'000'000},
      {"peak_rss_bytes", 300'000'000'000},
      {"config",
       Json::parse(config::make_config_json(flash, config::storage_plan_from_name("bf16")))},
      {"storage", storage},
      {"prefill",
       {{{"tokens", 512}, {"context", 0}, {"batch", 1}, {"tokens_per_s", 10}, {"read_gb_s", 100}}}},
      {"decode",
       {{{"tokens", 16}, {"context", 4096}, {"batch", 2}, {"tokens_per_s", 4}, {"read_gb_s", 100}},
        {{"tokens", 16},
         {"context", 0},
         {"batch", 1},
         {"tokens_per_s", 3},
         {"read_gb_s", 100},
         {"cached_gb_s", 300},
         {"barrier_us", 2}}}}};
}

}  // namespace fathom::plan
