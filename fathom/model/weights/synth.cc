#include "fathom/model/weights/synth.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/compute/numeric/weight_encoder.h"
#include "fathom/model/config/read_config.h"
#include "fathom/model/config/weight_table.h"
#include "fathom/model/weights/gguf_format.h"
#include "fathom/model/weights/gguf_writer.h"
#include "fathom/model/weights/official_layout.h"
#include "fathom/model/weights/safetensors_writer.h"
#include "fathom/model/weights/synth_gguf.h"
#include "fathom/model/weights/synth_values.h"

namespace fathom::weights {
namespace {

using config::WeightSpec;
using numeric::ScaleFormat;
using numeric::WeightFormat;

// A block is what one thread makes at a time: a row of FP8 tiles, a few megabytes at most.
constexpr Index kBlockRows = 128;
constexpr Index kBlocksPerPortion = 64;

// One matrix (of one expert) and where its bytes go.
struct MatrixJob {
  std::string name;  // official: the key of its random numbers in every container
  Index rows;
  Index columns;
  std::optional<WeightFormat> format;  // none: ids
  Distribution distribution;
  Index id_bytes = 0;
  Index id_limit = 0;
  Index tensor_idx;
  Index begin = 0;  // in the tensor: experts may be stacked
  ScaleFormat scale_format = ScaleFormat::None;
  Index scale_tensor_idx = -1;

  Index row_bytes() const {
    return format ? numeric::row_bytes(*format, columns) : columns * id_bytes;
  }
  Index scale_bytes(Index num_rows) const {
    if (scale_tensor_idx < 0) {
      return 0;
    }
    return numeric::scale_bytes(*format, scale_format, num_rows, columns);
  }
};

MatrixJob make_job(const WeightSpec& spec,
                   const config::ModelConfig& config,
                   const NameMap& names,
                   Index expert_idx,
                   SynthValues values) {
  MatrixJob job{};
  job.name = names.name(Dialect::Official, spec.key, expert_idx);
  job.rows = spec.shape.size() == 1 ? 1 : spec.shape.front();
  job.columns = spec.shape.back();
  const bool is_initial = values == SynthValues::Initial;
  job.distribution = is_initial ? initial_distribution_of(spec) : distribution_of(spec);
  if (!is_initial && config.is_head_tied && spec.key.role == config::WeightRole::Embedding) {
    // As a head it must not outweigh what the layers add, or every token predicts itself.
    job.distribution.spread = 1.0F / std::sqrt(static_cast<float>(spec.shape.back()));
  }
  job.id_limit = config.num_experts;
  job.scale_tensor_idx = -1;
  return job;
}

void check_format(const MatrixJob& job, WeightFormat format) {
  if (!can_fill(format)) {
    fail(ErrorCode::Unsupported, job.name, ": no synthetic weights in ", to_string(format));
  }
  const Index block = numeric::info(format).block_columns;
  if (job.columns % block != 0) {
    fail(ErrorCode::InvalidArgument, job.name, ": ", job.columns,
         " columns, expected a multiple of ", block, " for ", to_string(format));
  }
}

struct Plan {
  std::vector<MatrixJob> jobs;
  std::vector<formats::SafetensorsEntry> safetensors;
  std::vector<formats::GgufTensor> gguf;
};

Plan plan_official(const config::ModelConfig& config,
                   const config::StoragePlan& storage,
                   const NameMap& names,
                   SynthValues values) {
  OfficialLayout layout = official_layout(config, storage, names);
  Plan plan;
  plan.safetensors = std::move(layout.tensors);
  for (const OfficialMatrix& matrix : layout.matrices) {
    MatrixJob job = make_job(matrix.spec, config, names, matrix.expert_idx, values);
    job.tensor_idx = matrix.tensor_idx;
    job.format = matrix.format;
    if (job.format) {
      check_format(job, *job.format);
    } else {
      job.id_bytes = 8;
    }
    job.scale_format = matrix.scale_format;
    job.scale_tensor_idx = matrix.scale_tensor_idx;
    plan.jobs.push_back(std::move(job));
  }
  return plan;
}

Plan plan_gguf(const config::ModelConfig& config,
               const config::StoragePlan& storage,
               const NameMap& names,
               SynthValues values) {
  Plan plan;
  for (const WeightSpec& spec : config::weight_table(config)) {
    const formats::GgufType type = gguf_type_of(spec, storage);
    const Index tensor_idx = to_index(plan.gguf.size());
    std::vector<Index> shape = spec.shape;
    if (spec.num_experts > 0) {
      shape.insert(shape.begin(), spec.num_experts);
    }
    plan.gguf.push_back({names.name(Dialect::Gguf, spec.key, 0), type, std::move(shape), 0, 0});
    for (Index expert_idx = 0; expert_idx < std::max<Index>(spec.num_experts, 1); ++expert_idx) {
      MatrixJob job = make_job(spec, config, names, expert_idx, values);
      job.tensor_idx = tensor_idx;
      job.format = find_weight_format(type);
      job.id_bytes = 4;
      if (job.format) {
        check_format(job, *job.format);
      }
      job.begin = expert_idx * job.rows * job.row_bytes();
      plan.jobs.push_back(std::move(job));
    }
  }
  return plan;
}

// Makes the blocks of all jobs, portion by portion.
class Generator {
 public:
  Generator(const std::vector<MatrixJob>& jobs,
            const CheckpointWriter& writer,
            const SynthOptions& options)
      : jobs_(jobs), writer_(writer), options_(options) {
    first_block_.push_back(0);
    for (const MatrixJob& job : jobs_) {
      first_block_.push_back(first_block_.back() + ceil_div(job.rows, kBlockRows));
      total_bytes_ += job.rows * job.row_bytes() + job.scale_bytes(job.rows);
      const Index rows = std::min(job.rows, kBlockRows);
      buffer_bytes_ = std::max(buffer_bytes_, rows * job.row_bytes() + job.scale_bytes(rows));
    }
  }

