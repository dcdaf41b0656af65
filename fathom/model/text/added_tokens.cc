#include "fathom/model/text/added_tokens.h"

#include <algorithm>

#include "fathom/model/text/unicode_classes.h"
#include "fathom/model/text/utf8.h"

namespace fathom::text {
namespace {

bool is_space(std::string_view text, std::size_t position) {
  return (unicode_classes()[utf8_code(text.data() + position)] & kSpace) != 0;
}

// Where the spaces that end just at `end` begin, not before `begin`.
std::size_t spaces_before(std::string_view text, std::size_t begin, std::size_t end) {
  while (end > begin) {
    std::size_t previous = end - 1;
    while (previous > begin && (static_cast<unsigned char>(text[previous]) & 0xc0) == 0x80) {
      --previous;
    }
    if (!is_space(text, previous)) {
      break;
    }
    end = previous;
  }
  return end;
}

std::size_t spaces_after(std::string_view text, std::size_t begin, std::size_t end) {
  while (begin < end && is_space(text, begin)) {
    begin += utf8_length(text.data() + begin);
  }
  return begin;
}

}  // namespace

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens)
    : tokens_(tokens), tries_{Trie(1), Trie(1)} {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    if (!tokens_[i].text.empty()) {
      insert(tries_[tokens_[i].is_second ? 1 : 0], i);
    }
  }
}

const AddedTokens::Edge* AddedTokens::find_edge(const Node& node, char byte) {
  const auto edge = std::find_if(node.edges.begin(), node.edges.end(),
                                 [&](const Edge& each) { return each.byte == byte; });
  return edge == node.edges.end() ? nullptr : &*edge;
}

void AddedTokens::insert(Trie& trie, std::size_t token_idx) {
  std::size_t node = 0;
  for (const char byte : tokens_[token_idx].text) {
    const Edge* edge = find_edge(trie[node], byte);
    if (edge == nullptr) {
      trie.emplace_back();
      trie[node].edges.push_back({byte, trie.size() - 1});
      node = trie.size() - 1;
    } else {
      node = edge->node;
    }
  }
  trie[node].token = token_idx;
}

std::size_t AddedTokens::match(const Trie& trie,
                               std::string_view text,
                               std::size_t& token_idx) const {
  std::size_t length = 0;
  const Node* node = &trie.front();
  for (std::size_t i = 0; i < text.size(); ++i) {
    const Edge* edge = find_edge(*node, text[i]);
    if (edge == nullptr) {
      break;
    }
    node = &trie[edge->node];
    if (node->token != kNone) {
      token_idx = node->token;
      length = i + 1;
    }
  }
  return length;
}

void AddedTokens::find_in(const Trie& trie,
                          std::string_view text,
                          std::size_t begin,
                          std::size_t end,
                          std::vector<ControlSpan>& spans) const {
  if (trie.front().edges.empty()) {
    return;
  }
  std::array<bool, 256> is_first{};
  for (const Edge& edge : trie.front().edges) {
    is_first[static_cast<unsigned char>(edge.byte)] = true;
  }
  const std::string_view section = text.substr(0, end);
  std::size_t taken = begin;  // the end of the last span
  for (std::size_t position = begin; position < end;) {
    std::size_t token_idx = 0;
    const std::size_t length = is_first[static_cast<unsigned char>(text[position])]
                                   ? match(trie, section.substr(position), token_idx)
                                   : 0;
    if (length == 0) {
      ++position;
      continue;
    }
    const AddedToken& token = tokens_[token_idx];
    const std::size_t first =
        token.takes_left_spaces ? spaces_before(text, taken, position) : position;
    position += length;
    position = token.takes_right_spaces ? spaces_after(text, position, end) : position;
    spans.push_back({to_index(first), to_index(position), token.id});
    taken = position;
  }
}

std::vector<ControlSpan> AddedTokens::find(std::string_view text) const {
  std::vector<ControlSpan> first;
  find_in(tries_[0], text, 0, text.size(), first);
  if (tries_[1].front().edges.empty()) {
    return first;
  }
  std::vector<ControlSpan> spans;
  std::size_t begin = 0;
  for (const ControlSpan& span : first) {
    find_in(tries_[1], text, begin, to_size(span.begin), spans);
    spans.push_back(span);
    begin = to_size(span.end);
  }
  find_in(tries_[1], text, begin, text.size(), spans);
  return spans;
}

std::optional<TokenId> AddedTokens::id_of(std::string_view text) const {
  for (const Trie& trie : tries_) {
    std::size_t token_idx = 0;
    if (!text.empty() && match(trie, text, token_idx) == text.size()) {
      return tokens_[token_idx].id;
    }
  }
  return std::nullopt;
}

}  // namespace fathom::text
