#include "apps/fathom/serve_models.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <set>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/platform/process_memory.h"
#include "fathom/families.h"
#include "fathom/model/config/footprint.h"

namespace fathom::app {
namespace {

// Without a budget, caches get this share of what the weights leave ...
constexpr double kCacheShare = 0.5;
constexpr std::int64_t kLeastBudget = std::int64_t{256} << 20;
// ... of it the raw rows of running sequences this share, and one sequence's rest at most this.
constexpr double kRawShare = 0.25;
constexpr double kOneSequenceShare = 0.7;
constexpr Index kFewestRawTokens = 256;
constexpr Index kMostRawTokens = 8192;

std::string name_of(const std::string& path) {
  const std::filesystem::path file = std::filesystem::path(path).lexically_normal();
  const std::filesystem::path last = file.has_filename() ? file : file.parent_path();
  const bool is_file = last.extension() == ".gguf" || last.extension() == ".safetensors";
  return (is_file ? last.stem() : last.filename()).string();
}

std::vector<std::pair<std::string, std::string>> names_and_paths(const ServeOptions& options) {
  if (options.run.model.empty()) {
    fail(ErrorCode::InvalidArgument,
         "no model: name a checkpoint on the command line or as `model` in the settings file");
  }
  std::vector<std::pair<std::string, std::string>> models = {
      {options.name.empty() ? name_of(options.run.model) : options.name, options.run.model}};
  for (const std::string& more : options.more_models) {
    const std::size_t equal = more.find('=');
    if (equal == std::string::npos || equal == 0 || equal + 1 == more.size()) {
      fail(ErrorCode::InvalidArgument, "--also: expected NAME=PATH, found ", formats::quote(more));
    }
    models.emplace_back(more.substr(0, equal), more.substr(equal + 1));
  }
  std::set<std::string> names;
  for (const auto& [name, path] : models) {
    if (!names.insert(name).second) {
      fail(ErrorCode::InvalidArgument, "--also: two models are called ", formats::quote(name));
    }
  }
  return models;
}

NamedAdapter named_adapter(const std::string& option) {
  const std::size_t equal = option.find('=');
  if (equal == std::string::npos) {
    return {.name = name_of(option), .path = option};
  }
  if (equal == 0 || equal + 1 == option.size()) {
    fail(ErrorCode::InvalidArgument, "--lora: expected NAME=ADAPTER, found ",
         formats::quote(option));
  }
  return {.name = option.substr(0, equal), .path = option.substr(equal + 1)};
}

// The longest context of which one sequence's cache leaves room for others.
Index context_within(const config::ModelConfig& config,
                     const config::CacheNumbers& numbers,
                     Index wanted,
                     std::int64_t budget_bytes) {
  const auto most = static_cast<Index>(kOneSequenceShare * static_cast<double>(budget_bytes));
  Index fits = 0;
  Index too_long = wanted + 1;
  while (too_long - fits > 1) {
    const Index middle = fits + (too_long - fits) / 2;
    (config::cache_bytes(config, middle, numbers) <= most ? fits : too_long) = middle;
  }
  return fits;
}

// Of the memory that is left for caches, each model gets an equal share.
std::int64_t cache_budget(const ServeOptions& options, Index left_bytes, std::size_t num_models) {
  if (options.run.cache_budget_bytes > 0) {
    return static_cast<std::int64_t>(options.run.cache_budget_bytes);
  }
  const double share =
      kCacheShare * static_cast<double>(left_bytes) / static_cast<double>(num_models);
  return std::max(kLeastBudget, static_cast<std::int64_t>(share));
}

void fit(const ServeOptions& options, const config::ModelConfig& config, ModelPlan& plan) {
  const Index wanted = options.run.max_context == 0
                           ? plan.model_context
                           : std::min(options.run.max_context, plan.model_context);
  const config::CacheNumbers numbers =
      options.run.numerics == "fast" ? config::kFastCache : config::kFp32Cache;
  plan.context = context_within(config, numbers, wanted, plan.cache_budget_bytes);
  if (plan.context < 1 || (options.run.max_context != 0 && plan.context < wanted)) {
    fail(ErrorCode::InvalidArgument, plan.name, ": a context of ", wanted, " tokens takes ",
         config::cache_bytes(config, wanted, numbers), " bytes of cache, of a budget of ",
         plan.cache_budget_bytes, ": ask for less with --ctx or allow more with --cache-budget");
  }
  plan.cache_bytes_at_context = config::cache_bytes(config, plan.context, numbers);
  plan.cache_bytes_per_token = config::cache_bytes_per_token(config, numbers);
  const Index raw_bytes = config::raw_row_bytes_per_token(config, numbers);
  const double raw_budget = kRawShare * static_cast<double>(plan.cache_budget_bytes) /
                            static_cast<double>(options.max_running);
  plan.raw_tokens = raw_bytes == 0 ? kMostRawTokens
                                   : std::clamp(static_cast<Index>(raw_budget) / raw_bytes,
                                                kFewestRawTokens, kMostRawTokens);
}

}  // namespace

std::vector<ModelPlan> plan_models(const ServeOptions& options) {
  const Index available =
      platform::available_memory_bytes().value_or(std::numeric_limits<Index>::max() / 2);
  const auto models = names_and_paths(options);
  std::vector<OpenedModel> opened;
  Index all_bytes = 0;
  for (const auto& [name, path] : models) {
    opened.push_back(open_model(path));
    all_bytes += opened.back().checkpoint->total_file_bytes();
  }
  std::vector<ModelPlan> plans;
  Index used = all_bytes;
  for (std::size_t i = 0; i < models.size(); ++i) {
    const config::ModelConfig& config = opened[i].config.model;
    ModelPlan plan = {.name = models[i].first,
                      .path = models[i].second,
                      .family = std::string(config::to_string(config.family)),
                      .file_bytes = opened[i].checkpoint->total_file_bytes(),
                      .model_context = config.max_context,
                      .cache_budget_bytes = cache_budget(
                          options, std::max<Index>(0, available - all_bytes), models.size()),
                      .available_bytes = available};
    fit(options, config, plan);
    used += plan.cache_budget_bytes + plan.cache_budget_bytes / 10;
    plans.push_back(std::move(plan));
  }
  for (ModelPlan& plan : plans) {
    plan.fits = used <= available;
  }
  return plans;
}

std::vector<NamedAdapter> named_adapters(const ServeOptions& options) {
  std::set<std::string> names;
  for (const auto& [name, path] : names_and_paths(options)) {
    names.insert(name);
  }
  std::vector<NamedAdapter> adapters;
  for (const std::string& option : options.adapters) {
    adapters.push_back(named_adapter(option));
    if (!names.insert(adapters.back().name).second) {
      fail(ErrorCode::InvalidArgument, "--lora: another model or adapter is called ",
           formats::quote(adapters.back().name));
    }
  }
  return adapters;
}

ModelOptions model_options(const ServeOptions& options, const ModelPlan& plan) {
  ModelOptions model = options.run.model_options();
  model.max_context = plan.context;
  model.raw_tokens = plan.raw_tokens;
  model.cache_budget_bytes = 0;  // the engine's, of all sequences
  return model;
}

}  // namespace fathom::app
