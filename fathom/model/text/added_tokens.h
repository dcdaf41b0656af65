// Added tokens: texts that are matched in raw text, before it is cut into pieces.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/model/text/tokenizer.h"

namespace fathom::text {

struct AddedToken {
  TokenId id = 0;
  std::string text;
  bool takes_left_spaces = false;   // lstrip: spaces before it belong to it
  bool takes_right_spaces = false;  // rstrip
  bool is_second = false;           // normalized: matched only where no other token is
};

// All of a tokenizer's added tokens. The leftmost match counts, of two at one place the longer.
class AddedTokens {
 public:
  AddedTokens() : tries_{Trie(1), Trie(1)} {}
  explicit AddedTokens(const std::vector<AddedToken>& tokens);

  // Every token in a well-formed text, in order; spans do not overlap.
  std::vector<ControlSpan> find(std::string_view text) const;
  bool is_empty() const { return tokens_.empty(); }
  std::optional<TokenId> id_of(std::string_view text) const;

 private:
  struct Edge {
    char byte;
    std::size_t node;
  };
  struct Node {
    std::vector<Edge> edges;
    std::size_t token = kNone;  // index into tokens_
  };
  using Trie = std::vector<Node>;
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  static const Edge* find_edge(const Node& node, char byte);
  void insert(Trie& trie, std::size_t token_idx);
  // The longest token of the trie at the front of the text; its length, or 0.
  std::size_t match(const Trie& trie, std::string_view text, std::size_t& token_idx) const;
  void find_in(const Trie& trie,
               std::string_view text,
               std::size_t begin,
               std::size_t end,
               std::vector<ControlSpan>& spans) const;

  std::vector<AddedToken> tokens_;
  std::array<Trie, 2> tries_;  // of the tokens matched first, and of those matched in the rest
};

}  // namespace fathom::text
