#include "fathom/model/weights/merge.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <system_error>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/mapped_file.h"
#include "fathom/base/platform/output_file.h"
#include "fathom/compute/numeric/weight_encoder.h"
#include "fathom/model/weights/safetensors_writer.h"

namespace fathom::weights {
namespace {

namespace fs = std::filesystem;
using numeric::WeightFormat;
using numeric::WeightView;

// Rows folded at a time: those of an FP8 tile.
constexpr Index kTileRows = numeric::kFp8TileRows;
constexpr Index kCopyBytes = Index{16} << 20;

// A range of mapped bytes that is written anew.
struct Replaced {
  std::vector<std::byte> data;
  std::vector<std::byte> scales;
};

// Rows [first, first + count) of W + scale B A.
class TileFolder {
 public:
  TileFolder(const WeightView& weight, const Adapter::Target& target, Replaced& out)
      : weight_(weight), target_(target), out_(out) {}

  MergeSums fold(Index first, Index count) const {
    const Index columns = weight_.columns;
    std::vector<double> exact(to_size(count * columns));
    std::vector<float> rounded(exact.size());
    MergeSums sums;
    for (Index row = 0; row < count; ++row) {
      double* const numbers = exact.data() + row * columns;
      numeric::decode_row(weight_, first + row, 0, columns, numbers);
      std::vector<double> update(to_size(columns));
      for (Index k = 0; k < target_.rank; ++k) {
        const double factor =
            target_.scale *
            static_cast<double>(target_.b[to_size((first + row) * target_.rank + k)]);
        const float* const a = target_.a.data() + k * columns;
        for (Index column = 0; column < columns; ++column) {
          update[to_size(column)] += factor * static_cast<double>(a[column]);
        }
      }
      for (Index column = 0; column < columns; ++column) {
        numbers[column] += update[to_size(column)];
        rounded[to_size(row * columns + column)] = static_cast<float>(numbers[column]);
        sums.update += update[to_size(column)] * update[to_size(column)];
        sums.sum += numbers[column] * numbers[column];
      }
    }
    const numeric::EncodedRows place = place_of(first, count);
    numeric::encode_rows(rounded.data(), place);
    sums.error = error_of(place.view(), exact);
    return sums;
  }

 private:
  // Where rows from `first` on go.
  numeric::EncodedRows place_of(Index first, Index count) const {
    const Index scale_row = weight_.format == WeightFormat::Fp8 ? first / kTileRows : first;
    return {.format = weight_.format,
            .scale_format = weight_.scale_format,
            .rows = count,
            .columns = weight_.columns,
            .data = out_.data.data() + first * weight_.row_stride_bytes,
            .scales = out_.scales.data() + scale_row * weight_.scale_row_stride_bytes};
  }
  // Of what was written, read back.
  static double error_of(const WeightView& written, const std::vector<double>& exact) {
    std::vector<double> stored(to_size(written.columns));
    double error = 0;
    for (Index row = 0; row < written.rows; ++row) {
      numeric::decode_row(written, row, 0, written.columns, stored.data());
      for (Index column = 0; column < written.columns; ++column) {
        const double difference =
            stored[to_size(column)] - exact[to_size(row * written.columns + column)];
        error += difference * difference;
      }
    }
    return error;
  }

  const WeightView& weight_;
  const Adapter::Target& target_;
  Replaced& out_;
};

// Tensors of a checkpoint by where they lie in memory.
class TensorsByPlace {
 public:
  explicit TensorsByPlace(const Checkpoint& checkpoint) {
    for (const auto& [name, tensor] : checkpoint.tensors()) {
      places_[tensor.data] = to_index(tensors_.size());
      tensors_.push_back(&tensor);
    }
  }
  const std::vector<const StoredTensor*>& tensors() const { return tensors_; }
  // The tensor that holds a byte, and its offset there.
  std::pair<Index, Index> find(const std::byte* byte) const {
    auto at = places_.upper_bound(byte);
    FATHOM_CHECK(at != places_.begin());
    --at;
    const Index offset = byte - at->first;
    FATHOM_CHECK(offset < tensors_[to_size(at->second)]->num_bytes);
    return {at->second, offset};
  }

