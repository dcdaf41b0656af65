#include "fathom/train/loop/checkpoint.h"

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/safetensors.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/platform/output_file.h"
#include "fathom/model/kv/checksum.h"

namespace fathom::train {
namespace {

using formats::SafetensorsEntry;
using Checksums = std::map<std::string, std::string>;

constexpr const char* kFormatKey = "format";
constexpr const char* kVersionKey = "version";
constexpr const char* kChecksumsKey = "checksums";
constexpr const char* kChecksumKey = "checksum";

std::string hex_of(std::span<const std::byte> bytes) {
  const kv::Checksum checksum = kv::checksum_of(bytes);
  return fmt::format("{:016x}{:016x}", checksum.high, checksum.low);
}

// Of everything that is in no tensor, in an order of its own.
std::string checksum_of_header(std::span<const SafetensorsEntry> entries,
                               const std::map<std::string, std::string>& metadata) {
  std::string text;
  for (const SafetensorsEntry& entry : entries) {
    text += fmt::format("{}\n{}\n", entry.name, formats::to_string(entry.dtype));
    for (const Index extent : entry.shape) {
      text += fmt::format("{} ", extent);
    }
    text += '\n';
  }
  for (const auto& [key, value] : metadata) {
    if (key != kChecksumKey) {
      text += fmt::format("{} {}\n{}\n{}\n", key.size(), value.size(), key, value);
    }
  }
  return hex_of(std::as_bytes(std::span(text)));
}

// Keys of our own may not be facts.
std::map<std::string, std::string> metadata_of(const CheckpointFacts& facts,
                                               const Checksums& checksums) {
  std::map<std::string, std::string> metadata(facts.begin(), facts.end());
  const std::array<std::pair<const char*, std::string>, 3> own = {
      {{kFormatKey, std::string(kCheckpointFormat)},
       {kVersionKey, std::string(kCheckpointVersion)},
       {kChecksumsKey, nlohmann::json(checksums).dump()}}};
  for (const auto& [key, value] : own) {
    FATHOM_CHECK(!metadata.contains(key));
    metadata[key] = value;
  }
  FATHOM_CHECK(!metadata.contains(kChecksumKey));
  return metadata;
}

Checksums parse_checksums(const std::string& text, const std::string& name) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  Checksums checksums;
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      checksums[key] = value.is_string() ? value.get<std::string>() : "";
    }
    return checksums;
  }
  fail(ErrorCode::InvalidCheckpoint, name, ": metadata ", kChecksumsKey,
       ": expected a JSON object");
}

const std::string& require(const std::map<std::string, std::string>& metadata,
                           const std::string& key,
                           const std::string& name) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) {
    fail(ErrorCode::InvalidCheckpoint, name, ": no ", key,
         " in its metadata: not a checkpoint of a training run");
  }
  return found->second;
}

void check_kind(const std::map<std::string, std::string>& metadata, const std::string& name) {
  const auto check = [&](const char* key, std::string_view expected) {
    const std::string& found = require(metadata, key, name);
    if (found != expected) {
      fail(ErrorCode::InvalidCheckpoint, name, ": ", key, ": found ", formats::quote(found),
           ", expected ", expected);
    }
  };
  check(kFormatKey, kCheckpointFormat);
  check(kVersionKey, kCheckpointVersion);
}

}  // namespace

void write_checkpoint(const std::filesystem::path& path,
                      const CheckpointFacts& facts,
                      std::span<const optim::StateTensor> tensors) {
  std::vector<SafetensorsEntry> entries;
  Checksums checksums;
  Index num_bytes = 0;
  for (const optim::StateTensor& tensor : tensors) {
    FATHOM_CHECK(to_index(tensor.values.size()) == tensor.rows * tensor.columns);
    entries.push_back(
        {tensor.name, formats::SafetensorsDType::F32, {tensor.rows, tensor.columns}, 0, 0});
    const bool is_new = checksums.emplace(tensor.name, hex_of(std::as_bytes(tensor.values))).second;
    FATHOM_CHECK(is_new);
    num_bytes += to_index(tensor.values.size_bytes());
  }
  std::map<std::string, std::string> metadata = metadata_of(facts, checksums);
  metadata[kChecksumKey] = checksum_of_header(entries, metadata);
  const std::string header = formats::make_safetensors_header(entries, metadata);

  platform::OutputFile file(path, to_index(header.size()) + num_bytes);
  file.write(0, std::as_bytes(std::span(header)));
  Index offset = to_index(header.size());
  for (const optim::StateTensor& tensor : tensors) {
    file.write(offset, std::as_bytes(tensor.values));
    offset += to_index(tensor.values.size_bytes());
  }
  file.sync();
  file.commit();
  platform::sync_folder(path.has_parent_path() ? path.parent_path() : ".");
}

CheckpointReader::CheckpointReader(std::span<const std::byte> bytes, std::string name)
    : name_(std::move(name)) {
  const formats::SafetensorsHeader header = formats::parse_safetensors_header(bytes, name_);
  check_kind(header.metadata, name_);
  if (require(header.metadata, kChecksumKey, name_) !=
      checksum_of_header(header.entries, header.metadata)) {
    fail(ErrorCode::InvalidCheckpoint, name_, ": damaged: its header has another checksum than ",
         "was written");
  }
  const Checksums checksums =
      parse_checksums(require(header.metadata, kChecksumsKey, name_), name_);
  for (const SafetensorsEntry& entry : header.entries) {
    const auto own = bytes.subspan(to_size(entry.begin), to_size(entry.end - entry.begin));
    const auto expected = checksums.find(entry.name);
    if (expected == checksums.end() || expected->second != hex_of(own)) {
      fail(ErrorCode::InvalidCheckpoint, name_, ": damaged: tensor ", formats::quote(entry.name),
           " has another checksum than was written");
    }
    if (entry.dtype != formats::SafetensorsDType::F32 || entry.shape.size() != 2) {
      fail(ErrorCode::InvalidCheckpoint, name_, ": tensor ", formats::quote(entry.name),
           ": expected F32 of two dimensions");
    }
    tensors_[entry.name] = {entry.shape[0], entry.shape[1], own};
  }
  for (const auto& [key, value] : header.metadata) {
    if (key != kFormatKey && key != kVersionKey && key != kChecksumsKey && key != kChecksumKey) {
      facts_[key] = value;
    }
  }
}

const std::string& CheckpointReader::fact(const std::string& key) const {
  return require(facts_, key, name_);
}

void CheckpointReader::read(std::span<const optim::StateTensor> tensors) const {
  for (const optim::StateTensor& tensor : tensors) {
    const auto found = tensors_.find(tensor.name);
    if (found == tensors_.end()) {
      fail(ErrorCode::InvalidCheckpoint, name_, ": no tensor ", formats::quote(tensor.name));
    }
    const Stored& stored = found->second;
    if (stored.rows != tensor.rows || stored.columns != tensor.columns) {
      fail(ErrorCode::InvalidCheckpoint, name_, ": tensor ", formats::quote(tensor.name),
           ": shape [", stored.rows, ", ", stored.columns, "], expected [", tensor.rows, ", ",
           tensor.columns, "]");
    }
  }
  if (tensors.size() != tensors_.size()) {
    fail(ErrorCode::InvalidCheckpoint, name_, ": ", tensors_.size(), " tensors, expected ",
         tensors.size());
  }
  for (const optim::StateTensor& tensor : tensors) {
    const std::span<const std::byte> bytes = tensors_.find(tensor.name)->second.bytes;
    std::memcpy(tensor.values.data(), bytes.data(), bytes.size());
  }
}

}  // namespace fathom::train
