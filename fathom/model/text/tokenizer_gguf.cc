// Reading the vocabulary inside a GGUF file: byte-level BPE ("gpt2") and SentencePiece ("llama").
#include <algorithm>
#include <map>
#include <set>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/bpe_tokenizer.h"
#include "fathom/model/text/byte_alphabet.h"
#include "fathom/model/text/utf8.h"

namespace fathom::text {
namespace {

using formats::GgufHeader;
using formats::quote;

// Splitting a token everywhere costs the square of its length; no real one has a tenth of this.
constexpr std::size_t kLongestScored = 1024;
constexpr std::size_t kLongestAdded = 4096;

// llama.cpp's kinds of tokens.
enum class Kind : std::int64_t {
  Normal = 1,
  Unknown = 2,
  Control = 3,
  UserDefined = 4,
  Unused = 5,
  Byte = 6
};

class Reader {
 public:
  Reader(const GgufHeader& header, const std::string& source) : header_(header), source_(source) {}

  TokenizerParts read() {
    const std::optional<std::string> model = header_.find_string("tokenizer.ggml.model", source_);
    if (!model) {
      invalid("tokenizer.ggml.model", "missing: the file holds no tokenizer");
    }
    if (*model != "gpt2" && *model != "llama") {
      fail(ErrorCode::Unsupported, source_, ": metadata key \"tokenizer.ggml.model\": found ",
           quote(*model), ", expected gpt2 or llama");
    }
    is_scored_ = *model == "llama";
    read_tokens();
    is_scored_ ? read_scores() : read_merges();
    read_ends();
    return std::move(parts_);
  }

 private:
  [[noreturn]] void invalid(std::string_view key, const std::string& what) const {
    fail(ErrorCode::InvalidCheckpoint, source_, ": metadata key ", quote(key), ": ", what);
  }
  static std::string element(Index i) { return "element " + std::to_string(i) + ": "; }

  const std::vector<std::string>& strings(const std::string& key) const {
    const auto found = header_.metadata.find(key);
    if (found == header_.metadata.end()) {
      invalid(key, "missing");
    }
    const auto* array = std::get_if<formats::GgufArray>(&found->second);
    const auto* items = array == nullptr ? nullptr : std::get_if<std::vector<std::string>>(array);
    if (items == nullptr) {
      invalid(key, "expected an array of strings");
    }
    for (Index i = 0; i < to_index(items->size()); ++i) {
      if (!formats::is_utf8((*items)[to_size(i)])) {
        invalid(key, element(i) + quote((*items)[to_size(i)]) + " is not UTF-8");
      }
    }
    return *items;
  }

  Kind kind_of(Index id) const {
    return kinds_.empty() ? Kind::Normal : static_cast<Kind>(kinds_[to_size(id)]);
  }

  void read_tokens() {
    const std::string key = "tokenizer.ggml.tokens";
    const std::vector<std::string>& tokens = strings(key);
    const Index num_tokens = to_index(tokens.size());
    if (num_tokens == 0 || num_tokens > kMostIds) {
      invalid(key, "found " + std::to_string(num_tokens) + " tokens, expected 1 to " +
                       std::to_string(kMostIds));
    }
    const std::string kinds_key = "tokenizer.ggml.token_type";
    kinds_ = header_.find_integers(kinds_key, source_).value_or(std::vector<std::int64_t>());
    if (!kinds_.empty() && to_index(kinds_.size()) != num_tokens) {
      invalid(kinds_key, "found " + std::to_string(kinds_.size()) + " elements, expected " +
                             std::to_string(num_tokens));
    }
    parts_.bpe.alphabet = is_scored_ ? Alphabet::Characters : Alphabet::Bytes;
    parts_.bpe.num_tokens = num_tokens;
    parts_.bpe.byte_tokens.fill(kNoToken);
    for (Index id = 0; id < num_tokens; ++id) {
      add_token(tokens[to_size(id)], static_cast<TokenId>(id), key);
    }
    if (!is_scored_) {
      for (std::size_t byte = 0; byte < parts_.bpe.byte_tokens.size(); ++byte) {
        parts_.bpe.byte_tokens[byte] =
            parts_.bpe.tokens.find(std::string(1, static_cast<char>(byte)));
      }
    }
  }

