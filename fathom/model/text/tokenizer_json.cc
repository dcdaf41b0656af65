// Reading Hugging Face tokenizer.json: the BPE kind.
#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/bpe_tokenizer.h"
#include "fathom/model/text/byte_alphabet.h"
#include "fathom/model/text/tokenizer_document.h"

namespace fathom::text {
namespace {

using formats::quote;
using Json = nlohmann::json;

constexpr std::string_view kBlankMark = "\xe2\x96\x81";

struct BehaviorRow {
  SplitBehavior behavior;
  std::string_view name;
};
constexpr BehaviorRow kBehaviors[] = {
    {SplitBehavior::Removed, "Removed"},
    {SplitBehavior::Isolated, "Isolated"},
    {SplitBehavior::MergedWithPrevious, "MergedWithPrevious"},
    {SplitBehavior::MergedWithNext, "MergedWithNext"},
    {SplitBehavior::Contiguous, "Contiguous"},
};

class Reader {
 public:
  Reader(std::string_view json, const std::string& source)
      : source_(source), document_(parse_tokenizer_document(json, source, root_)) {}

  TokenizerParts read() {
    if (!root_.is_object() || !field(root_, "model").is_object()) {
      invalid("model", "expected an object");
    }
    read_pre_tokenizer(field(root_, "pre_tokenizer"));
    read_normalizer(field(root_, "normalizer"));
    check_decoder(field(root_, "decoder"));
    read_model_options(root_["model"]);
    read_added(field(root_, "added_tokens"));
    read_vocab();
    read_merges();
    read_special(root_["model"]);
    read_post_processor(field(root_, "post_processor"), "post_processor");
    return std::move(parts_);
  }

 private:
  [[noreturn]] void invalid(const std::string& name, const std::string& what) const {
    fail(ErrorCode::InvalidCheckpoint, source_, ": ", name, ": ", what);
  }
  [[noreturn]] void unsupported(const std::string& name, const std::string& what) const {
    fail(ErrorCode::Unsupported, source_, ": ", name, ": ", what);
  }

  static const Json& field(const Json& object, const std::string& name) {
    static const Json kNull;
    const auto found = object.find(name);
    return found == object.end() ? kNull : *found;
  }

  bool read_bool(const Json& object,
                 const std::string& name,
                 bool otherwise,
                 const std::string& where) {
    const Json& value = field(object, name);
    if (value.is_null()) {
      return otherwise;
    }
    if (!value.is_boolean()) {
      invalid(where + "." + name, "expected true or false");
    }
    return value.get<bool>();
  }

  std::string read_string(const Json& object, const std::string& name, const std::string& where) {
    const Json& value = object.is_object() ? field(object, name) : object;
    if (!value.is_string()) {
      invalid(where + "." + name, "expected a string");
    }
    return value.get<std::string>();
  }

  std::string type_of(const Json& value, const std::string& where) {
    if (!value.is_object()) {
      invalid(where, "expected an object");
    }
    return read_string(value, "type", where);
  }

  // The members of a Sequence, or the one thing itself; none for null.
  std::vector<const Json*> members_of(const Json& value,
                                      const std::string& list,
                                      const std::string& where) {
    if (value.is_null()) {
      return {};
    }
    if (type_of(value, where) != "Sequence") {
      return {&value};
    }
    const Json& items = field(value, list);
    if (!items.is_array()) {
      invalid(where + "." + list, "expected a list");
    }
    std::vector<const Json*> members;
    for (const Json& item : items) {
      members.push_back(&item);
    }
    return members;
  }

  void read_pre_tokenizer(const Json& value) {
    const std::string where = "pre_tokenizer";
    std::vector<SplitStep> steps;
    for (const Json* member : members_of(value, "pretokenizers", where)) {
      const std::string type = type_of(*member, where);
      if (is_byte_level_) {
        unsupported(where, quote(type) + " after \"ByteLevel\", expected nothing");
      }
      if (type == "Split") {
        steps.push_back(read_split(*member));
      } else if (type == "Digits") {
        const bool is_each = read_bool(*member, "individual_digits", false, where);
        steps.push_back(
            {.find = scanner_of(is_each ? SplitPattern::Number : SplitPattern::Numbers)});
      } else if (type == "ByteLevel") {
        read_byte_level(*member, steps);
      } else {
        unsupported(where, "found " + quote(type) + ", expected Split, Digits or ByteLevel");
      }
    }
    if (!is_byte_level_ && !steps.empty()) {
      unsupported(where, "no \"ByteLevel\" at the end, expected one after a Split");
    }
    parts_.pre_tokenizer = PreTokenizer(std::move(steps));
    parts_.bpe.alphabet = is_byte_level_ ? Alphabet::Bytes : Alphabet::Characters;
  }

