#include "fathom/serve/engine/sequence_caches.h"

namespace fathom::engine {

Index SequenceCaches::resume_point(Index num_tokens) const {
  Index point = model.resume_point(num_tokens);
  // A draft row that used another next token, or whose hidden state is gone, cannot be made up for:
  // one token is computed again instead.
  bool is_settled = !draft || point == 0;
  if (!is_settled) {
    point = model.resume_point(point - 1);
  }
  while (!is_settled) {
    const Index drafted = draft->resume_point(std::min(point, draft->num_tokens()));
    is_settled = drafted == point;
    point = model.resume_point(drafted);
  }
  return point;
}

Index SequenceCaches::truncate(Index num_tokens) {
  const Index point = resume_point(num_tokens);
  model.truncate(point);
  if (draft) {
    draft->truncate(point);
  }
  return point;
}

}  // namespace fathom::engine
