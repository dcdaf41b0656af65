// The text of a tokenizer.json, taken apart: the two long lists on their own, all else as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace fathom::text {

struct TokenizerDocument {
  // model.vocab when it is an object, in the file's order.
  std::vector<std::pair<std::string, std::int64_t>> vocab;
  // model.merges, as one string "left right" or as a pair: the two halves.
  std::vector<std::pair<std::string, std::string>> merges;
  bool has_vocab = false;
  bool has_merges = false;
};

// Throws InvalidCheckpoint naming `source` and the field: JSON that is broken, deeper than any
// such file, with a key twice, an id that is no integer, a merge of another form.
TokenizerDocument parse_tokenizer_document(std::string_view json,
                                           const std::string& source,
                                           nlohmann::json& rest);

}  // namespace fathom::text
