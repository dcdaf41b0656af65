// The money side of fathom plan: its options, and its answers as JSON and as sections of a report.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "fathom/base/chart/report.h"
#include "fathom/base/core/index.h"
#include "fathom/model/config/model_config.h"
#include "fathom/study/plan/percentiles.h"

namespace CLI {
class App;
}

namespace fathom::app {

// As given on the command line: texts are read when a question is answered.
struct CostOptions {
  bool with_cost = false;
  bool with_training = false;
  bool as_markdown = false;
  std::string html_file;
  std::string prices_file;  // default: the table that comes with the program
  std::string buyer_file;
  std::string date;  // of prices; default: today
  // Of the buyer, over those of the file.
  std::map<std::string, std::string> fields;  // "capex_usd" -> "20000" or "18000,20000,24000"
  std::string mix;                            // "20:30:50", input:output:cached in percent
  std::string contexts;                       // "4096:70,65536:30"
  std::string traffic;                        // a named week
  std::string api_provider;
  std::string api_model;
  Index num_draws = 20'000;
  std::uint64_t seed = 1;
  // Of training. 0: as published for the model, and as DeepSeek-V3 was trained.
  double training_tokens = 0;
  Index training_context_tokens = 4096;
  double peak_tflop_per_s = 0;  // dense, of one accelerator
  double training_utilisation = 0;
  double usd_per_gpu_hour = 0;
  Index num_accelerators = 0;
};

// --cost, --train, --prices, --buyer, --html, --markdown and all that belongs to them.
void add_cost_options(CLI::App& command, CostOptions& options);

// Keys to merge into the plan's object, and the section of its report.
struct CostAnswer {
  nlohmann::ordered_json json;
  chart::Section section;
};

// cost_usd_per_million_tokens {input, cached_input, output}, each {p10, p50, p90}, and what belongs
// to it. `model` is what was planned: v4-flash and v4-pro find their API prices by themselves.
// Throws InvalidArgument naming option or field.
CostAnswer answer_cost(const CostOptions& options,
                       const std::string& model,
                       const plan::MachineSpeed& speed);

// training_cost_usd and what belongs to it.
CostAnswer answer_training(const CostOptions& options,
                           const std::string& model,
                           const config::ModelConfig& config);

// Writes --html FILE where it was asked for. Throws Io.
void write_html(const CostOptions& options, const chart::Report& report);

}  // namespace fathom::app
