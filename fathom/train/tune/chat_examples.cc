#include "fathom/train/tune/chat_examples.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/platform/mapped_file.h"
#include "fathom/model/text/json_value.h"
#include "fathom/train/data/document_encoder.h"
#include "fathom/train/data/document_order.h"
#include "fathom/train/data/documents.h"

namespace fathom::tune {
namespace {

using data::Document;
using data::EncodedDocument;
using nlohmann::json;

Piece piece_of(const EncodedDocument& document) {
  Piece piece{.tokens = document.tokens, .weights = {}};
  piece.weights.assign(piece.tokens.size(), 1.0F);
  if (!document.counts.empty()) {
    std::copy(document.counts.begin(), document.counts.end(), piece.weights.begin());
  }
  return piece;
}

bool has_target(const Piece& piece) {
  return piece.tokens.size() > 1 && std::any_of(piece.weights.begin() + 1, piece.weights.end(),
                                                [](float weight) { return weight > 0; });
}

// Keeps the lengths of pieces and counts what was cut.
class LengthRule {
 public:
  LengthRule(const ExampleOptions& options, ExampleSet& set) : options_(options), set_(set) {}

  // False where nothing that counts is left.
  bool apply(std::vector<Piece>& pieces, const std::string& place) {
    bool is_cut = false;
    for (Piece& piece : pieces) {
      if (piece.num_rows() <= options_.most_tokens) {
        continue;
      }
      if (!options_.cuts_long) {
        fail(ErrorCode::InvalidArgument, place, ": ", piece.tokens.size(),
             " tokens, expected at most ", options_.most_tokens + 1,
             " (--sequence allows more, --cut leaves the end of long ones away)");
      }
      is_cut = true;
      piece.tokens.resize(to_size(options_.most_tokens + 1));
      piece.weights.resize(piece.tokens.size());
    }
    const bool is_kept = std::all_of(pieces.begin(), pieces.end(), has_target);
    set_.num_cut += is_cut ? 1 : 0;
    set_.num_left_out += is_kept ? 0 : 1;
    return is_kept;
  }

 private:
  const ExampleOptions& options_;
  ExampleSet& set_;
};

// read(line, place) for every line that is not blank.
template <typename Read>
void for_each_line(const std::filesystem::path& path, const Read& read) {
  const platform::MappedFile file(path);
  std::string_view rest(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  for (Index number = 1; !rest.empty(); ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
      read(line, path.string() + ": line " + std::to_string(number));
    }
  }
}

// Messages that a member of a pair stands for: a text is what `role` says.
json messages_of(const json& line, const char* key, const char* role, const std::string& place) {
  const auto at = line.find(key);
  if (at != line.end() && at->is_string()) {
    return json::array({{{"role", role}, {"content", *at}}});
  }
  if (at == line.end() || !at->is_array() || at->empty()) {
    fail(ErrorCode::InvalidArgument, place, ": ", key,
         ": expected a text or a list of messages, found ",
         at == line.end() ? "nothing" : at->type_name());
  }
  return *at;
}

bool begins_with_user(const json& messages) {
  const json& first = messages.front();
  const auto role = first.is_object() ? first.find("role") : first.end();
  return first.is_object() && role != first.end() && *role != "assistant" && *role != "tool";
}

// The conversation that ends with one of a pair's replies.
std::string conversation_with(const json& line, const char* key, const std::string& place) {
  json messages = messages_of(line, key, "assistant", place);
  if (!begins_with_user(messages)) {
    json prompt = messages_of(line, "prompt", "user", place);
    prompt.insert(prompt.end(), messages.begin(), messages.end());
    messages = std::move(prompt);
  }
  json conversation = {{"messages", messages}};
  if (const auto tools = line.find("tools"); tools != line.end()) {
    conversation["tools"] = *tools;
  }
  return conversation.dump();
}

// The last reply alone counts: those before are a part of the prompt.
void keep_last_reply(Piece& piece) {
  std::size_t at = piece.weights.size();
  while (at > 0 && piece.weights[at - 1] == 0) {
    --at;
  }
  while (at > 0 && piece.weights[at - 1] > 0) {
    --at;
  }
  std::fill(piece.weights.begin(), piece.weights.begin() + to_index(at), 0.0F);
}

void share_one(std::vector<Piece>& pieces) {
  Index count = 0;
  for (const Piece& piece : pieces) {
    count += std::count_if(piece.weights.begin() + 1, piece.weights.end(),
                           [](float weight) { return weight > 0; });
  }
  for (Piece& piece : pieces) {
    for (float& weight : piece.weights) {
      weight = weight > 0 ? 1.0F / static_cast<float>(count) : 0.0F;
    }
  }
}

json parse_line(std::string_view text, const std::string& place) {
  text::parse_json(text, place);  // strict, and of bounded depth
  json line = json::parse(text, nullptr, false);
  if (!line.is_object()) {
    fail(ErrorCode::InvalidArgument, place,
         ": expected an object with prompt, chosen and rejected");
  }
  return line;
}

}  // namespace

ExampleSet read_chat_examples(const std::filesystem::path& file,
                              const text::TextModel& model,
                              const ExampleOptions& options) {
  const data::DocumentEncoder encoder(model);
  ExampleSet set;
  LengthRule lengths(options, set);
  data::DocumentReader reader({.path = file, .kind = data::InputKind::Lines}, {});
  while (const std::optional<Document> document = reader.next()) {
    std::vector<EncodedDocument> encoded;
    encoder.encode(*document, encoded);
    for (const EncodedDocument& each : encoded) {
      std::vector<Piece> pieces = {piece_of(each)};
      if (lengths.apply(pieces, document->place)) {
        set.examples.push_back({std::move(pieces)});
      }
    }
  }
  return set;
}

ExampleSet read_preference_examples(const std::filesystem::path& file,
                                    const text::TextModel& model,
                                    const ExampleOptions& options) {
  const data::DocumentEncoder encoder(model);
  ExampleSet set;
  LengthRule lengths(options, set);
  for_each_line(file, [&](std::string_view text, const std::string& place) {
    const json line = parse_line(text, place);
    std::vector<Piece> pieces;
    for (const char* key : {"chosen", "rejected"}) {
      Document conversation;
      conversation.conversation = conversation_with(line, key, place);
      conversation.place = place + ": " + key;
      std::vector<EncodedDocument> encoded;
      encoder.encode(conversation, encoded);
      pieces.push_back(piece_of(encoded.back()));
      keep_last_reply(pieces.back());
    }
    if (lengths.apply(pieces, place)) {
      share_one(pieces);
      set.examples.push_back({std::move(pieces)});
    }
  });
  return set;
}

std::vector<Example> hold_out(std::vector<Example>& examples, double share, std::uint64_t seed) {
  const auto count = to_index(examples.size());
  if (share <= 0 || count < 2) {
    return {};
  }
  const Index num_held =
      std::clamp<Index>(std::lround(share * static_cast<double>(count)), 1, count - 1);
  std::vector<std::uint32_t> numbers(examples.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<std::uint32_t>(i);
  }
  data::DocumentOrder order(numbers, seed);
  order.set_epoch(0);
  std::vector<bool> is_held(examples.size());
  for (Index place = 0; place < num_held; ++place) {
    is_held[to_size(order.at(place))] = true;
  }
  std::vector<Example> held;
  std::vector<Example> rest;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    (is_held[i] ? held : rest).push_back(std::move(examples[i]));
  }
  examples = std::move(rest);
  return held;
}

}  // namespace fathom::tune
