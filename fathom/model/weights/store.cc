#include "fathom/model/weights/store.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/mapped_file.h"
#include "fathom/compute/numeric/weight_panels.h"

namespace fathom::weights {
namespace {

using config::WeightKey;
using formats::GgufType;
using formats::SafetensorsDType;
using numeric::WeightFormat;

bool is_i64(const StoredTensor& tensor) {
  const auto* type = std::get_if<GgufType>(&tensor.dtype);
  return type != nullptr ? *type == GgufType::I64
                         : std::get<SafetensorsDType>(tensor.dtype) == SafetensorsDType::I64;
}

}  // namespace

Store::Store(std::shared_ptr<const Checkpoint> checkpoint,
             const config::ModelConfig& config,
             const NameMap& names)
    : checkpoint_(std::move(checkpoint)), binding_(bind(*checkpoint_, config, names)) {}

bool Store::has(const WeightKey& key) const {
  const auto at = binding_.roles.find(key);
  return at != binding_.roles.end() && at->second.missing.empty();
}

const BoundRole& Store::bound(const WeightKey& key) const {
  const auto at = binding_.roles.find(key);
  if (at == binding_.roles.end()) {
    fail(ErrorCode::Internal, "bug in Fathom: ", to_string(key.role), " of block ", key.layer_idx,
         " is not in the weight table");
  }
  if (!at->second.missing.empty()) {
    fail(ErrorCode::InvalidCheckpoint, checkpoint_->files().front().parent_path().string(),
         ": tensor ", at->second.missing, " is missing");
  }
  return at->second;
}

const NamedView& Store::matrix(const WeightKey& key, Index expert_idx) const {
  const BoundRole& role = bound(key);
  FATHOM_CHECK(expert_idx >= 0 && expert_idx < to_index(role.matrices.size()));
  return role.matrices[to_size(expert_idx)];
}

namespace {

bool goes_into_panels(const BoundRole& bound,
                      const numeric::WeightView& view,
                      const Store::TakesPanels& takes) {
  return bound.goes_into_panels && view.data != nullptr && numeric::can_be_in_panels(view) &&
         takes(view.format);
}

}  // namespace

Index Store::bytes_in_panels(const TakesPanels& takes) const {
  Index num_bytes = 0;
  for (const auto& [key, bound] : binding_.roles) {
    for (const NamedView& named : bound.matrices) {
      num_bytes +=
          goes_into_panels(bound, named.view, takes) ? numeric::bytes_in_panels(named.view) : 0;
    }
  }
  return num_bytes;
}

void Store::put_into_panels(platform::ThreadPool& pool, const TakesPanels& takes) {
  panels_ = std::make_shared<PanelMemory>(bytes_in_panels(takes), pool);
  for (auto& [key, bound] : binding_.roles) {
    for (NamedView& named : bound.matrices) {
      if (goes_into_panels(bound, named.view, takes)) {
        named.view = panels_->place(named.name, named.view);
        named.panels = panels_;
      }
    }
  }
}

void Store::fill_panels(const Progress& on_progress) const {
  const Index total = panels_ ? panels_->num_waiting_bytes() : 0;
  for (Index left = total; left > 0; left = panels_->num_waiting_bytes()) {
    give_back(panels_->fill_next());
    if (on_progress) {
      on_progress(total - panels_->num_waiting_bytes(), total);
    }
  }
}

Index Store::stored_bytes(const WeightKey& key) const {
  const auto at = binding_.roles.find(key);
  if (at == binding_.roles.end()) {
    return 0;
  }
  Index bytes = at->second.table != nullptr ? at->second.table->num_bytes : 0;
  for (const NamedView& named : at->second.matrices) {
    const numeric::WeightView& view = named.view;
    if (view.data == nullptr) {
      continue;
    }
    const Index rows_per_scale = view.format == WeightFormat::Fp8 ? numeric::kFp8TileRows : 1;
    bytes += view.rows * view.row_stride_bytes +
             ceil_div(view.rows, rows_per_scale) * view.scale_row_stride_bytes;
  }
  return bytes;
}

std::vector<float> Store::decode(const NamedView& named) const {
  if (named.panels) {
    named.make_ready();
  }
  const numeric::WeightView& view = named.view;
  std::vector<float> numbers(to_size(view.rows * view.columns));
  for (Index row = 0; row < view.rows; ++row) {
    float* out = numbers.data() + row * view.columns;
    numeric::decode_row(view, row, 0, view.columns, out);
    for (Index column = 0; column < view.columns; ++column) {
      if (!std::isfinite(out[column])) {
        const StoredTensor* tensor = checkpoint_->find(named.name);
        fail(ErrorCode::InvalidCheckpoint,
             tensor == nullptr ? std::string() : checkpoint_->file_of(*tensor) + ": ", named.name,
             ": element [", row, ", ", column, "] is ", out[column], ", expected a finite number");
      }
    }
  }
  return numbers;
}

std::span<const float> Store::floats(const WeightKey& key) const {
  if (const auto at = trainable_.find({key, 0}); at != trainable_.end()) {
    return at->second;
  }
  const auto at = decoded_.find(key);
  return at != decoded_.end() ? at->second
                              : decoded_.emplace(key, decode(matrix(key))).first->second;
}

std::span<const float> Store::find_floats(const WeightKey& key) const {
  const auto at = decoded_.find(key);
  return at == decoded_.end() ? std::span<const float>() : at->second;
}

void Store::make_trainable() {
  for (auto& [key, bound] : binding_.roles) {
    for (std::size_t idx = 0; bound.missing.empty() && idx < bound.matrices.size(); ++idx) {
      NamedView& named = bound.matrices[idx];
      if (named.view.data == nullptr) {
        continue;
      }
      const Index columns = named.view.columns;
      std::vector<float>& numbers =
          trainable_.insert_or_assign({key, to_index(idx)}, decode(named)).first->second;
      const Index rows = named.view.rows;
      platform::give_back_pages(named.view.data, rows * named.view.row_stride_bytes);
      named.view = {};
      named.view.rows = rows;
      named.view.columns = columns;
      named.view.data = reinterpret_cast<const std::byte*>(numbers.data());
      named.view.row_stride_bytes = columns * to_index(sizeof(float));
    }
  }
}

void Store::set_format(const WeightKey& key, Index expert_idx, WeightFormat format) {
  FATHOM_CHECK(trainable_.contains({key, expert_idx}));
  binding_.roles.at(key).matrices[to_size(expert_idx)].format = format;
}

std::span<float> Store::trainable(const WeightKey& key, Index expert_idx) {
  const auto at = trainable_.find({key, expert_idx});
  FATHOM_CHECK(at != trainable_.end());
  return at->second;
}

std::shared_ptr<Store> Store::with_adapter(std::shared_ptr<const Adapter> adapter) const {
  FATHOM_CHECK(trainable_.empty());
  for (const auto& [at, target] : adapter->targets()) {
    const auto& [key, expert_idx] = at;
    const auto found = binding_.roles.find(key);
    const bool is_there = found != binding_.roles.end() && config::can_be_adapted(key.role) &&
                          expert_idx < to_index(found->second.matrices.size());
    if (!is_there) {
      fail(ErrorCode::InvalidArgument, "adapter: the model has no ", to_string(key.role),
           " of layer ", key.layer_idx, ", expert ", expert_idx, " that it could change");
    }
    const std::vector<Index>& shape = found->second.shape;
    if (shape != std::vector<Index>{target.rows, target.columns}) {
      fail(ErrorCode::InvalidArgument, "adapter: ", to_string(key.role), " of layer ",
           key.layer_idx, ": made for a matrix ", to_text({target.rows, target.columns}),
           ", expected ", to_text(shape), ", the model's");
    }
  }
  std::shared_ptr<Store> adapted(new Store(*this));
  adapted->adapter_ = std::move(adapter);
  return adapted;
}

std::optional<LowRank> Store::low_rank(const WeightKey& key, Index expert_idx) const {
  const Adapter::Target* const target =
      adapter_ == nullptr ? nullptr : adapter_->find({key, expert_idx});
  return target == nullptr ? std::nullopt : std::optional(target->low_rank());
}

std::vector<std::int32_t> Store::ids(const WeightKey& key, Index limit) const {
  const BoundRole& role = bound(key);
  FATHOM_CHECK(role.table != nullptr);
  const StoredTensor& tensor = *role.table;
  const bool is_wide = is_i64(tensor);
  const Index columns = role.shape.back();
  std::vector<std::int32_t> numbers(to_size(role.shape.front() * columns));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    std::int64_t id = 0;
    if (is_wide) {
      std::memcpy(&id, tensor.data + i * sizeof(std::int64_t), sizeof(std::int64_t));
    } else {
      std::int32_t narrow = 0;
      std::memcpy(&narrow, tensor.data + i * sizeof(std::int32_t), sizeof(std::int32_t));
      id = narrow;
    }
    if (id < 0 || id >= limit) {
      fail(ErrorCode::InvalidCheckpoint, checkpoint_->file_of(tensor), ": ", tensor.name,
           ": element [", to_index(i) / columns, ", ", to_index(i) % columns, "] is ", id,
           ", expected 0 to ", limit - 1);
    }
    numbers[i] = static_cast<std::int32_t>(id);
  }
  return numbers;
}

}  // namespace fathom::weights
