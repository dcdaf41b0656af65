#include "fathom/model/text/bpe_tokenizer.h"

#include <algorithm>
#include <unordered_map>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/byte_alphabet.h"
#include "fathom/model/text/utf8.h"

namespace fathom::text {
namespace {

constexpr std::string_view kBlankMark = "\xe2\x96\x81";  // U+2581

class BpeTokenizer final : public Tokenizer {
 public:
  explicit BpeTokenizer(TokenizerParts parts)
      : bpe_(std::move(parts.bpe)),
        pre_tokenizer_(std::move(parts.pre_tokenizer)),
        added_(parts.added),
        num_ids_(bpe_.num_tokens()),
        marks_blanks_(parts.marks_blanks),
        adds_blank_in_front_(parts.adds_blank_in_front),
        bos_(parts.bos),
        eos_(parts.eos),
        adds_bos_(parts.adds_bos) {
    for (AddedToken& token : parts.added) {
      num_ids_ = std::max(num_ids_, Index{token.id} + 1);
      added_texts_[token.id] = std::move(token.text);
    }
    if (marks_blanks_) {
      spell_out_tokens();
    }
  }

  using Tokenizer::encode;

  void encode(std::string_view text,
              ControlTokens control_tokens,
              std::vector<TokenId>& ids) const override {
    if (!formats::is_utf8(text)) {
      encode(repair_utf8(text), control_tokens, ids);
      return;
    }
    BpeScratch scratch;
    std::size_t begin = 0;
    if (control_tokens == ControlTokens::Recognised) {
      for (const ControlSpan& span : added_.find(text)) {
        encode_plain(text.substr(begin, to_size(span.begin) - begin), scratch, ids);
        ids.push_back(span.id);
        begin = to_size(span.end);
      }
    }
    encode_plain(text.substr(begin), scratch, ids);
  }

  std::vector<ControlSpan> find_controls(std::string_view text) const override {
    if (!formats::is_utf8(text)) {
      fail(ErrorCode::InvalidArgument,
           "a text with control tokens is not UTF-8: ", formats::quote(text));
    }
    return added_.find(text);
  }

  Index num_ids() const override { return num_ids_; }

  std::string_view bytes_of(TokenId id) const override {
    const auto added = added_texts_.find(id);
    if (added != added_texts_.end()) {
      return added->second;
    }
    if (marks_blanks_) {
      return id >= 0 && id < to_index(spelled_.size()) ? spelled_[static_cast<std::size_t>(id)]
                                                       : std::string_view();
    }
    return id < bpe_.num_tokens() ? bpe_.tokens().bytes(id) : std::string_view();
  }

  bool is_control(TokenId id) const override { return added_texts_.contains(id); }
  std::optional<TokenId> control_id(std::string_view text) const override {
    return added_.id_of(text);
  }
  std::optional<TokenId> bos_id() const override { return bos_; }
  std::optional<TokenId> eos_id() const override { return eos_; }
  bool adds_bos() const override { return adds_bos_; }

 private:
  void encode_plain(std::string_view text, BpeScratch& scratch, std::vector<TokenId>& ids) const {
    const auto encode_piece = [&](std::string_view piece) { bpe_.encode(piece, scratch, ids); };
    if (marks_blanks_ && !text.empty()) {
      std::string marked(adds_blank_in_front_ ? kBlankMark : "");
      for (const char letter : text) {
        letter == ' ' ? marked += kBlankMark : marked += letter;
      }
      pre_tokenizer_.split(marked, encode_piece);
    } else {
      pre_tokenizer_.split(text, encode_piece);
    }
  }

  // What the tokens say without marks and names of bytes.
  void spell_out_tokens() {
    for (Index id = 0; id < bpe_.num_tokens(); ++id) {
      std::string_view rest = bpe_.tokens().bytes(static_cast<TokenId>(id));
      std::string text;
      if (const std::optional<std::uint8_t> byte = byte_of_name(rest)) {
        text = static_cast<char>(*byte);
        rest = {};
      }
      while (!rest.empty()) {
        const bool is_mark = rest.starts_with(kBlankMark);
        text += is_mark ? ' ' : rest.front();
        rest.remove_prefix(is_mark ? kBlankMark.size() : 1);
      }
      spelled_.push_back(std::move(text));
    }
  }

  Bpe bpe_;
  PreTokenizer pre_tokenizer_;
  AddedTokens added_;
  Index num_ids_;
  bool marks_blanks_;
  bool adds_blank_in_front_;
  std::optional<TokenId> bos_;
  std::optional<TokenId> eos_;
  bool adds_bos_;
  std::unordered_map<TokenId, std::string> added_texts_;
  std::vector<std::string> spelled_;
};

}  // namespace

std::shared_ptr<const Tokenizer> make_tokenizer(TokenizerParts parts) {
  return std::make_shared<BpeTokenizer>(std::move(parts));
}

}  // namespace fathom::text
