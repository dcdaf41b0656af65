// The weights of one model: mapped files and a view for every role of the weight table.
//
// Knows containers (safetensors shards, GGUF splits) and, through a NameMap, what the tensors are
// called there. Reading a view touches the file; opening touches headers only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/numeric/weight_format.h"
#include "fathom/model/config/weight_table.h"
#include "fathom/model/weights/adapter.h"
#include "fathom/model/weights/binding.h"

namespace fathom::weights {

class Store {
 public:
  // Binds every tensor of the table. Missing and unexpected tensors are recorded, not thrown;
  // a present tensor of wrong shape or dtype throws InvalidCheckpoint naming file and tensor.
  Store(std::shared_ptr<const Checkpoint> checkpoint,
        const config::ModelConfig& config,
        const NameMap& names);
  Store& operator=(const Store&) = delete;

  bool has(const config::WeightKey& key) const;

  // A matrix [rows, columns], expert `expert_idx` of a stacked role. Throws InvalidCheckpoint
  // naming the missing tensor. Vectors are matrices of one row.
  const NamedView& matrix(const config::WeightKey& key, Index expert_idx = 0) const;

  // A vector or small matrix decoded to fp32 (norms, biases, sinks, mixing parameters); checks that
  // every number is finite. The store keeps the numbers and hands out the same ones every
  // time; not for several threads at once.
  std::span<const float> floats(const config::WeightKey& key) const;

  // What floats() handed out by now, to know what a layer works with; empty if nobody asked.
  std::span<const float> find_floats(const config::WeightKey& key) const;

  // Decodes every matrix to fp32 in memory that may be written: what a trainer changes and layers
  // built afterwards see. Throws InvalidCheckpoint naming a number that is not finite.
  void make_trainable();
  // Says that trainable numbers are rounded to those of another format than the file's. Layers that
  // were built before do not learn of it.
  void set_format(const config::WeightKey& key, Index expert_idx, numeric::WeightFormat format);
  // The numbers of a role after make_trainable(), row after row.
  std::span<float> trainable(const config::WeightKey& key, Index expert_idx = 0);

  // The same weights, mapped files and panels shared, with an adapter beside them: what layers
  // built over it compute with. Throws InvalidArgument naming a target that the model has not, or
  // one of another shape. Not after make_trainable().
  std::shared_ptr<Store> with_adapter(std::shared_ptr<const Adapter> adapter) const;
  // What the adapter puts beside a matrix; nothing where there is none.
  std::optional<LowRank> low_rank(const config::WeightKey& key, Index expert_idx = 0) const;

  // An integer table [rows, columns] (hash routing), checked to lie in [0, limit).
  std::vector<std::int32_t> ids(const config::WeightKey& key, Index limit) const;

  // Which formats of weights products read in panels.
  using TakesPanels = std::function<bool(numeric::WeightFormat)>;
  // Bytes that put_into_panels() would take.
  Index bytes_in_panels(const TakesPanels& takes) const;
  // Has `pool` put matrices that are multiplied and are of such a format into panels, each when it
  // is made ready, and gives its rows' pages back then. Layers that were built before keep the
  // rows. Throws OutOfMemory.
  void put_into_panels(platform::ThreadPool& pool, const TakesPanels& takes);
  // Fills what panels are left. on_progress is told of done and total bytes and may throw; what is
  // done then stays. Throws what NamedView::make_ready() throws.
  using Progress = std::function<void(Index done, Index total)>;
  void fill_panels(const Progress& on_progress = {}) const;

  // Bytes of the role's tensors in the files, with scales, all experts together; of what is there.
  Index stored_bytes(const config::WeightKey& key) const;

  const std::vector<std::string>& missing() const { return binding_.missing; }
  const std::vector<std::string>& unexpected() const { return binding_.unexpected; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }

 private:
  Store(const Store&) = default;  // with_adapter
  const BoundRole& bound(const config::WeightKey& key) const;
  std::vector<float> decode(const NamedView& named) const;

  std::shared_ptr<const Checkpoint> checkpoint_;
  Binding binding_;
  std::shared_ptr<PanelMemory> panels_;
  std::shared_ptr<const Adapter> adapter_;
  mutable std::map<config::WeightKey, std::vector<float>> decoded_;  // what floats() handed out
  std::map<std::pair<config::WeightKey, Index>, std::vector<float>> trainable_;
};

}  // namespace fathom::weights
