#include "fathom/loaded_model.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "fathom/adapters.h"
#include "fathom/base/platform/process_memory.h"
#include "fathom/model/config/footprint.h"

namespace fathom {
namespace {

// A step of more tokens does not keep more memory between sequences.
constexpr Index kMostKeptTokens = 512;

runtime::RuntimeOptions runtime_options(const ModelOptions& options) {
  if (options.step_tokens < 1) {
    fail(ErrorCode::InvalidArgument, "step tokens: found ", options.step_tokens,
         ", expected at least 1");
  }
  const auto numerics = ops::numerics_from_name(options.numerics);
  if (!numerics) {
    fail(ErrorCode::InvalidArgument, "numerics: found \"", options.numerics,
         "\", expected high, official or fast");
  }
  return {.num_threads = options.num_threads,
          .pin_to_cores = options.pin_threads,
          .backend = options.backend,
          .numerics = *numerics};
}

// Shows a caller of the door what it asked to be told; nothing where it did not.
ops::Probe probe_of(const ModelOptions& options) {
  if (!options.on_layer && !options.on_experts) {
    return {};
  }
  return [on_layer = options.on_layer, on_experts = options.on_experts](
             std::string_view name, Index layer_idx, const tensor::Tensor& value) {
    if (on_layer && name == "hidden") {  // the last that a decoder layer shows
      on_layer(layer_idx);
    }
    if (on_experts && name == "route_ids") {
      on_experts(layer_idx, {value.data<std::int32_t>(), to_size(value.num_elements())});
    }
  };
}

}  // namespace

LoadedModel::LoadedModel(const std::string& path, const ModelOptions& options)
    : runtime_(runtime_options(options)),
      opened_(open_model(path, {.huge_pages = options.huge_pages})),
      warn_(options.on_warning),
      on_load_(options.on_load),
      has_panels_(put_into_panels(path, options)),
      model_(options.adapter.empty() ? Adapted{build_model(opened_), {}}
                                     : build_adapted(options.adapter)),
      max_context_(options.max_context == 0
                       ? opened_.config.model.max_context
                       : std::min(options.max_context, opened_.config.model.max_context)),
      cache_options_{.raw_tokens = raw_tokens(options),
                     .checkpoint_interval = options.checkpoint_interval},
      pages_(std::make_shared<kv::PagePool>(kept_page_bytes(options))),
      step_tokens_(options.step_tokens),
      facts_{.family = std::string(config::to_string(opened_.config.model.family)),
             .backend = runtime_.backend_name(),
             .numerics = options.numerics,
             .layout = has_panels_ ? "panels" : "rows",
             .vocab_size = opened_.config.model.vocab_size,
             .max_context = max_context_,
             .num_layers = opened_.config.model.num_layers(),
             .has_draft = lm().draft() != nullptr,
             .num_threads = runtime_.pool().num_threads(),
             .fallbacks = runtime_.fallbacks()} {
  runtime_.context().probe = probe_of(options);
}

bool LoadedModel::is_end_token(TokenId token) const {
  const config::ModelConfig& config = opened_.config.model;
  const auto& more = config.more_eos_tokens;
  return token == config.eos_token || std::find(more.begin(), more.end(), token) != more.end();
}

LoadedModel::Adapted LoadedModel::build_adapted(const std::string& path) const {
  const std::shared_ptr<const weights::Adapter> adapter = open_adapter(path, opened_, warn_);
  return {.lm = build_model(adapted(opened_, adapter)),
          .identity = fathom::adapter_identity(*adapter)};
}

kv::SequenceCache LoadedModel::make_cache(const std::vector<config::CacheStream>& layout) {
  return {layout, context().cache_dtype(), cache_options_, pages_};
}

// Whether the weights were put into panels.
bool LoadedModel::put_into_panels(const std::string& path, const ModelOptions& options) {
  check_numerics(opened_.config.model.family, runtime_.context().numerics);
  if (options.layout != "auto" && options.layout != "rows" && options.layout != "panels") {
    fail(ErrorCode::InvalidArgument, "layout: found \"", options.layout,
         "\", expected auto, rows or panels");
  }
  if (options.layout == "rows") {
    return false;
  }
  const auto takes = [&](numeric::WeightFormat format) { return runtime_.reads_panels(format); };
  const Index needed = opened_.store->bytes_in_panels(takes);
  const Index available =
      platform::available_memory_bytes().value_or(std::numeric_limits<Index>::max());
  // A tenth is left for caches and steps.
  const bool is_free = needed + needed / 10 <= available;
  if (!is_free && options.layout == "panels") {
    fail(ErrorCode::OutOfMemory, path, ": weights in panels take ", needed, " bytes, of ",
         available, " available, a tenth more expected; --layout rows needs none");
  }
  if (needed == 0 || !is_free) {
    return false;
  }
  opened_.store->put_into_panels(runtime_.pool(), takes);
  return true;
}

// Memory of caches that is kept when nothing is in it: the rows of a step, most of which may go
// at its end and come back in the next.
Index LoadedModel::kept_page_bytes(const ModelOptions& options) {
  const Index per_token = config::raw_row_bytes_per_token(opened_.config.model, cache_numbers());
  return std::max(16 * kv::PagePool::kBlockBytes,
                  std::min(options.step_tokens, kMostKeptTokens) * per_token);
}

config::CacheNumbers LoadedModel::cache_numbers() {
  switch (context().cache_dtype()) {
    case tensor::DType::BF16:
      return config::kFastCache;
    case tensor::DType::F64:
      return config::kDoubleCache;
    default:
      return config::kFp32Cache;
  }
}

// As many raw rows as the cache's budget leaves room for.
Index LoadedModel::raw_tokens(const ModelOptions& options) {
  if (options.max_context < 0 || options.cache_budget_bytes < 0) {
    fail(ErrorCode::InvalidArgument, "context and cache budget: expected no negative number");
  }
  if (options.cache_budget_bytes == 0) {
    return options.raw_tokens;
  }
  const config::ModelConfig& model = opened_.config.model;
  const Index kept = config::cache_bytes(model, max_context_, cache_numbers());
  if (kept > options.cache_budget_bytes) {
    fail(ErrorCode::InvalidArgument, "cache: a context of ", max_context_, " tokens takes ", kept,
         " bytes, expected at most ", options.cache_budget_bytes,
         " (the cache's budget): ask for a shorter context or allow more");
  }
  const Index raw = config::raw_row_bytes_per_token(model, cache_numbers());
  return raw == 0 ? options.raw_tokens
                  : std::min(options.raw_tokens, (options.cache_budget_bytes - kept) / raw);
}

}  // namespace fathom