 private:
  std::vector<const StoredTensor*> tensors_;
  std::map<const std::byte*, Index> places_;
};

void check_can_fold(const NamedView& named, const StoredTensor& tensor) {
  if (!numeric::can_encode(named.view.format)) {
    fail(ErrorCode::Unsupported, named.name, ": format ", numeric::to_string(named.view.format),
         ", expected F32, F16, BF16, FP8 or FP4 to fold an adapter into");
  }
  // Gates and ups may be the halves of one tensor.
  const bool is_half = tensor.shape[tensor.shape.size() - 2] != named.view.rows;
  if (named.view.format == WeightFormat::Fp8 && is_half && named.view.rows % kTileRows != 0) {
    fail(ErrorCode::Unsupported, named.name, ": a row of FP8 tiles holds rows of gate and up");
  }
}

Replaced fold(const WeightView& view,
              const Adapter::Target& target,
              platform::ThreadPool& pool,
              MergeSums& sums) {
  Replaced replaced;
  replaced.data.resize(to_size(view.rows * view.row_stride_bytes));
  replaced.scales.resize(
      to_size(numeric::scale_bytes(view.format, view.scale_format, view.rows, view.columns)));
  const TileFolder folder(view, target, replaced);
  const Index num_tiles = ceil_div(view.rows, kTileRows);
  std::vector<MergeSums> parts(to_size(num_tiles));
  pool.parallel_for(num_tiles, [&](Index tile, int /*thread_idx*/) {
    const Index first = tile * kTileRows;
    parts[to_size(tile)] = folder.fold(first, std::min(kTileRows, view.rows - first));
  });
  for (const MergeSums& part : parts) {
    sums.add(part);
  }
  return replaced;
}

// A folder that is written beside its name and gets it at the end.
class StagedFolder {
 public:
  explicit StagedFolder(fs::path folder) : folder_(std::move(folder)) {
    std::error_code error;
    if (fs::exists(folder_, error) &&
        (!fs::is_directory(folder_, error) || !fs::is_empty(folder_, error))) {
      fail(ErrorCode::InvalidArgument, folder_.string(), ": expected a new or an empty folder");
    }
    const fs::path name = folder_.has_filename() ? folder_ : folder_.parent_path();
    staged_ = name.string() + ".partial";
    fs::remove_all(staged_, error);
    if (!fs::create_directories(staged_, error)) {
      fail(ErrorCode::Io, "create ", staged_.string(), ": ", error.message());
    }
  }
  ~StagedFolder() {
    std::error_code ignored;
    fs::remove_all(staged_, ignored);
  }
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  const fs::path& path() const { return staged_; }
  void commit() {
    std::error_code error;
    platform::sync_folder(staged_);
    fs::rename(staged_, folder_, error);
    if (error) {
      fail(ErrorCode::Io, "rename ", staged_.string(), " to ", folder_.string(), ": ",
           error.message());
    }
  }

 private:
  fs::path folder_;
  fs::path staged_;
};

bool is_weights_file(const std::string& name) {
  return name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") ||
         name == "config.json";
}

// What lies beside the weights and in folders below: tokenizer, encoders, configs.
void copy_companions(const fs::path& from, const fs::path& to) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(from, error)) {
    const fs::path relative = entry.path().lexically_relative(from);
    if (!entry.is_regular_file(error) || is_weights_file(relative.string())) {
      continue;
    }
    fs::create_directories((to / relative).parent_path(), error);
    fs::copy_file(entry.path(), to / relative, error);
    if (error) {
      fail(ErrorCode::Io, "copy ", entry.path().string(), ": ", error.message());
    }
  }
}

