#include "fathom/train/loop/quantisation_aware.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/model/weights/official_layout.h"

namespace fathom::train {
namespace {

using numeric::EncodedRows;
using numeric::WeightFormat;

// What one thread rounds at a time: a row of FP8 tiles.
constexpr Index kBlockRows = numeric::kFp8TileRows;

}  // namespace

QuantisationAware::QuantisationAware(const config::ModelConfig& config,
                                     const config::StoragePlan& plan,
                                     const weights::NameMap& names,
                                     weights::Store& store,
                                     ParameterList& parameters,
                                     platform::ThreadPool& pool) {
  std::map<std::pair<config::WeightKey, Index>, Index> trained;
  for (Index idx = 0; idx < to_index(parameters.parameters().size()); ++idx) {
    const ParameterList::Origin& origin = parameters.origin(idx);
    trained[{origin.key, origin.expert_idx}] = idx;
  }
  std::vector<Matrix> frozen;
  for (const weights::OfficialMatrix& planned :
       weights::official_layout(config, plan, names).matrices) {
    const config::WeightKey& key = planned.spec.key;
    if (!planned.format || !store.has(key)) {
      continue;
    }
    store.set_format(key, planned.expert_idx, *planned.format);
    if (planned.format == WeightFormat::F32) {
      continue;
    }
    const std::span<float> numbers = store.trainable(key, planned.expert_idx);
    Matrix matrix = {.format = *planned.format,
                     .scale_format = planned.scale_format,
                     .rows = planned.rows(),
                     .columns = planned.columns(),
                     .from = numbers.data(),
                     .to = numbers.data()};
    const auto at = trained.find({key, planned.expert_idx});
    if (at == trained.end()) {
      frozen.push_back(matrix);
      continue;
    }
    std::vector<float>& master = masters_.emplace_back(numbers.begin(), numbers.end());
    parameters.set_values(at->second, master);
    matrix.from = master.data();
    trained_.push_back(matrix);
  }
  round(frozen, pool);
  update_layers(pool);
}

void QuantisationAware::update_layers(platform::ThreadPool& pool) {
  round(trained_, pool);
}

Index QuantisationAware::master_bytes() const {
  Index bytes = 0;
  for (const std::vector<float>& master : masters_) {
    bytes += to_index(master.size() * sizeof(float));
  }
  return bytes;
}

void QuantisationAware::round(const std::vector<Matrix>& matrices, platform::ThreadPool& pool) {
  struct Block {
    const Matrix* matrix;
    Index first_row;
  };
  std::vector<Block> blocks;
  for (const Matrix& matrix : matrices) {
    for (Index row = 0; row < matrix.rows; row += kBlockRows) {
      blocks.push_back({&matrix, row});
    }
  }
  std::vector<std::vector<std::byte>> buffers(static_cast<std::size_t>(pool.num_threads()));
  pool.parallel_for(to_index(blocks.size()), [&](Index idx, int thread_idx) {
    const auto& [matrix, first_row] = blocks[to_size(idx)];
    const Index rows = std::min(kBlockRows, matrix->rows - first_row);
    const Index data_bytes = rows * numeric::row_bytes(matrix->format, matrix->columns);
    std::vector<std::byte>& buffer = buffers[static_cast<std::size_t>(thread_idx)];
    buffer.resize(to_size(data_bytes + numeric::scale_bytes(matrix->format, matrix->scale_format,
                                                            rows, matrix->columns)));
    const EncodedRows encoded = {matrix->format,  matrix->scale_format, rows,
                                 matrix->columns, buffer.data(),        buffer.data() + data_bytes};
    const Index place = first_row * matrix->columns;
    numeric::encode_rows(matrix->from + place, encoded);
    const numeric::WeightView view = encoded.view();
    for (Index row = 0; row < rows; ++row) {
      numeric::decode_row(view, row, 0, matrix->columns,
                          matrix->to + place + row * matrix->columns);
    }
  });
}

}  // namespace fathom::train
