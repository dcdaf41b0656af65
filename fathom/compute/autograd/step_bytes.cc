#include "fathom/compute/autograd/step_bytes.h"

#include <algorithm>
#include <cstring>

namespace fathom::autograd {
namespace {

// body(first, count) for pieces of `count` bytes.
template <typename Body>
void for_pieces(platform::ThreadPool& pool, Index count, const Body& body) {
  constexpr Index kPiece = Index{1} << 17;
  pool.parallel_for(ceil_div(count, kPiece), [&](Index piece, int /*thread*/) {
    body(piece * kPiece, std::min(kPiece, count - piece * kPiece));
  });
}

}  // namespace

void copy_bytes(platform::ThreadPool& pool, const std::byte* from, Index count, std::byte* to) {
  for_pieces(pool, count, [&](Index first, Index part) {
    std::memcpy(to + first, from + first, to_size(part));
  });
}

void zero_bytes(platform::ThreadPool& pool, Index count, std::byte* to) {
  for_pieces(pool, count,
             [&](Index first, Index part) { std::memset(to + first, 0, to_size(part)); });
}

}  // namespace fathom::autograd
