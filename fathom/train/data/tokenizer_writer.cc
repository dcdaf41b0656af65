#include "fathom/train/data/tokenizer_writer.h"

#include <algorithm>

#include <fmt/format.h>

#include "fathom/model/text/byte_alphabet.h"
#include "fathom/model/text/chat_encoder.h"
#include "fathom/model/text/conversation.h"
#include "fathom/model/text/dialect.h"
#include "fathom/model/text/json_text.h"
#include "fathom/model/text/utf8.h"

namespace fathom::data {
namespace {

// As it stands in DeepSeek-V4's file.
constexpr std::string_view kAroundTheModel =
    R"json( "normalizer": {"type": "Sequence", "normalizers": []},
 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
  {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}"}, "behavior": "Isolated", "invert": false},
  {"type": "Split", "pattern": {"Regex": "[一-龥\u3040-ゟ゠-ヿ]+"}, "behavior": "Isolated", "invert": false},
  {"type": "Split", "pattern": {"Regex": "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false},
  {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
 "post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
 "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
)json";

std::string spelled(const TrainedVocabulary& vocabulary, std::size_t id) {
  const std::string& bytes = vocabulary.tokens[id];
  if (id < vocabulary.special.size()) {
    return bytes;
  }
  std::string text;
  for (const char byte : bytes) {
    text::append_utf8(text::code_of_byte(static_cast<std::uint8_t>(byte)), text);
  }
  return text;
}

}  // namespace

std::string tokenizer_json(const TrainedVocabulary& vocabulary) {
  std::string json =
      "{\n \"version\": \"1.0\",\n \"truncation\": null,\n \"padding\": null,\n \"added_tokens\": "
      "[";
  for (std::size_t id = 0; id < vocabulary.special.size(); ++id) {
    json += fmt::format(
        "{}\n  {{\"id\": {}, \"content\": {}, \"single_word\": false, \"lstrip\": false, "
        "\"rstrip\": false, \"normalized\": false, \"special\": true}}",
        id == 0 ? "" : ",", id, text::json_string(vocabulary.special[id]));
  }
  json += "],\n";
  json += kAroundTheModel;
  json +=
      " \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null,\n"
      "  \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false,\n"
      "  \"byte_fallback\": false,\n  \"vocab\": {";
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    json += fmt::format("{}\n   {}: {}", id == 0 ? "" : ",",
                        text::json_string(spelled(vocabulary, id)), id);
  }
  json += "},\n  \"merges\": [";
  for (std::size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const auto [left, right] = vocabulary.merges[i];
    json +=
        fmt::format("{}\n   {}", i == 0 ? "" : ",",
                    text::json_string(spelled(vocabulary, static_cast<std::size_t>(left)) + " " +
                                      spelled(vocabulary, static_cast<std::size_t>(right))));
  }
  return json + "]}\n}\n";
}

std::vector<std::string> v4_special_tokens(bool has_chat) {
  std::vector<std::string> tokens = {std::string(text::kV4BeginOfText),
                                     std::string(text::kV4EndOfText)};
  if (!has_chat) {
    return tokens;
  }
  const auto add = [&](std::string_view token) {
    if (!token.empty() && std::find(tokens.begin(), tokens.end(), token) == tokens.end()) {
      tokens.emplace_back(token);
    }
  };
  for (const std::string_view token : text::v4_stop_texts()) {
    add(token);
  }
  for (const char* const token : {"<think>", "</think>", "｜DSML｜"}) {
    add(token);
  }
  for (const text::Task task : {text::Task::Action, text::Task::Query, text::Task::Authority,
                                text::Task::Domain, text::Task::Title, text::Task::ReadUrl}) {
    add("<｜" + std::string(text::to_string(task)) + "｜>");
  }
  for (const text::Dialect& dialect : text::dialects()) {
    add(dialect.system_token);
  }
  return tokens;
}

}  // namespace fathom::data
