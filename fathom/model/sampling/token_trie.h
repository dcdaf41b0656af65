// The byte strings of a vocabulary as a tree, so that tokens with a common beginning are matched
// once.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/model/sampling/options.h"

namespace fathom::sampling {

class TokenTrie {
 public:
  // In preorder: the children of a node follow it, up to `end`.
  struct Node {
    std::int32_t end = 0;          // the node after its last descendant
    std::int32_t first_token = 0;  // into tokens(); the next node's first_token ends the list
    std::uint16_t depth = 0;       // bytes up to and with this one
    std::uint8_t byte = 0;
  };

  // Tokens without bytes, and those too long to be honest, are left out.
  explicit TokenTrie(std::span<const std::string> token_bytes);

  std::span<const Node> nodes() const { return {nodes_.data(), nodes_.size() - 1}; }
  // Ids of the tokens that end at a node.
  std::span<const TokenId> tokens_at(Index node_idx) const {
    const auto begin = static_cast<std::size_t>(nodes_[to_size(node_idx)].first_token);
    const auto end = static_cast<std::size_t>(nodes_[to_size(node_idx) + 1].first_token);
    return std::span(tokens_).subspan(begin, end - begin);
  }
  Index max_depth() const { return max_depth_; }

 private:
  std::vector<Node> nodes_;  // and one more as an end mark
  std::vector<TokenId> tokens_;
  Index max_depth_ = 0;
};

}  // namespace fathom::sampling