std::vector<formats::SafetensorsEntry> entries_of(const TensorsByPlace& places) {
  std::vector<formats::SafetensorsEntry> entries;
  for (const StoredTensor* tensor : places.tensors()) {
    entries.push_back(
        {tensor->name, std::get<formats::SafetensorsDType>(tensor->dtype), tensor->shape, 0, 0});
  }
  return entries;
}

class Merger {
 public:
  Merger(const Store& store, CheckpointWriter& writer, const TensorsByPlace& places)
      : store_(store), writer_(writer), places_(places) {}

  void copy(const MergeProgress& on_progress) const {
    Index total = 0;
    for (const StoredTensor* tensor : places_.tensors()) {
      total += tensor->num_bytes;
    }
    Index done = 0;
    for (std::size_t idx = 0; idx < places_.tensors().size(); ++idx) {
      const StoredTensor& tensor = *places_.tensors()[idx];
      for (Index at = 0; at < tensor.num_bytes; at += kCopyBytes) {
        const Index count = std::min(kCopyBytes, tensor.num_bytes - at);
        writer_.write(to_index(idx), at, {tensor.data + at, to_size(count)});
        done += count;
        if (on_progress) {
          on_progress(done, total);
        }
      }
    }
  }

  MergedTensor fold_in(const Adapter::Key& key,
                       const Adapter::Target& target,
                       platform::ThreadPool& pool) const {
    const NamedView& named = store_.matrix(key.first, key.second);
    check_can_fold(named, *places_.tensors()[to_size(places_.find(named.view.data).first)]);
    named.make_ready();
    MergedTensor merged = {.name = named.name, .format = named.view.format, .sums = {}};
    const Replaced replaced = fold(named.view, target, pool, merged.sums);
    write(named.view.data, replaced.data);
    if (!replaced.scales.empty()) {
      const Index first = named.view.format == WeightFormat::Fp8 ? named.view.first_row / kTileRows
                                                                 : named.view.first_row;
      write(named.view.scales + first * named.view.scale_row_stride_bytes, replaced.scales);
    }
    return merged;
  }

 private:
  void write(const std::byte* place, const std::vector<std::byte>& bytes) const {
    const auto [tensor_idx, offset] = places_.find(place);
    writer_.write(tensor_idx, offset, bytes);
  }

  const Store& store_;
  CheckpointWriter& writer_;
  const TensorsByPlace& places_;
};

}  // namespace

void MergeSums::add(const MergeSums& other) {
  sum += other.sum;
  update += other.update;
  error += other.error;
}

double MergeSums::relative_error() const {
  return sum > 0 ? std::sqrt(error / sum) : 0;
}

double MergeSums::error_of_update() const {
  return update > 0 ? std::sqrt(error / update) : 0;
}

std::vector<MergedTensor> merge_adapter(const Store& store,
                                        const Adapter& adapter,
                                        const fs::path& folder,
                                        platform::ThreadPool& pool,
                                        const MergeProgress& on_progress) {
  const Checkpoint& checkpoint = store.checkpoint();
  if (checkpoint.container() != Container::Safetensors) {
    fail(ErrorCode::Unsupported, checkpoint.files().front().string(),
         ": a GGUF file, expected a checkpoint in safetensors to fold an adapter into; --lora puts "
         "the adapter beside a GGUF file's weights instead");
  }
  StagedFolder staged(folder);
  const TensorsByPlace places(checkpoint);
  CheckpointWriter writer =
      open_safetensors_writer(staged.path(), entries_of(places), checkpoint.config_text(), {});
  const Merger merger(store, writer, places);
  merger.copy(on_progress);
  std::vector<MergedTensor> merged;
  for (const auto& [key, target] : adapter.targets()) {
    merged.push_back(merger.fold_in(key, target, pool));
  }
  writer.commit();
  copy_companions(checkpoint.files().front().parent_path(), staged.path());
  staged.commit();
  return merged;
}

}  // namespace fathom::weights
