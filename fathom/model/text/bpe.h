// Byte pair encoding of one piece of text: its symbols, merged in the order of their ranks.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "fathom/model/text/token_table.h"
#include "fathom/model/text/tokenizer.h"

namespace fathom::text {

// What the symbols of a piece are before anything is merged.
enum class Alphabet { Bytes, Characters };

struct BpeParts {
  Alphabet alphabet = Alphabet::Bytes;
  // The findable tokens are those that text can become. Ids from num_tokens on are symbols without
  // a token: merges may begin with them, the result spells them with byte tokens.
  TokenTable tokens;
  Index num_tokens = 0;
  MergeTable merges;
  // A piece that is a token is that token, whatever the merges say.
  bool ignores_merges = false;
  // The tokens of single bytes, kNoToken where there is none. Under Alphabet::Characters they stand
  // for a character without a token (all of its bytes or none).
  std::array<TokenId, 256> byte_tokens{};
  // What a symbol without any token becomes; without one it is left out.
  std::optional<TokenId> unknown;
  bool fuses_unknown = false;  // neighbours become one
};

// Space that encoding a piece needs, kept from piece to piece.
struct BpeScratch {
  std::vector<TokenId> symbols;
  std::vector<std::uint64_t> merges;
  std::vector<std::uint32_t> next;
  std::vector<std::uint32_t> previous;
  std::vector<std::uint64_t> queue;
};

class Bpe {
 public:
  explicit Bpe(BpeParts parts);

  // Appends the ids of a piece of well-formed text. Time grows as n log n with its length.
  void encode(std::string_view piece, BpeScratch& scratch, std::vector<TokenId>& ids) const;

  const TokenTable& tokens() const { return parts_.tokens; }
  Index num_tokens() const { return parts_.num_tokens; }

 private:
  // Whether the merges make a token out of its own bytes: found out when it is first met. Every
  // thread finds the same.
  enum class Whole : std::uint8_t { Unknown, Merges, DoesNotMerge };

  std::uint64_t find_merge(TokenId left, TokenId right) const;
  void make_symbols(std::string_view piece, std::vector<TokenId>& symbols) const;
  void add_unknown(std::string_view character, std::vector<TokenId>& symbols) const;
  void merge_short(BpeScratch& scratch) const;
  void merge_long(BpeScratch& scratch) const;

  BpeParts parts_;
  std::unique_ptr<std::atomic<Whole>[]> wholes_;  // by id
};

}  // namespace fathom::text
