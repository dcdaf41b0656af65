// data.json, which stands beside the shards of a data set and names them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::data {

inline constexpr const char* kManifestFile = "data.json";

struct ManifestShard {
  std::string file;  // beside data.json
  Index num_documents = 0;
  Index num_tokens = 0;
  Index num_targets = 0;  // tokens that count
  bool operator==(const ManifestShard&) const = default;
};

struct Manifest {
  std::string tokenizer_file;  // beside data.json; empty for a tokenizer that is elsewhere
  std::string fingerprint;     // to_hex(fingerprint_of(tokenizer))
  Index vocabulary_size = 0;
  double validation_share = 0;  // of the documents, by the hash of their text; in [0, 1)
  std::vector<ManifestShard> shards;
  // More members of the file, as JSON text: `"name": value, ...`; empty where there are none. For
  // people: read_manifest leaves it out.
  std::string notes;
};

std::string print_manifest(const Manifest& manifest);

// Of a folder that `fathom data build` made. Throws Io where there is none, InvalidArgument naming
// the file, the field, what was found and what was expected, Unsupported for another version.
Manifest read_manifest(const std::filesystem::path& folder);

// The same from the file's text; `source` names it.
Manifest parse_manifest(std::string_view json, const std::string& source);

}  // namespace fathom::data