  void add_token(const std::string& text, TokenId id, const std::string& key) {
    TokenTable& tokens = parts_.bpe.tokens;
    const Kind kind = kind_of(id);
    const bool is_added = kind == Kind::Control || kind == Kind::UserDefined;
    std::string bytes;
    const bool is_spelled = kind == Kind::Normal && !is_scored_ && append_bytes_of(text, bytes);
    tokens.set(id, is_spelled ? bytes : text);
    if (is_added) {
      if (text.size() > kLongestAdded) {
        invalid(key, element(id) + std::to_string(text.size()) + " bytes, expected at most " +
                         std::to_string(kLongestAdded));
      }
      if (!added_texts_.insert(text).second) {
        invalid(key, element(id) + quote(text) + " found twice");
      }
      parts_.added.push_back({.id = id, .text = text});
      return;
    }
    if (is_scored_ && (kind == Kind::Byte || kinds_.empty())) {
      if (const std::optional<std::uint8_t> byte = byte_of_name(text)) {
        parts_.bpe.byte_tokens[*byte] = id;
        return;
      }
    }
    const bool is_reachable = is_spelled || (is_scored_ && kind == Kind::Normal && !text.empty());
    if (is_reachable && !tokens.make_findable(id)) {
      invalid(key, element(id) + quote(text) + " found twice");
    }
  }

  void read_merges() {
    const GgufPre pre = gguf_pre_tokenizer(
        header_.find_string("tokenizer.ggml.pre", source_).value_or("default"), source_);
    parts_.pre_tokenizer = pre.pre_tokenizer;
    parts_.bpe.ignores_merges = pre.ignores_merges;
    parts_.adds_bos = pre.adds_bos;
    const std::string key = "tokenizer.ggml.merges";
    const std::vector<std::string>& merges = strings(key);
    if (to_index(merges.size()) > kMostIds) {
      invalid(key, "found " + std::to_string(merges.size()) + " merges, expected at most " +
                       std::to_string(kMostIds));
    }
    parts_.bpe.merges.reserve(to_index(merges.size()));
    for (Index i = 0; i < to_index(merges.size()); ++i) {
      add_merge(merges[to_size(i)], i, key);
    }
  }

  void add_merge(const std::string& merge, Index i, const std::string& key) {
    const std::size_t blank = merge.find(' ', 1);
    if (blank == merge.npos) {
      invalid(key, element(i) + "found " + quote(merge) + ", expected two tokens");
    }
    const auto token_of = [&](const std::string& text) {
      std::string bytes;
      const TokenId id = append_bytes_of(text, bytes) ? parts_.bpe.tokens.find(bytes) : kNoToken;
      if (id == kNoToken && !added_texts_.contains(text)) {
        invalid(key, element(i) + quote(text) + " is no token");
      }
      return id;
    };
    const std::string left = merge.substr(0, blank);
    const std::string right = merge.substr(blank + 1);
    const TokenId left_id = token_of(left);
    const TokenId right_id = token_of(right);
    const TokenId merged = token_of(left + right);
    if (left_id == kNoToken || right_id == kNoToken || merged == kNoToken) {
      return;  // text never becomes a control token by merging
    }
    if (!parts_.bpe.merges.add(left_id, right_id, {static_cast<std::uint32_t>(i), merged})) {
      invalid(key, element(i) + quote(merge) + " found twice");
    }
  }

