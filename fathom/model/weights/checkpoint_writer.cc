#include "fathom/model/weights/checkpoint_writer.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::weights {

namespace fs = std::filesystem;

CheckpointWriter::CheckpointWriter(fs::path folder) : folder_(std::move(folder)) {
  std::error_code error;
  owns_folder_ = !folder_.empty() && fs::create_directories(folder_, error);
  if (error) {
    fail(ErrorCode::Io, "create ", folder_.string(), ": ", error.message());
  }
}

CheckpointWriter::CheckpointWriter(CheckpointWriter&& other) noexcept
    : folder_(std::move(other.folder_)),
      owns_folder_(std::exchange(other.owns_folder_, false)),
      files_(std::move(other.files_)),
      places_(std::move(other.places_)),
      replaced_(std::move(other.replaced_)) {}

CheckpointWriter::~CheckpointWriter() {
  files_.clear();
  if (owns_folder_) {
    std::error_code ignored;
    fs::remove(folder_, ignored);  // only when empty
  }
}

Index CheckpointWriter::add_file(const std::string& name, Index num_bytes) {
  files_.emplace_back(folder_ / name, num_bytes);
  return to_index(files_.size()) - 1;
}

void CheckpointWriter::add_tensor(const Place& place) {
  places_.push_back(place);
}

void CheckpointWriter::add_text(const std::string& name, const std::string& text) {
  const Index file_idx = add_file(name, to_index(text.size()));
  write_to_file(file_idx, 0, std::as_bytes(std::span(text)));
}

void CheckpointWriter::write_to_file(Index file_idx,
                                     Index offset,
                                     std::span<const std::byte> bytes) {
  files_[to_size(file_idx)].write(offset, bytes);
}

void CheckpointWriter::write(Index tensor_idx,
                             Index offset,
                             std::span<const std::byte> bytes) const {
  const Place& place = places_[to_size(tensor_idx)];
  FATHOM_CHECK(offset >= 0 && offset + to_index(bytes.size()) <= place.num_bytes);
  files_[to_size(place.file_idx)].write(place.begin + offset, bytes);
}

void CheckpointWriter::commit() {
  std::vector<fs::path> named;
  try {
    for (platform::OutputFile& file : files_) {
      file.commit();
      named.push_back(file.path());
    }
  } catch (...) {
    std::error_code ignored;
    for (const fs::path& path : named) {
      fs::remove(path, ignored);
    }
    throw;
  }
  for (const fs::path& path : replaced_) {
    if (std::find(named.begin(), named.end(), path) == named.end()) {
      std::error_code ignored;
      fs::remove(path, ignored);
    }
  }
  owns_folder_ = false;
}

}  // namespace fathom::weights
