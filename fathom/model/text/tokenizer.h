// Byte-level BPE: text to token ids and back.
//
// Reads Hugging Face tokenizer.json of the BPE kind and the vocabulary inside GGUF files. It knows
// bytes and ids and nothing else: prompts are rendered elsewhere (text specification 1).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/base/formats/gguf.h"
#include "fathom/model/text/utf8_cleaner.h"

namespace fathom::text {

using TokenId = std::int32_t;

// Whether text that spells a control token is that token.
enum class ControlTokens { Recognised, Plain };

// A control token that a text spells: its bytes [begin, end).
struct ControlSpan {
  Index begin;
  Index end;
  TokenId id;
};

class Tokenizer {
 public:
  // `source` names the file in errors. Throws InvalidCheckpoint for a malformed file, Unsupported
  // for a tokenizer of another kind, naming the field, what was expected and what was found.
  static std::shared_ptr<const Tokenizer> parse_json(std::string_view json,
                                                     const std::string& source);
  static std::shared_ptr<const Tokenizer> from_gguf(const formats::GgufHeader& header,
                                                    const std::string& source);
  virtual ~Tokenizer() = default;

  // Appends the ids of a text. Bytes that are not UTF-8 count as U+FFFD, one per maximal bad
  // sequence.
  virtual void encode(std::string_view text,
                      ControlTokens control_tokens,
                      std::vector<TokenId>& ids) const = 0;
  std::vector<TokenId> encode(std::string_view text, ControlTokens control_tokens) const;

  // The control tokens that a text spells, in order. Throws InvalidArgument for a text that is not
  // UTF-8.
  virtual std::vector<ControlSpan> find_controls(std::string_view text) const = 0;

  // One more than the largest id.
  virtual Index num_ids() const = 0;
  // The bytes a token stands for: often no valid UTF-8 on their own. Empty for an id without one.
  virtual std::string_view bytes_of(TokenId id) const = 0;
  // Added tokens that are matched in raw text: turn headers, think tags, end marks.
  virtual bool is_control(TokenId id) const = 0;
  // The id of a control token by its text.
  virtual std::optional<TokenId> control_id(std::string_view text) const = 0;
  // What the file says about the ends of a text; nullopt when it does not.
  virtual std::optional<TokenId> bos_id() const = 0;
  virtual std::optional<TokenId> eos_id() const = 0;
  // Whether the file asks for a BOS in front of raw text (GGUF add_bos_token, a post-processor).
  virtual bool adds_bos() const = 0;
};

// Ids to text as a stream that never emits a broken UTF-8 sequence: bytes are held back until
// their character is complete.
class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  std::string push(TokenId id);
  // What is still held back: U+FFFD per maximal bad sequence.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  Utf8Cleaner cleaner_;
};

std::string decode(const Tokenizer& tokenizer, const std::vector<TokenId>& ids);

}  // namespace fathom::text
