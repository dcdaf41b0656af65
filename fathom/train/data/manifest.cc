#include "fathom/train/data/manifest.h"

#include <limits>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/platform/input_file.h"
#include "fathom/model/text/json_field.h"
#include "fathom/model/text/json_text.h"

namespace fathom::data {
namespace {

using text::JsonField;

constexpr std::string_view kFormat = "fathom-data";
constexpr std::int64_t kVersion = 1;
constexpr Index kLongestManifest = Index{1} << 28;

Index count_of(const JsonField& field) {
  const auto value = field.integer(0, std::numeric_limits<std::int64_t>::max());
  if (!value) {
    field.refuse("a count");
  }
  return *value;
}

ManifestShard shard_of(const JsonField& field) {
  field.require(JsonField::Kind::Object, "an object");
  ManifestShard shard;
  shard.file = field.member("file").text();
  shard.num_documents = count_of(field.member("documents"));
  shard.num_tokens = count_of(field.member("tokens"));
  shard.num_targets = count_of(field.member("targets"));
  // A file of the folder itself: a manifest does not lead elsewhere.
  if (shard.file.empty() || shard.file.find('/') != std::string::npos || shard.file == "..") {
    field.member("file").refuse("the name of a file beside it");
  }
  return shard;
}

Manifest manifest_of(const JsonField& root, const std::string& source) {
  if (root.member("format").text_or("") != kFormat) {
    root.member("format").refuse("\"fathom-data\"");
  }
  const auto version = root.member("version").integer(0, std::numeric_limits<int>::max());
  if (version != kVersion) {
    fail(ErrorCode::Unsupported, source, ": version: found ", version.value_or(0), ", expected ",
         kVersion, " (build the data again)");
  }
  Manifest manifest;
  const JsonField tokenizer = root.member("tokenizer");
  tokenizer.require(JsonField::Kind::Object, "an object");
  manifest.tokenizer_file = tokenizer.member("file").text_or("");
  manifest.fingerprint = tokenizer.member("fingerprint").text();
  manifest.vocabulary_size = count_of(tokenizer.member("vocabulary_size"));
  manifest.validation_share = root.member("validation_share").number(0, 0.999999).value_or(0);
  const JsonField shards = root.member("shards");
  shards.require(JsonField::Kind::Array, "a list");
  for (Index i = 0; i < shards.size(); ++i) {
    manifest.shards.push_back(shard_of(shards.item(i)));
  }
  return manifest;
}

}  // namespace

std::string print_manifest(const Manifest& manifest) {
  std::string json = fmt::format(
      "{{\n \"format\": \"{}\",\n \"version\": {},\n \"tokenizer\": {{\"file\": {}, "
      "\"fingerprint\": \"{}\", \"vocabulary_size\": {}}},\n \"validation_share\": {},\n",
      kFormat, kVersion, text::json_string(manifest.tokenizer_file), manifest.fingerprint,
      manifest.vocabulary_size, manifest.validation_share);
  if (!manifest.notes.empty()) {
    json += " " + manifest.notes + ",\n";
  }
  json += " \"shards\": [";
  for (std::size_t i = 0; i < manifest.shards.size(); ++i) {
    const ManifestShard& shard = manifest.shards[i];
    json +=
        fmt::format("{}\n  {{\"file\": {}, \"documents\": {}, \"tokens\": {}, \"targets\": {}}}",
                    i == 0 ? "" : ",", text::json_string(shard.file), shard.num_documents,
                    shard.num_tokens, shard.num_targets);
  }
  return json + "\n ]\n}\n";
}

Manifest parse_manifest(std::string_view json, const std::string& source) {
  const text::JsonValue root = text::parse_json(json, source);
  try {
    return manifest_of(JsonField(&root), source);
  } catch (const Error& error) {
    const std::string message = error.what();
    throw Error(error.code(), message.starts_with(source) ? message : source + ": " + message);
  }
}

Manifest read_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kManifestFile;
  if (!std::filesystem::exists(path)) {
    fail(ErrorCode::Io, path.string(), ": found no such file, expected a folder that ",
         "`fathom data build` made");
  }
  const platform::InputFile file(path);
  if (file.num_bytes() > kLongestManifest) {
    fail(ErrorCode::InvalidArgument, path.string(), ": found ", file.num_bytes(),
         " bytes, expected at most ", kLongestManifest);
  }
  std::string json(to_size(file.num_bytes()), '\0');
  file.read(0, std::as_writable_bytes(std::span(json)));
  return parse_manifest(json, path.string());
}

}  // namespace fathom::data
