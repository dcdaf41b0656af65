#include "fathom/model/weights/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <system_error>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/small_file.h"

namespace fathom::weights {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexSuffix = ".safetensors.index.json";

// Names of the files in a folder, sorted, so that nothing depends on the file system's order.
std::vector<std::string> files_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) {
    fail(ErrorCode::Io, "open ", folder.string(), ": ", error.message());
  }
  for (const fs::directory_entry& entry : entries) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> with_suffix(const std::vector<std::string>& names,
                                     std::string_view suffix) {
  std::vector<std::string> chosen;
  for (const std::string& name : names) {
    if (name.ends_with(suffix)) {
      chosen.push_back(name);
    }
  }
  return chosen;
}

// STEM-00002-of-00005.gguf
struct SplitFile {
  std::string stem;
  Index number;  // from 1
  Index count;

  std::string name(Index part) const {
    return stem + "-" + five_digits(part) + "-of-" + five_digits(count) + ".gguf";
  }
  static std::string five_digits(Index number) {
    const std::string digits = std::to_string(number);
    return digits.size() < 5 ? std::string(5 - digits.size(), '0') + digits : digits;
  }
};

std::optional<SplitFile> parse_split_name(std::string_view name) {
  constexpr std::string_view kTail = "-00000-of-00000.gguf";
  if (name.size() <= kTail.size()) {
    return std::nullopt;
  }
  const std::string_view tail = name.substr(name.size() - kTail.size());
  if (tail.substr(6, 4) != "-of-" || tail[0] != '-' || !tail.ends_with(".gguf")) {
    return std::nullopt;
  }
  const auto number_at = [&](std::size_t begin) -> Index {
    Index number = -1;
    const char* end = tail.data() + begin + 5;
    const auto [at, status] = std::from_chars(tail.data() + begin, end, number);
    return status == std::errc() && at == end ? number : -1;
  };
  SplitFile split{std::string(name.substr(0, name.size() - kTail.size())), number_at(1),
                  number_at(10)};
  if (split.number < 1 || split.count < split.number) {
    return std::nullopt;
  }
  return split;
}

}  // namespace

std::filesystem::path first_part(const std::filesystem::path& path) {
  const std::optional<SplitFile> split = parse_split_name(path.filename().string());
  return split ? path.parent_path() / split->name(1) : path;
}

// Fills a Checkpoint, file by file.
class CheckpointOpener {
 public:
  CheckpointOpener(Checkpoint& checkpoint, const platform::MapOptions& options)
      : checkpoint_(checkpoint), options_(options) {}

