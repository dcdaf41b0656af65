// Writing a checkpoint: tensors that were laid out beforehand, bytes in any order, from any thread.
//
// Nothing appears under its name before commit(); without it nothing is left behind. The layouts of
// the containers are made by safetensors_writer and gguf_writer.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/base/platform/output_file.h"

namespace fathom::weights {

class CheckpointWriter {
 public:
  // Where a tensor's bytes go.
  struct Place {
    Index file_idx;
    Index begin;
    Index num_bytes;
  };

  // Creates the folder if need be (and removes it again if nothing is committed).
  explicit CheckpointWriter(std::filesystem::path folder);
  ~CheckpointWriter();
  CheckpointWriter(CheckpointWriter&& other) noexcept;
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(CheckpointWriter&&) = delete;

  // Layout. Tensors are numbered in the order of add_tensor.
  Index add_file(const std::string& name, Index num_bytes);  // its index
  void add_tensor(const Place& place);
  void add_text(const std::string& name, const std::string& text);  // a whole small file
  void write_to_file(Index file_idx, Index offset, std::span<const std::byte> bytes);
  // A file of an older checkpoint in the folder that commit() removes.
  void replace(const std::filesystem::path& path) { replaced_.push_back(path); }

  // Contents.
  Index num_bytes(Index tensor_idx) const { return places_[to_size(tensor_idx)].num_bytes; }
  void write(Index tensor_idx, Index offset, std::span<const std::byte> bytes) const;

  // Gives every file its name. When one cannot have it, those that already had are removed.
  void commit();

 private:
  std::filesystem::path folder_;
  bool owns_folder_ = false;
  std::vector<platform::OutputFile> files_;
  std::vector<Place> places_;
  std::vector<std::filesystem::path> replaced_;
};

}  // namespace fathom::weights