  void run(platform::ThreadPool& pool) {
    std::vector<std::vector<std::byte>> buffers(to_size(pool.num_threads()));
    for (std::vector<std::byte>& buffer : buffers) {
      buffer.resize(to_size(buffer_bytes_));
    }
    const Index num_blocks = first_block_.back();
    Index done_bytes = 0;
    for (Index first = 0; first < num_blocks; first += kBlocksPerPortion) {
      report(done_bytes);
      const Index count = std::min(kBlocksPerPortion, num_blocks - first);
      std::vector<Index> bytes(to_size(count));
      pool.parallel_for(count, [&](Index idx, int thread_idx) {
        bytes[to_size(idx)] =
            make_block(first + idx, buffers[static_cast<std::size_t>(thread_idx)]);
      });
      for (const Index block_bytes : bytes) {
        done_bytes += block_bytes;
      }
    }
    report(done_bytes);
  }

 private:
  void report(Index done_bytes) const {
    if (options_.progress && !options_.progress(done_bytes, total_bytes_)) {
      fail(ErrorCode::Interrupted, "cancelled; nothing was written");
    }
  }

  // Writes one block and returns its bytes.
  Index make_block(Index block, std::vector<std::byte>& buffer) const {
    const auto after = std::upper_bound(first_block_.begin(), first_block_.end(), block);
    const auto job_idx = static_cast<std::size_t>(after - first_block_.begin()) - 1;
    const MatrixJob& job = jobs_[job_idx];
    const Index block_idx = block - first_block_[job_idx];
    const Index first_row = block_idx * kBlockRows;
    const Index rows = std::min(kBlockRows, job.rows - first_row);
    const Index data_bytes = rows * job.row_bytes();
    const Index scale_bytes = job.scale_bytes(rows);
    const std::uint64_t key = block_key(options_.seed, job.name, block_idx);
    std::byte* data = buffer.data();
    if (job.format) {
      const numeric::EncodedRows values{*job.format, job.scale_format, rows, job.columns,
                                        data,        data + data_bytes};
      fill_weights(values, job.distribution, key);
    } else {
      fill_ids(rows, job.columns, job.id_limit, job.id_bytes, key, data);
    }
    writer_.write(job.tensor_idx, job.begin + first_row * job.row_bytes(),
                  {data, to_size(data_bytes)});
    if (scale_bytes > 0) {
      writer_.write(job.scale_tensor_idx, job.scale_bytes(first_row),
                    {data + data_bytes, to_size(scale_bytes)});
    }
    return data_bytes + scale_bytes;
  }

  const std::vector<MatrixJob>& jobs_;
  const CheckpointWriter& writer_;
  const SynthOptions& options_;
  std::vector<Index> first_block_;  // of each job, and the number of all blocks
  Index total_bytes_ = 0;
  Index buffer_bytes_ = 0;
};

}  // namespace

void write_synthetic(const config::ModelConfig& config,
                     const config::StoragePlan& plan,
                     const NameMap& names,
                     const std::filesystem::path& out,
                     const SynthOptions& options,
                     platform::ThreadPool& pool) {
  const auto generate = [&](const std::vector<MatrixJob>& jobs, CheckpointWriter writer) {
    Generator(jobs, writer, options).run(pool);
    writer.commit();
  };
  if (out.extension() == ".gguf") {
    config::ModelConfig without_mtp = config;
    without_mtp.mtp_layers.clear();
    const Plan tensors = plan_gguf(without_mtp, plan, names, options.values);
    generate(tensors.jobs, open_gguf_writer(out, make_gguf_metadata(without_mtp, options.name),
                                            tensors.gguf, options.overwrite));
    return;
  }
  const Plan tensors = plan_official(config, plan, names, options.values);
  generate(tensors.jobs,
           open_safetensors_writer(
               out, tensors.safetensors, config::make_config_json(config, plan),
               {.max_shard_bytes = options.max_shard_bytes, .overwrite = options.overwrite}));
}

}  // namespace fathom::weights