  void open(const fs::path& path) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) {
      fail(ErrorCode::Io, "open ", path.string(), ": ",
           error ? error.message() : std::string("No such file or directory"));
    }
    if (fs::is_directory(status)) {
      open_folder(path);
    } else if (path.extension() == ".gguf") {
      open_gguf(path);
    } else if (path.extension() == ".safetensors") {
      add_safetensors(path);
      read_configs(path.parent_path());
    } else {
      fail(ErrorCode::InvalidArgument, path.string(),
           ": expected a folder, a .safetensors file or a .gguf file");
    }
  }

 private:
  void open_folder(const fs::path& folder) {
    const std::vector<std::string> names = files_in(folder);
    const std::vector<std::string> indices = with_suffix(names, kIndexSuffix);
    const std::vector<std::string> tensors = with_suffix(names, ".safetensors");
    const bool has_model = std::binary_search(names.begin(), names.end(), "model.safetensors");
    if (indices.size() == 1) {
      open_shards(folder, indices.front());
    } else if (indices.size() > 1) {
      fail(ErrorCode::InvalidCheckpoint, folder.string(), ": two indices, ", indices[0], " and ",
           indices[1], ", expected one");
    } else if (has_model) {
      add_safetensors(folder / "model.safetensors");
    } else if (tensors.size() == 1) {
      add_safetensors(folder / tensors.front());
    } else {
      const std::vector<std::string> ggufs = with_suffix(names, ".gguf");
      fail(
          ErrorCode::InvalidCheckpoint, folder.string(), ": ", tensors.size(),
          " .safetensors files, expected one, or several with a model", kIndexSuffix,
          ggufs.empty() ? std::string() : " (to open " + ggufs.front() + ", name the file itself)");
    }
    read_configs(folder);
  }

  void open_shards(const fs::path& folder, const std::string& index_name) {
    const std::string index_file = (folder / index_name).string();
    const std::map<std::string, std::string> weight_map =
        formats::parse_safetensors_index(platform::read_file(folder / index_name), index_file);
    std::set<std::string> shards;
    for (const auto& [tensor, shard] : weight_map) {
      shards.insert(shard);
    }
    std::map<std::string, Index> file_idx_of;
    for (const std::string& shard : shards) {
      if (!fs::exists(folder / shard)) {
        fail(ErrorCode::Io, (folder / shard).string(), ": missing, but ", index_name, " names it");
      }
      file_idx_of[shard] = to_index(checkpoint_.files_.size());
      add_safetensors(folder / shard);
    }
    for (const auto& [tensor, shard] : weight_map) {
      const StoredTensor* stored = checkpoint_.find(tensor);
      if (stored == nullptr || stored->file_idx != file_idx_of[shard]) {
        fail(ErrorCode::InvalidCheckpoint, (folder / shard).string(), ": no tensor ", tensor,
             ", but ", index_name, " says it is there");
      }
    }
  }

  void open_gguf(const fs::path& path) {
    checkpoint_.container_ = Container::Gguf;
    const std::optional<SplitFile> split = parse_split_name(path.filename().string());
    if (!split) {
      add_gguf(path, 0, 1);
      return;
    }
    for (Index part = 1; part <= split->count; ++part) {
      const fs::path file = path.parent_path() / split->name(part);
      if (!fs::exists(file)) {
        fail(ErrorCode::Io, file.string(), ": missing part ", part, " of ", split->count);
      }
      add_gguf(file, part - 1, split->count);
    }
  }

  void add_gguf(const fs::path& path, Index part_idx, Index num_parts) {
    const platform::MappedFile& mapping = map(path);
    formats::GgufHeader header = formats::parse_gguf_header(mapping.bytes(), path.string());
    const Index count = header.find_integer("split.count", path.string()).value_or(1);
    const Index number = header.find_integer("split.no", path.string()).value_or(part_idx);
    // A set of one part may say 0 or 1.
    if (std::max<Index>(count, 1) != num_parts || number != part_idx) {
      fail(ErrorCode::InvalidCheckpoint, path.string(), ": split.no ", number, " of split.count ",
           count, ", expected ", part_idx, " of ", num_parts, " (its name says so)");
    }
    for (const formats::GgufTensor& tensor : header.tensors) {
      add_tensor(tensor.name, tensor.type, tensor.shape, tensor.begin, tensor.end);
    }
    if (part_idx == 0) {
      checkpoint_.gguf_ = std::move(header);
    } else {
      std::move(header.tensors.begin(), header.tensors.end(),
                std::back_inserter(checkpoint_.gguf_.tensors));
    }
  }

  void add_safetensors(const fs::path& path) {
    const platform::MappedFile& mapping = map(path);
    formats::SafetensorsHeader header =
        formats::parse_safetensors_header(mapping.bytes(), path.string());
    for (formats::SafetensorsEntry& entry : header.entries) {
      add_tensor(std::move(entry.name), entry.dtype, std::move(entry.shape), entry.begin,
                 entry.end);
    }
  }

  const platform::MappedFile& map(const fs::path& path) {
    checkpoint_.mappings_.emplace_back(path, options_);
    checkpoint_.files_.push_back(path);
    checkpoint_.file_names_.push_back(path.string());
    checkpoint_.total_file_bytes_ += to_index(checkpoint_.mappings_.back().bytes().size());
    return checkpoint_.mappings_.back();
  }

  template <typename DType>
  void add_tensor(std::string name, DType dtype, std::vector<Index> shape, Index begin, Index end) {
    const Index file_idx = to_index(checkpoint_.files_.size()) - 1;
    const std::byte* data = checkpoint_.mappings_.back().bytes().data() + begin;
    StoredTensor tensor{name, dtype, std::move(shape), data, end - begin, file_idx};
    const auto [at, is_added] =
        checkpoint_.tensors_.try_emplace(std::move(name), std::move(tensor));
    if (!is_added) {
      fail(ErrorCode::InvalidCheckpoint, checkpoint_.file_names_.back(), ": tensor ", at->first,
           " is also in ", checkpoint_.file_of(at->second));
    }
  }

  void read_configs(const fs::path& folder) {
    const auto read_if_there = [](const fs::path& path, std::string& text, std::string& file) {
      if (fs::is_regular_file(path)) {
        text = platform::read_file(path);
        file = path.string();
        return true;
      }
      return false;
    };
    checkpoint_.config_file_ = (folder / "config.json").string();
    read_if_there(folder / "config.json", checkpoint_.config_text_, checkpoint_.config_file_);
    for (const char* name : {"inference/config.json", "inference_config.json"}) {
      if (read_if_there(folder / name, checkpoint_.inference_config_text_,
                        checkpoint_.inference_config_file_)) {
        break;
      }
    }
  }

  Checkpoint& checkpoint_;
  platform::MapOptions options_;
};

std::shared_ptr<const Checkpoint> Checkpoint::open(const fs::path& path,
                                                   const platform::MapOptions& options) {
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint);
  CheckpointOpener(*checkpoint, options).open(path);
  return checkpoint;
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const auto at = tensors_.find(name);
  return at == tensors_.end() ? nullptr : &at->second;
}

const std::string& Checkpoint::file_of(const StoredTensor& tensor) const {
  return file_names_[to_size(tensor.file_idx)];
}

}  // namespace fathom::weights