  void read_byte_level(const Json& value, std::vector<SplitStep>& steps) {
    const std::string where = "pre_tokenizer.ByteLevel";
    is_byte_level_ = true;
    const bool adds_blank = read_bool(value, "add_prefix_space", true, where);
    if (read_bool(value, "use_regex", true, where)) {
      steps.push_back({.find = scanner_of(SplitPattern::Gpt2Words), .adds_blank = adds_blank});
    } else if (adds_blank) {
      unsupported(where, "add_prefix_space without use_regex");
    }
  }

  SplitStep read_split(const Json& value) {
    const std::string where = "pre_tokenizer.Split";
    SplitStep step;
    const Json& pattern = field(value, "pattern");
    if (pattern.is_object() && field(pattern, "Regex").is_string()) {
      const std::string regex = read_string(pattern, "Regex", where);
      const std::optional<FindPattern> find = find_pattern(regex);
      if (!find) {
        unsupported(where + ".pattern",
                    "the regular expression " + quote(regex) + " is not one of those known here");
      }
      step.find = *find;
    } else if (pattern.is_object() && field(pattern, "String").is_string()) {
      step.literal = read_string(pattern, "String", where);
    } else {
      invalid(where + ".pattern", "expected a Regex or a String");
    }
    const std::string name = read_string(value, "behavior", where);
    const auto row = std::find_if(std::begin(kBehaviors), std::end(kBehaviors),
                                  [&](const BehaviorRow& each) { return each.name == name; });
    if (row == std::end(kBehaviors)) {
      invalid(where + ".behavior", "found " + quote(name));
    }
    step.behavior = row->behavior;
    step.is_inverted = read_bool(value, "invert", false, where);
    return step;
  }

  void read_normalizer(const Json& value) {
    const std::string where = "normalizer";
    for (const Json* member : members_of(value, "normalizers", where)) {
      const std::string type = type_of(*member, where);
      const Json& pattern = field(*member, "pattern");
      const bool is_prepend = type == "Prepend" && field(*member, "prepend") == kBlankMark;
      const bool is_replace = type == "Replace" && pattern.is_object() &&
                              field(pattern, "String") == " " &&
                              field(*member, "content") == kBlankMark;
      if (is_byte_level_ || !(is_prepend || is_replace) || parts_.marks_blanks) {
        unsupported(where, "found " + quote(type) +
                               ", expected none, or the marking of blanks of a vocabulary "
                               "without ByteLevel");
      }
      parts_.adds_blank_in_front = parts_.adds_blank_in_front || is_prepend;
      parts_.marks_blanks = is_replace;
    }
    if (parts_.adds_blank_in_front && !parts_.marks_blanks) {
      unsupported(where, "a Prepend without a Replace of blanks");
    }
    has_normalizer_ = parts_.marks_blanks;
  }

  void check_decoder(const Json& value) {
    const std::string where = "decoder";
    for (const Json* member : members_of(value, "decoders", where)) {
      const std::string type = type_of(*member, where);
      const bool is_known = is_byte_level_ ? type == "ByteLevel"
                                           : type == "Replace" || type == "ByteFallback" ||
                                                 type == "Fuse" || type == "Strip";
      if (!is_known) {
        unsupported(where,
                    "found " + quote(type) + ", expected " +
                        (is_byte_level_ ? "ByteLevel" : "Replace, ByteFallback, Fuse, Strip"));
      }
    }
  }

  void read_model_options(const Json& model) {
    const Json& type = field(model, "type");
    if (type.is_string() ? type != "BPE" : !document_.has_merges) {
      unsupported("model.type", "found " + quote(type.is_string() ? type.get<std::string>() : "") +
                                    ", expected \"BPE\"");
    }
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const Json& value = field(model, name);
      if (!value.is_null() && value != "") {
        unsupported(std::string("model.") + name, "expected none");
      }
    }
    const Json& dropout = field(model, "dropout");
    if (!dropout.is_null() && dropout != 0.0) {
      unsupported("model.dropout", "expected none: the same text is the same tokens");
    }
    if (!document_.has_vocab) {
      invalid("model.vocab", "expected an object");
    }
    if (!document_.has_merges) {
      invalid("model.merges", "expected a list");
    }
    parts_.bpe.ignores_merges = read_bool(model, "ignore_merges", false, "model");
    parts_.bpe.fuses_unknown = read_bool(model, "fuse_unk", false, "model");
    has_byte_fallback_ = read_bool(model, "byte_fallback", false, "model");
    if (has_byte_fallback_ && is_byte_level_) {
      has_byte_fallback_ = false;  // every byte has its character: nothing falls back
    }
  }

