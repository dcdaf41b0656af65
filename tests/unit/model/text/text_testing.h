// Tokenizers for tests: the published V4 one, and small ones of all bytes and some merges.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "fathom/base/formats/gguf.h"
#include "fathom/model/text/byte_alphabet.h"
#include "fathom/model/text/tokenizer.h"
#include "fathom/model/text/utf8.h"

#include "tests/support/temp_dir.h"

namespace fathom::text {

inline std::string golden_text(const std::string& name) {
  return test::read_file(std::filesystem::path(FATHOM_SOURCE_DIR) / "tests/data/golden/tokenizer" /
                         name);
}

inline const Tokenizer& v4_tokenizer() {
  static const std::shared_ptr<const Tokenizer> kTokenizer =
      Tokenizer::parse_json(golden_text("tokenizer.json"), "tokenizer.json");
  return *kTokenizer;
}

inline std::string byte_character(int byte) {
  std::string text;
  append_utf8(code_of_byte(static_cast<std::uint8_t>(byte)), text);
  return text;
}

using Merges = std::vector<std::pair<std::string, std::string>>;

// tokenizer.json of the 256 bytes (ids 0 to 255), what the merges make (from 256), and one control
// token, <end>, after them. GPT-2's pieces.
inline nlohmann::json small_document(const Merges& merges) {
  using Json = nlohmann::json;
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocab[byte_character(byte)] = byte;
  }
  Json list = Json::array();
  for (const auto& [left, right] : merges) {
    if (!vocab.contains(left + right)) {
      const auto id = vocab.size();
      vocab[left + right] = id;
    }
    list.push_back(left + " " + right);
  }
  return {
      {"added_tokens", {{{"id", vocab.size()}, {"content", "<end>"}, {"special", true}}}},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", list}}}};
}

inline std::shared_ptr<const Tokenizer> parse(const nlohmann::json& document) {
  return Tokenizer::parse_json(document.dump(), "small.json");
}

// The same as a GGUF header: <end> is the control token after what the merges make.
inline formats::GgufHeader small_gguf(const Merges& merges) {
  std::vector<std::string> tokens;
  std::vector<std::string> list;
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(byte_character(byte));
  }
  for (const auto& [left, right] : merges) {
    tokens.push_back(left + right);
    list.push_back(left + " " + right);
  }
  std::vector<std::int64_t> kinds(tokens.size(), 1);
  tokens.push_back("<end>");
  kinds.push_back(3);
  formats::GgufHeader header;
  header.metadata["tokenizer.ggml.model"] = std::string("gpt2");
  header.metadata["tokenizer.ggml.pre"] = std::string("gpt-2");
  header.metadata["tokenizer.ggml.tokens"] = formats::GgufArray(tokens);
  header.metadata["tokenizer.ggml.token_type"] = formats::GgufArray(kinds);
  header.metadata["tokenizer.ggml.merges"] = formats::GgufArray(list);
  return header;
}

}  // namespace fathom::text
