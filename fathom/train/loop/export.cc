#include "fathom/train/loop/export.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/small_file.h"
#include "fathom/compute/numeric/weight_encoder.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/weights/official_layout.h"
#include "fathom/model/weights/safetensors_writer.h"

namespace fathom::train {
namespace {

using numeric::EncodedRows;
using weights::CheckpointWriter;
using weights::OfficialMatrix;

// What one thread writes at a time: a row of FP8 tiles.
constexpr Index kBlockRows = numeric::kFp8TileRows;

// What releases hold beside the weights that tokenizers, chat templates and generation read.
constexpr auto kTextFiles = std::to_array<std::string_view>(
    {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
     "generation_config.json"});

// The config without a block of which the store has nothing.
config::ModelConfig config_of_store(const ExportSource& source) {
  config::ModelConfig config = source.config;
  const std::vector<config::WeightSpec> table = config::weight_table(config);
  const bool has_mtp = std::any_of(table.begin(), table.end(), [&](const auto& spec) {
    return spec.key.block == config::Block::Mtp && source.store.has(spec.key);
  });
  if (!has_mtp) {
    config.mtp_layers.clear();
  }
  return config;
}

// Memory of one thread.
struct Buffers {
  std::vector<float> numbers;
  std::vector<std::byte> data;
  std::vector<std::byte> scales;
};

class Exporter {
 public:
  Exporter(const ExportSource& source, const CheckpointWriter& writer)
      : source_(source), writer_(writer) {}

  void write(const std::vector<OfficialMatrix>& matrices, platform::ThreadPool& pool) const {
    struct Block {
      const OfficialMatrix* matrix;
      Index first_row;
    };
    std::vector<Block> blocks;
    for (const OfficialMatrix& matrix : matrices) {
      if (!matrix.format) {
        write_ids(matrix);
        continue;
      }
      for (Index row = 0; row < matrix.rows(); row += kBlockRows) {
        blocks.push_back({&matrix, row});
      }
    }
    std::vector<Buffers> buffers(static_cast<std::size_t>(pool.num_threads()));
    pool.parallel_for(to_index(blocks.size()), [&](Index idx, int thread_idx) {
      const auto& [matrix, first_row] = blocks[to_size(idx)];
      write_rows(*matrix, first_row, buffers[static_cast<std::size_t>(thread_idx)]);
    });
  }

 private:
  void write_ids(const OfficialMatrix& matrix) const {
    const std::vector<std::int32_t> narrow =
        source_.store.ids(matrix.spec.key, source_.config.num_experts);
    const std::vector<std::int64_t> ids(narrow.begin(), narrow.end());
    writer_.write(matrix.tensor_idx, 0, std::as_bytes(std::span(ids)));
  }

  void write_rows(const OfficialMatrix& matrix, Index first_row, Buffers& buffers) const {
    const Index rows = std::min(kBlockRows, matrix.rows() - first_row);
    const Index row_bytes = numeric::row_bytes(*matrix.format, matrix.columns());
    const auto scale_bytes = [&](Index num_rows) {
      return numeric::scale_bytes(*matrix.format, matrix.scale_format, num_rows, matrix.columns());
    };
    read_rows(matrix, first_row, rows, buffers.numbers);
    buffers.data.resize(to_size(rows * row_bytes));
    buffers.scales.resize(to_size(scale_bytes(rows)));
    const EncodedRows encoded = {*matrix.format,   matrix.scale_format, rows,
                                 matrix.columns(), buffers.data.data(), buffers.scales.data()};
    numeric::encode_rows(buffers.numbers.data(), encoded);
    writer_.write(matrix.tensor_idx, first_row * row_bytes, buffers.data);
    if (!buffers.scales.empty()) {
      writer_.write(matrix.scale_tensor_idx, scale_bytes(first_row), buffers.scales);
    }
  }

  void read_rows(const OfficialMatrix& matrix,
                 Index first_row,
                 Index rows,
                 std::vector<float>& numbers) const {
    const numeric::WeightView& view = source_.store.matrix(matrix.spec.key, matrix.expert_idx).view;
    const Index columns = matrix.columns();
    numbers.resize(to_size(rows * columns));
    for (Index row = 0; row < rows; ++row) {
      numeric::decode_row(view, first_row + row, 0, columns, numbers.data() + row * columns);
    }
    const auto bad = std::find_if(numbers.begin(), numbers.end(),
                                  [](float number) { return !std::isfinite(number); });
    if (bad != numbers.end()) {
      const Index place = bad - numbers.begin();
      fail(ErrorCode::InvalidArgument, matrix.name, ": element [", first_row + place / columns,
           ", ", place % columns, "] is ", *bad, ", expected a finite number; nothing was written");
    }
  }

  const ExportSource& source_;
  const CheckpointWriter& writer_;
};

void copy_text_files(const std::filesystem::path& from, CheckpointWriter& writer) {
  for (const std::string_view name : kTextFiles) {
    const std::filesystem::path path = from / name;
    if (std::filesystem::exists(path)) {
      writer.add_text(std::string(name), platform::read_file(path));
    }
  }
}

}  // namespace

void export_model(const ExportSource& source,
                  const config::StoragePlan& plan,
                  const std::filesystem::path& folder,
                  const ExportOptions& options,
                  platform::ThreadPool& pool) {
  const config::ModelConfig config = config_of_store(source);
  const weights::OfficialLayout layout = weights::official_layout(config, plan, source.names);
  CheckpointWriter writer = weights::open_safetensors_writer(
      folder, layout.tensors, config::make_config_json(config, plan),
      {.max_shard_bytes = options.max_shard_bytes, .overwrite = options.overwrite});
  if (!options.text_files.empty()) {
    copy_text_files(options.text_files, writer);
  }
  Exporter(source, writer).write(layout.matrices, pool);
  writer.commit();
}

}  // namespace fathom::train
