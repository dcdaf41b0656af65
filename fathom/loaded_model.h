// An opened model with everything that computes with it: what sessions and engines share.
//
// Part of the door and not installed; fathom.h is what others see of it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fathom/adapters.h"
#include "fathom/compute/runtime/runtime.h"
#include "fathom/families.h"
#include "fathom/fathom.h"
#include "fathom/model/kv/sequence_cache.h"

namespace fathom {

class LoadedModel final : public Model {
 public:
  // Throws what Model::open throws.
  LoadedModel(const std::string& path, const ModelOptions& options);

  const ModelFacts& facts() const override { return facts_; }
  Session start() override;
  void finish_loading() override { opened_.store->fill_panels(on_load_); }

  ops::Context& context() { return runtime_.context(); }
  const layers::CausalLm& lm() const { return *model_.lm; }
  // Of the adapter it was opened with; empty without one.
  const std::string& adapter_identity() const { return model_.identity; }
  Index step_tokens() const { return step_tokens_; }
  bool is_end_token(TokenId token) const;
  const weights::Checkpoint& checkpoint() const { return *opened_.checkpoint; }

  // Layers over the same weights with an adapter beside them, and what tells that adapter from
  // others. They need this model to stay.
  struct Adapted {
    std::unique_ptr<layers::CausalLm> lm;
    std::string identity;
  };
  Adapted build_adapted(const std::string& path) const;

  // An empty cache for the model's layout, or its draft block's.
  kv::SequenceCache make_cache(const std::vector<config::CacheStream>& layout);
  const kv::CacheOptions& cache_options() const { return cache_options_; }
  const std::shared_ptr<kv::PagePool>& pages() const { return pages_; }

 private:
  bool put_into_panels(const std::string& path, const ModelOptions& options);
  Index kept_page_bytes(const ModelOptions& options);
  config::CacheNumbers cache_numbers();
  Index raw_tokens(const ModelOptions& options);

  runtime::Runtime runtime_;
  OpenedModel opened_;
  Warn warn_;
  weights::Store::Progress on_load_;
  bool has_panels_;
  Adapted model_;
  Index max_context_;
  kv::CacheOptions cache_options_;
  std::shared_ptr<kv::PagePool> pages_;  // of all caches
  Index step_tokens_;
  ModelFacts facts_;
};

}  // namespace fathom
