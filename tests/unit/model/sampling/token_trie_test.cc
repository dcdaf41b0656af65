#include "fathom/model/sampling/token_trie.h"

#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>

namespace fathom::sampling {
namespace {

TEST(TokenTrie, HoldsEveryTokenAtThePathOfItsBytes) {
  std::mt19937 random(5);
  std::vector<std::string> tokens(500);
  for (std::string& token : tokens) {
    token.resize(random() % 6);
    std::generate(token.begin(), token.end(), [&] { return "ab\xFF"[random() % 3]; });
  }
  const TokenTrie trie(tokens);
  std::map<std::string, std::vector<TokenId>> found;
  std::string path;
  for (std::size_t i = 0; i < trie.nodes().size(); ++i) {
    const TokenTrie::Node& node = trie.nodes()[i];
    ASSERT_LE(node.depth, path.size() + 1);
    path.resize(node.depth - std::size_t{1});
    path += static_cast<char>(node.byte);
    const auto ids = trie.tokens_at(to_index(i));
    found[path].assign(ids.begin(), ids.end());
    // Descendants follow up to `end`.
    const auto end = static_cast<std::size_t>(node.end);
    for (std::size_t j = i + 1; j < end; ++j) {
      ASSERT_GT(trie.nodes()[j].depth, node.depth);
    }
    ASSERT_TRUE(end == trie.nodes().size() || trie.nodes()[end].depth <= node.depth);
  }
  std::map<std::string, std::vector<TokenId>> expected;
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    for (std::size_t length = 1; length <= tokens[id].size(); ++length) {
      expected[tokens[id].substr(0, length)];
    }
    if (!tokens[id].empty()) {
      expected[tokens[id]].push_back(static_cast<TokenId>(id));
    }
  }
  EXPECT_EQ(found, expected);
}

TEST(TokenTrie, AnEmptyVocabularyHasNoNodes) {
  EXPECT_TRUE(TokenTrie(std::vector<std::string>{"", ""}).nodes().empty());
}

}  // namespace
}  // namespace fathom::sampling
