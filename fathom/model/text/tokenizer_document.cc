#include "fathom/model/text/tokenizer_document.h"

#include <limits>

#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"

namespace fathom::text {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kDeepest = 64;

// Receives the parser's events. A tree of a quarter of a million nodes would cost more than the
// parsing, so vocabulary and merges go straight into their lists.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(const std::string& source, TokenizerDocument& document, Json& root)
      : source_(source), document_(document), root_(root) {}

  bool null() override { return scalar(nullptr); }
  bool boolean(bool value) override { return scalar(value); }
  bool number_integer(number_integer_t value) override { return number(value); }
  bool number_unsigned(number_unsigned_t value) override {
    constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
    return number(value > static_cast<number_unsigned_t>(kMost) ? kMost
                                                                : static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return scalar(value); }
  bool binary(binary_t&) override { return scalar(nullptr); }

  bool string(string_t& value) override {
    if (list_ == List::Merges) {
      add_merge(value);
      return true;
    }
    return scalar(std::move(value));
  }

  bool key(string_t& value) override {
    key_ = std::move(value);
    if (list_ == List::None && stack_.back()->contains(key_)) {
      refuse(formats::quote(key_), "found twice, expected once");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (is_model_field("vocab")) {
      list_ = List::Vocab;
      document_.has_vocab = true;
      return true;
    }
    return open(Json::object());
  }
  bool end_object() override {
    if (list_ == List::Vocab) {
      list_ = List::None;
    } else {
      stack_.pop_back();
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (list_ == List::Merges && !in_pair_) {
      in_pair_ = true;
      pair_.clear();
      return true;
    }
    if (is_model_field("merges")) {
      list_ = List::Merges;
      document_.has_merges = true;
      return true;
    }
    return open(Json::array());
  }
  bool end_array() override {
    if (in_pair_) {
      if (pair_.size() != 2) {
        refuse_merge("found a list of " + std::to_string(pair_.size()) + ", expected a pair");
      }
      document_.merges.emplace_back(std::move(pair_[0]), std::move(pair_[1]));
      in_pair_ = false;
    } else if (list_ == List::Merges) {
      list_ = List::None;
    } else {
      stack_.pop_back();
    }
    return true;
  }

  bool parse_error(std::size_t position,
                   const std::string&,
                   const nlohmann::detail::exception&) override {
    fail(ErrorCode::InvalidCheckpoint, source_, ": no JSON at byte ", position);
  }

 private:
  enum class List { None, Vocab, Merges };

  [[noreturn]] void refuse(const std::string& field, const std::string& what) const {
    fail(ErrorCode::InvalidCheckpoint, source_, ": ", field, ": ", what);
  }
  [[noreturn]] void refuse_merge(const std::string& what) const {
    refuse("model.merges[" + std::to_string(document_.merges.size()) + "]", what);
  }

  bool is_model_field(std::string_view name) const {
    return list_ == List::None && stack_.size() == 2 && key_ == name && model_ == stack_.back();
  }

  void add_merge(std::string& value) {
    if (in_pair_) {
      pair_.push_back(std::move(value));
      return;
    }
    // Past the first character: a token of SentencePiece's kind may itself begin with a blank.
    const std::size_t blank = value.find(' ', 1);
    if (blank == value.npos || blank + 1 == value.size() ||
        value.find(' ', blank + 1) != value.npos) {
      refuse_merge("found " + formats::quote(value) + ", expected two tokens");
    }
    document_.merges.emplace_back(value.substr(0, blank), value.substr(blank + 1));
  }

  bool number(std::int64_t value) {
    if (list_ == List::Vocab) {
      document_.vocab.emplace_back(std::move(key_), value);
      return true;
    }
    return scalar(value);
  }

  bool scalar(Json value) {
    put(std::move(value));
    return true;
  }

  Json* put(Json value) {
    if (list_ == List::Vocab) {
      refuse("model.vocab[" + formats::quote(key_) + "]", "expected an integer");
    }
    if (list_ == List::Merges) {
      refuse_merge("expected a string or a pair of strings");
    }
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }

  bool open(Json value) {
    if (stack_.size() == kDeepest) {
      refuse("depth", "found more than " + std::to_string(kDeepest) + " levels");
    }
    const bool is_model = stack_.size() == 1 && root_.is_object() && key_ == "model";
    stack_.push_back(put(std::move(value)));
    if (is_model) {
      model_ = stack_.back();
    }
    return true;
  }

  const std::string& source_;
  TokenizerDocument& document_;
  Json& root_;
  std::vector<Json*> stack_;
  const Json* model_ = nullptr;
  std::string key_;
  List list_ = List::None;
  bool in_pair_ = false;
  std::vector<std::string> pair_;
};

}  // namespace

TokenizerDocument parse_tokenizer_document(std::string_view json,
                                           const std::string& source,
                                           Json& rest) {
  TokenizerDocument document;
  Builder builder(source, document, rest);
  Json::sax_parse(json.begin(), json.end(), &builder);
  return document;
}

}  // namespace fathom::text