  TokenId checked_id(std::int64_t id, const std::string& where) const {
    if (id < 0 || id >= kMostIds) {
      invalid(where,
              "id " + std::to_string(id) + ", expected 0 to " + std::to_string(kMostIds - 1));
    }
    return static_cast<TokenId>(id);
  }

  void read_added(const Json& list) {
    if (list.is_null()) {
      return;
    }
    if (!list.is_array()) {
      invalid("added_tokens", "expected a list");
    }
    std::set<TokenId> ids;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string where = "added_tokens[" + std::to_string(i) + "]";
      const Json& item = list[i];
      if (!item.is_object() || !field(item, "id").is_number_integer()) {
        invalid(where + ".id", "expected an integer");
      }
      AddedToken token;
      token.id = checked_id(field(item, "id").get<std::int64_t>(), where);
      token.text = read_string(item, "content", where);
      token.takes_left_spaces = read_bool(item, "lstrip", false, where);
      token.takes_right_spaces = read_bool(item, "rstrip", false, where);
      token.is_second = read_bool(item, "normalized", false, where);
      if (token.is_second && has_normalizer_) {
        unsupported(where + ".normalized", "true in a tokenizer with a normalizer");
      }
      if (read_bool(item, "single_word", false, where)) {
        unsupported(where + ".single_word", "true, expected false");
      }
      if (!ids.insert(token.id).second) {
        invalid(where + ".id", "found " + std::to_string(token.id) + " twice");
      }
      if (!added_ids_.emplace(token.text, token.id).second) {
        invalid(where + ".content", "found " + quote(token.text) + " twice");
      }
      parts_.added.push_back(std::move(token));
    }
  }

  // The bytes of a vocabulary entry; nothing when they are not of the alphabet.
  std::optional<std::string> bytes_of(const std::string& entry) const {
    if (!is_byte_level_) {
      return entry;
    }
    std::string bytes;
    return append_bytes_of(entry, bytes) ? std::optional(std::move(bytes)) : std::nullopt;
  }

  void read_vocab() {
    TokenTable& tokens = parts_.bpe.tokens;
    std::vector<bool> has_id;
    parts_.bpe.byte_tokens.fill(kNoToken);
    for (const auto& [entry, number] : document_.vocab) {
      const TokenId id = checked_id(number, "model.vocab");
      const auto index = static_cast<std::size_t>(id);
      if (index >= has_id.size()) {
        has_id.resize(index + 1);
      }
      if (has_id[index]) {
        invalid("model.vocab",
                "id " + std::to_string(id) + " found twice, the second time for " + quote(entry));
      }
      has_id[index] = true;
      add_entry(entry, id);
    }
    parts_.bpe.num_tokens = tokens.num_ids();
    for (const AddedToken& token : parts_.added) {
      const auto index = static_cast<std::size_t>(token.id);
      const bool is_in_vocab = unreachable_.contains(token.text) || single_.contains(token.text);
      if (index < has_id.size() && has_id[index] && !is_in_vocab) {
        invalid("added_tokens", quote(token.text) + " has the id " + std::to_string(token.id) +
                                    " of another entry of model.vocab");
      }
    }
    if (is_byte_level_) {
      for (std::size_t byte = 0; byte < parts_.bpe.byte_tokens.size(); ++byte) {
        parts_.bpe.byte_tokens[byte] = tokens.find(std::string(1, static_cast<char>(byte)));
      }
    }
  }

  void add_entry(const std::string& entry, TokenId id) {
    TokenTable& tokens = parts_.bpe.tokens;
    const auto added = added_ids_.find(entry);
    const bool is_added = added != added_ids_.end();
    if (is_added && added->second != id) {
      invalid("added_tokens", quote(entry) + " has id " + std::to_string(added->second) +
                                  ", model.vocab says " + std::to_string(id));
    }
    const std::optional<std::string> bytes = bytes_of(entry);
    const std::optional<std::uint8_t> byte =
        has_byte_fallback_ ? byte_of_name(entry) : std::nullopt;
    tokens.set(id, bytes ? *bytes : entry);
    if (byte) {
      parts_.bpe.byte_tokens[*byte] = id;
    }
    // Text never becomes a control token by merging (text specification 1.5).
    if (!bytes || byte || (is_added && bytes->size() > 1)) {
      unreachable_.emplace(entry, id);
      return;
    }
    if (is_added) {
      single_.emplace(entry, id);
    }
    if (!tokens.make_findable(id)) {
      invalid("model.vocab", quote(entry) + " found twice");
    }
  }

