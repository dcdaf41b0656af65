#include "fathom/serve/engine/sequence_caches.h"

namespace fathom::engine {

Index SequenceCaches::resume_point(Index num_tokens) const {
  Index point = model.resume_point(num_tokens);
  bool is_settled = !draft;
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
