#include "fathom/model/text/marker_matcher.h"

#include <cstdint>

#include "fathom/base/core/error.h"

namespace fathom::text {

Symbols symbols_of(std::string_view text) {
  Symbols symbols;
  symbols.reserve(text.size());
  for (const char letter : text) {
    symbols.push_back(static_cast<std::uint8_t>(letter));
  }
  return symbols;
}

void append_text(Symbol symbol, std::string& text) {
  if (symbol < 256) {
    text.push_back(static_cast<char>(symbol));
  } else if (symbol == kThinkCloseSymbol) {
    text += kThinkCloseText;
  } else if (symbol == kThinkOpenSymbol) {
    text += kThinkOpenText;
  } else {
    text += kDsmlText;
  }
}

MarkerSet::MarkerSet(const std::vector<Marker>& markers) : nodes_(1) {
  EdgeLists edges(1);
  for (const Marker& marker : markers) {
    insert(marker, edges);
  }
  flatten(edges);
  link(edges);
}

void MarkerSet::insert(const Marker& marker, EdgeLists& edges) {
  FATHOM_CHECK(!marker.symbols.empty());
  Node node = 0;
  for (const Symbol symbol : marker.symbols) {
    FATHOM_CHECK(symbol < kNumSymbols);
    Node target = 0;
    for (const Edge& edge : edges[to_size(node)]) {
      target = edge.symbol == symbol ? edge.target : target;
    }
    if (target == 0) {
      target = static_cast<Node>(nodes_.size());
      nodes_.push_back({.depth = nodes_[to_size(node)].depth + 1});
      edges.emplace_back();
      edges[to_size(node)].push_back({symbol, target});
    }
    node = target;
  }
  NodeFacts& last = nodes_[to_size(node)];
  if (last.marker_idx < 0) {
    last.marker_idx = static_cast<int>(matches_.size());
    matches_.push_back({marker.id, last.depth});
  }
}

void MarkerSet::flatten(const EdgeLists& edges) {
  for (std::size_t node = 0; node < nodes_.size(); ++node) {
    nodes_[node].first_edge = static_cast<int>(edges_.size());
    nodes_[node].num_edges = static_cast<int>(edges[node].size());
    edges_.insert(edges_.end(), edges[node].begin(), edges[node].end());
  }
  for (const Edge& edge : edges[0]) {
    from_root_[edge.symbol] = edge.target;
  }
}

// Breadth first, since a fallback is always shallower than its node.
void MarkerSet::link(const EdgeLists& edges) {
  std::vector<Node> queue = {0};
  for (std::size_t head = 0; head < queue.size(); ++head) {
    const Node parent = queue[head];
    for (const Edge& edge : edges[to_size(parent)]) {
      NodeFacts& target = nodes_[to_size(edge.target)];
      target.fallback = parent == 0 ? 0 : next(nodes_[to_size(parent)].fallback, edge.symbol);
      if (target.marker_idx < 0) {
        target.marker_idx = nodes_[to_size(target.fallback)].marker_idx;
      }
      queue.push_back(edge.target);
    }
  }
}

MarkerSet::Node MarkerSet::next(Node node, Symbol symbol) const {
  while (node != 0) {
    const NodeFacts& facts = nodes_[to_size(node)];
    const Edge* edge = edges_.data() + facts.first_edge;
    for (int i = 0; i < facts.num_edges; ++i) {
      if (edge[i].symbol == symbol) {
        return edge[i].target;
      }
    }
    node = facts.fallback;
  }
  return from_root_[symbol];
}

std::optional<MarkerSet::Match> MarkerSet::match(Node node) const {
  const int marker_idx = nodes_[to_size(node)].marker_idx;
  if (marker_idx < 0) {
    return std::nullopt;
  }
  return matches_[to_size(marker_idx)];
}

void HeldSymbols::drop_front(Index count) {
  begin_ += to_size(count);
  if (begin_ == symbols_.size()) {
    clear();
  } else if (begin_ > 64 && begin_ * 2 > symbols_.size()) {
    // At most as many symbols move as were dropped since the last time: linear over a stream.
    symbols_.erase(0, begin_);
    begin_ = 0;
  }
}

void HeldSymbols::clear() {
  symbols_.clear();
  begin_ = 0;
}

}  // namespace fathom::text
