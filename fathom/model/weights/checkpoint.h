// A checkpoint on disk, whatever its container: its tensors by name, and its config.
//
// A folder with model.safetensors or shards + index, one .safetensors file, one .gguf file or the
// first of a split set (-00001-of-0000N.gguf).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fathom/base/formats/gguf.h"
#include "fathom/base/formats/safetensors.h"
#include "fathom/base/platform/mapped_file.h"

namespace fathom::weights {

// One tensor where it lies. dtype is the container's own type.
struct StoredTensor {
  std::string name;
  std::variant<formats::SafetensorsDType, formats::GgufType> dtype;
  std::vector<Index> shape;  // outermost first
  const std::byte* data;
  Index num_bytes;
  Index file_idx;
};

enum class Container { Safetensors, Gguf };

// The first file of the split set (NAME-00002-of-00005.gguf) that a file is part of, which holds
// the metadata of all; any other path as it is.
std::filesystem::path first_part(const std::filesystem::path& path);

class Checkpoint {
 public:
  // Opens headers only. Throws Io or InvalidCheckpoint naming the file: a missing shard, an index
  // that names a tensor its shard does not have, a tensor in two files, a split set with a gap.
  static std::shared_ptr<const Checkpoint> open(const std::filesystem::path& path,
                                                const platform::MapOptions& options = {});

  Container container() const { return container_; }
  const StoredTensor* find(std::string_view name) const;
  const std::map<std::string, StoredTensor, std::less<>>& tensors() const { return tensors_; }
  const std::vector<std::filesystem::path>& files() const { return files_; }
  const std::string& file_of(const StoredTensor& tensor) const;
  Index total_file_bytes() const { return total_file_bytes_; }

  // config.json beside safetensors, and inference/config.json below or inference_config.json beside
  // it. A text is empty where there is no such file; config_file() then says where it should be.
  const std::string& config_text() const { return config_text_; }
  const std::string& config_file() const { return config_file_; }
  const std::string& inference_config_text() const { return inference_config_text_; }
  const std::string& inference_config_file() const { return inference_config_file_; }
  // GGUF only: the first file's metadata, with the tensors of all parts of a split set.
  const formats::GgufHeader& gguf() const { return gguf_; }

 private:
  Checkpoint() = default;
  friend class CheckpointOpener;

  Container container_ = Container::Safetensors;
  std::vector<std::filesystem::path> files_;
  std::vector<std::string> file_names_;
  std::vector<platform::MappedFile> mappings_;
  std::map<std::string, StoredTensor, std::less<>> tensors_;
  formats::GgufHeader gguf_;
  std::string config_text_;
  std::string config_file_;
  std::string inference_config_text_;
  std::string inference_config_file_;
  Index total_file_bytes_ = 0;
};

}  // namespace fathom::weights