  // The token of a merge's part; nothing for one that text never becomes.
  std::optional<TokenId> token_of(const std::string& entry, std::size_t merge_idx) const {
    const std::optional<std::string> bytes = bytes_of(entry);
    const TokenId id = bytes ? parts_.bpe.tokens.find(*bytes) : kNoToken;
    if (id != kNoToken) {
      return id;
    }
    if (!unreachable_.contains(entry)) {
      invalid("model.merges[" + std::to_string(merge_idx) + "]",
              quote(entry) + " is not in model.vocab");
    }
    return std::nullopt;
  }

  void read_merges() {
    parts_.bpe.merges.reserve(to_index(document_.merges.size()));
    for (std::size_t i = 0; i < document_.merges.size(); ++i) {
      const auto& [left, right] = document_.merges[i];
      const std::optional<TokenId> left_id = token_of(left, i);
      const std::optional<TokenId> right_id = token_of(right, i);
      const std::optional<TokenId> merged = token_of(left + right, i);
      if (!left_id || !right_id || !merged) {
        continue;
      }
      if (!parts_.bpe.merges.add(*left_id, *right_id, {static_cast<std::uint32_t>(i), *merged})) {
        invalid("model.merges[" + std::to_string(i) + "]",
                quote(left) + " with " + quote(right) + " found twice");
      }
    }
  }

  std::optional<TokenId> find_entry(const std::string& entry) const {
    if (const auto added = added_ids_.find(entry); added != added_ids_.end()) {
      return added->second;
    }
    if (const auto found = unreachable_.find(entry); found != unreachable_.end()) {
      return found->second;
    }
    const std::optional<std::string> bytes = bytes_of(entry);
    const TokenId id = bytes ? parts_.bpe.tokens.find(*bytes) : kNoToken;
    return id == kNoToken ? std::nullopt : std::optional(id);
  }

  void read_special(const Json& model) {
    if (!field(model, "unk_token").is_null()) {
      const std::string name = read_string(model, "unk_token", "model");
      parts_.bpe.unknown = find_entry(name);
      if (!parts_.bpe.unknown) {
        invalid("model.unk_token", quote(name) + " is no token");
      }
    }
  }

  void read_post_processor(const Json& value, const std::string& where) {
    for (const Json* member : members_of(value, "processors", where)) {
      const std::string type = type_of(*member, where);
      if (type == "TemplateProcessing") {
        read_template(field(*member, "single"), where + ".single");
      } else if (type != "ByteLevel") {
        unsupported(where, "found " + quote(type) + ", expected ByteLevel or TemplateProcessing");
      }
    }
  }

  // What stands before the text is the BOS, what stands after it the EOS.
  void read_template(const Json& items, const std::string& where) {
    if (!items.is_array()) {
      invalid(where, "expected a list");
    }
    bool is_after_text = false;
    for (const Json& item : items) {
      if (!item.is_object()) {
        invalid(where, "expected objects");
      }
      const Json& special = field(item, "SpecialToken");
      if (special.is_null()) {
        is_after_text = true;
        continue;
      }
      const std::string name = read_string(special, "id", where + ".SpecialToken");
      const std::optional<TokenId> id = find_entry(name);
      if (!id) {
        invalid(where, quote(name) + " is no token");
      }
      if (is_after_text) {
        parts_.eos = id;
      } else {
        parts_.bos = id;
        parts_.adds_bos = true;
      }
    }
  }

  const std::string& source_;
  Json root_;
  TokenizerDocument document_;
  TokenizerParts parts_;
  bool is_byte_level_ = false;
  bool has_normalizer_ = false;
  bool has_byte_fallback_ = false;
  std::unordered_map<std::string, TokenId> added_ids_;
  std::unordered_map<std::string, TokenId> unreachable_;  // entries that text never becomes
  std::unordered_map<std::string, TokenId> single_;       // added tokens of one byte
};

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::parse_json(std::string_view json,
                                                       const std::string& source) {
  return make_tokenizer(Reader(json, source).read());
}

}  // namespace fathom::text
