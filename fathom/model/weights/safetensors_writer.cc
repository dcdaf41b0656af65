#include "fathom/model/weights/safetensors_writer.h"

#include <map>
#include <optional>
#include <system_error>

#include "fathom/base/core/error.h"

namespace fathom::weights {
namespace {

namespace fs = std::filesystem;
using formats::SafetensorsEntry;

Index tensor_bytes(const SafetensorsEntry& tensor) {
  Index bytes = formats::element_bytes(tensor.dtype);
  for (const Index extent : tensor.shape) {
    const std::optional<Index> product = checked_multiply(bytes, extent);
    if (!product) {
      fail(ErrorCode::InvalidArgument, tensor.name, ": its size does not fit 64 bits");
    }
    bytes = *product;
  }
  return bytes;
}

std::string five_digits(std::size_t number) {
  const std::string digits = std::to_string(number);
  return digits.size() < 5 ? std::string(5 - digits.size(), '0') + digits : digits;
}

// Consecutive tensors of one shard: [first, last).
struct Shard {
  std::size_t first;
  std::size_t last;
};

std::vector<Shard> split_into_shards(std::span<const SafetensorsEntry> tensors, Index max_bytes) {
  std::vector<Shard> shards{{0, 0}};
  Index bytes = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Index size = tensor_bytes(tensors[i]);
    if (bytes > 0 && bytes + size > max_bytes) {
      shards.push_back({i, i});
      bytes = 0;
    }
    bytes += size;
    shards.back().last = i + 1;
  }
  return shards;
}

// The checkpoint that may be in the folder is replaced, other files stay.
void check_folder(const fs::path& folder, bool overwrite, CheckpointWriter& writer) {
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!overwrite) {
      fail(ErrorCode::InvalidArgument, folder.string(), ": not empty (there is ", name,
           "); overwriting was not asked for");
    }
    if (name.starts_with("model") &&
        (name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json"))) {
      writer.replace(entry.path());
    }
  }
}

}  // namespace

CheckpointWriter open_safetensors_writer(const fs::path& folder,
                                         std::span<const SafetensorsEntry> tensors,
                                         const std::string& config_json,
                                         const SafetensorsWriteOptions& options) {
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_directory(folder, error)) {
    fail(ErrorCode::InvalidArgument, folder.string(), ": is a file, expected a folder");
  }
  CheckpointWriter writer(folder);
  check_folder(folder, options.overwrite, writer);
  const std::vector<Shard> shards = split_into_shards(tensors, options.max_shard_bytes);
  std::map<std::string, std::string> weight_map;
  Index total_bytes = 0;
  for (std::size_t shard_idx = 0; shard_idx < shards.size(); ++shard_idx) {
    const Shard& shard = shards[shard_idx];
    const std::span<const SafetensorsEntry> part =
        tensors.subspan(shard.first, shard.last - shard.first);
    const std::string header = formats::make_safetensors_header(part, {{"format", "pt"}});
    Index file_bytes = to_index(header.size());
    for (const SafetensorsEntry& tensor : part) {
      file_bytes += tensor_bytes(tensor);
    }
    const std::string name = shards.size() == 1 ? "model.safetensors"
                                                : "model-" + five_digits(shard_idx + 1) + "-of-" +
                                                      five_digits(shards.size()) + ".safetensors";
    const Index file_idx = writer.add_file(name, file_bytes);
    writer.write_to_file(file_idx, 0, std::as_bytes(std::span(header)));
    Index begin = to_index(header.size());
    for (const SafetensorsEntry& tensor : part) {
      const Index size = tensor_bytes(tensor);
      writer.add_tensor({file_idx, begin, size});
      weight_map[tensor.name] = name;
      begin += size;
      total_bytes += size;
    }
  }
  if (shards.size() > 1) {
    writer.add_text("model.safetensors.index.json",
                    formats::make_safetensors_index(weight_map, total_bytes));
  }
  writer.add_text("config.json", config_json);
  return writer;
}

}  // namespace fathom::weights