  // SentencePiece merges two neighbours whenever they are a token together, those of the highest
  // score first: every way to halve a token is a merge.
  void read_scores() {
    const std::string key = "tokenizer.ggml.scores";
    const std::vector<double> scores =
        header_.find_numbers(key, source_).value_or(std::vector<double>());
    if (to_index(scores.size()) != parts_.bpe.num_tokens) {
      invalid(key, "found " + std::to_string(scores.size()) + " elements, expected " +
                       std::to_string(parts_.bpe.num_tokens));
    }
    parts_.marks_blanks = true;
    parts_.adds_blank_in_front =
        header_.find_bool("tokenizer.ggml.add_space_prefix", source_).value_or(true);
    parts_.adds_bos = true;
    std::map<double, std::uint32_t, std::greater<>> ranks;
    for (const double score : scores) {
      if (!(score == score)) {
        invalid(key, "found a NaN");
      }
      ranks[score] = 0;
    }
    std::uint32_t next_rank = 0;
    for (auto& [score, rank] : ranks) {
      rank = next_rank++;
    }
    std::vector<TokenId> words;  // what has more than one character
    Index num_merges = 0;
    for (Index id = 0; id < parts_.bpe.num_tokens; ++id) {
      num_merges += add_characters(static_cast<TokenId>(id), words);
    }
    parts_.bpe.merges.reserve(num_merges);
    for (const TokenId word : words) {
      add_halves(word, ranks.at(scores[static_cast<std::size_t>(word)]));
    }
  }

  // Characters that occur in a word and are no token become symbols beyond the tokens. Returns the
  // number of ways to halve the word.
  Index add_characters(TokenId id, std::vector<TokenId>& words) {
    TokenTable& tokens = parts_.bpe.tokens;
    const std::string word(tokens.bytes(id));
    if (tokens.find(word) != id) {
      return 0;
    }
    if (word.size() > kLongestScored) {
      invalid("tokenizer.ggml.tokens", element(id) + std::to_string(word.size()) +
                                           " bytes, expected at most " +
                                           std::to_string(kLongestScored));
    }
    Index num_characters = 0;
    for (std::size_t i = 0; i < word.size(); ++num_characters) {
      const std::string character = word.substr(i, utf8_length(word.data() + i));
      i += character.size();
      if (tokens.find(character) == kNoToken) {
        const auto symbol = static_cast<TokenId>(tokens.num_ids());
        tokens.set(symbol, character);
        tokens.make_findable(symbol);
      }
    }
    if (num_characters > 1) {
      words.push_back(id);
    }
    return num_characters - 1;
  }

  void add_halves(TokenId word, std::uint32_t rank) {
    const TokenTable& tokens = parts_.bpe.tokens;
    const std::string_view text = tokens.bytes(word);
    const auto length_at = [text](std::size_t i) { return utf8_length(text.data() + i); };
    for (std::size_t i = length_at(0); i < text.size(); i += length_at(i)) {
      const TokenId left = tokens.find(text.substr(0, i));
      const TokenId right = tokens.find(text.substr(i));
      if (left != kNoToken && right != kNoToken) {
        parts_.bpe.merges.add(left, right, {rank, word});
      }
    }
  }

  std::optional<TokenId> find_id(const std::string& key) const {
    const std::optional<std::int64_t> id = header_.find_integer(key, source_);
    if (id && (*id < 0 || *id >= parts_.bpe.num_tokens)) {
      invalid(key, "found " + std::to_string(*id) + ", expected 0 to " +
                       std::to_string(parts_.bpe.num_tokens - 1));
    }
    return id ? std::optional(static_cast<TokenId>(*id)) : std::nullopt;
  }

  void read_ends() {
    parts_.bos = find_id("tokenizer.ggml.bos_token_id");
    parts_.eos = find_id("tokenizer.ggml.eos_token_id");
    const std::optional<TokenId> unknown = find_id("tokenizer.ggml.unknown_token_id");
    if (is_scored_) {
      parts_.bpe.unknown = unknown;
    }
    const std::optional<bool> adds_bos = header_.find_bool("tokenizer.ggml.add_bos_token", source_);
    parts_.adds_bos = adds_bos.value_or(parts_.adds_bos) && parts_.bos;
  }

  const GgufHeader& header_;
  const std::string& source_;
  TokenizerParts parts_;
  std::vector<std::int64_t> kinds_;
  std::set<std::string> added_texts_;
  bool is_scored_ = false;
};

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::from_gguf(const GgufHeader& header,
                                                      const std::string& source) {
  return make_tokenizer(Reader(header, source).read());
}

}  // namespace fathom::text
