#include "fathom/model/sampling/token_trie.h"

#include <algorithm>

namespace fathom::sampling {
namespace {

constexpr std::size_t kMaxTokenBytes = 1024;

std::size_t common_prefix(const std::string& a, const std::string& b) {
  const auto [in_a, in_b] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<std::size_t>(in_a - a.begin());
}

}  // namespace

TokenTrie::TokenTrie(std::span<const std::string> token_bytes) {
  for (std::size_t id = 0; id < token_bytes.size(); ++id) {
    if (!token_bytes[id].empty() && token_bytes[id].size() <= kMaxTokenBytes) {
      tokens_.push_back(static_cast<TokenId>(id));
    }
  }
  const auto bytes_of = [&](TokenId id) -> const std::string& {
    return token_bytes[static_cast<std::size_t>(id)];
  };
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [&](TokenId a, TokenId b) { return bytes_of(a) < bytes_of(b); });
  std::vector<std::size_t> path;  // nodes from the root to the last one
  const auto close_down_to = [&](std::size_t depth) {
    while (path.size() > depth) {
      nodes_[path.back()].end = static_cast<std::int32_t>(nodes_.size());
      path.pop_back();
    }
  };
  const std::string none;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& bytes = bytes_of(tokens_[i]);
    const std::size_t shared = common_prefix(bytes, i == 0 ? none : bytes_of(tokens_[i - 1]));
    close_down_to(shared);
    for (std::size_t depth = shared; depth < bytes.size(); ++depth) {
      path.push_back(nodes_.size());
      // Nodes inside a token hold no token: their list is empty because the next one begins alike.
      nodes_.push_back({.first_token = static_cast<std::int32_t>(i),
                        .depth = static_cast<std::uint16_t>(depth + 1),
                        .byte = static_cast<std::uint8_t>(bytes[depth])});
    }
    max_depth_ = std::max(max_depth_, to_index(bytes.size()));
  }
  close_down_to(0);
  nodes_.push_back({.first_token = static_cast<std::int32_t>(tokens_.size())});
}

}  // namespace fathom::sampling
