// Finding any of a set of markers in a stream of symbols, one symbol at a time (Aho-Corasick).
//
// A symbol is a byte of text or one of three control tokens, so that a token and text that spells
// it differ where they should.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::text {

using Symbol = char16_t;
using Symbols = std::u16string;

inline constexpr Symbol kThinkCloseSymbol = 256;
inline constexpr Symbol kThinkOpenSymbol = 257;
inline constexpr Symbol kDsmlSymbol = 258;
inline constexpr Index kNumSymbols = 259;

inline constexpr std::string_view kThinkCloseText = "</think>";
inline constexpr std::string_view kThinkOpenText = "<think>";
inline constexpr std::string_view kDsmlText = "｜DSML｜";

// Each byte as a symbol.
Symbols symbols_of(std::string_view text);
// Appends the bytes of a symbol: a control token is its spelling.
void append_text(Symbol symbol, std::string& text);

struct Marker {
  Symbols symbols;  // not empty
  int id = 0;       // what the owner knows it by
};

class MarkerSet {
 public:
  struct Match {
    int id = 0;
    Index length = 0;
  };
  // Where a search stands; 0 at its beginning.
  using Node = int;

  MarkerSet() : MarkerSet(std::vector<Marker>{}) {}
  // Of equal markers the first stays.
  explicit MarkerSet(const std::vector<Marker>& markers);

  Node next(Node node, Symbol symbol) const;
  // How many of the last symbols may still become a marker.
  Index depth(Node node) const { return nodes_[to_size(node)].depth; }
  // The longest marker that ends here.
  std::optional<Match> match(Node node) const;

 private:
  struct NodeFacts {
    Node fallback = 0;  // of the longest proper suffix that begins a marker
    Index depth = 0;
    int marker_idx = -1;  // into matches_
    int first_edge = 0;
    int num_edges = 0;
  };
  struct Edge {
    Symbol symbol;
    Node target;
  };

  using EdgeLists = std::vector<std::vector<Edge>>;
  void insert(const Marker& marker, EdgeLists& edges);
  void flatten(const EdgeLists& edges);
  void link(const EdgeLists& edges);

  std::vector<NodeFacts> nodes_;
  std::vector<Edge> edges_;
  std::vector<Match> matches_;
  std::array<Node, kNumSymbols> from_root_{};
};

// Symbols that are held back, in order; taking them from the front costs nothing.
class HeldSymbols {
 public:
  Index size() const { return to_index(symbols_.size() - begin_); }
  bool is_empty() const { return symbols_.size() == begin_; }
  Symbol operator[](Index idx) const { return symbols_[begin_ + to_size(idx)]; }
  void push(Symbol symbol) { symbols_.push_back(symbol); }
  void drop_front(Index count);
  void clear();

 private:
  Symbols symbols_;
  std::size_t begin_ = 0;
};

}  // namespace fathom::text
