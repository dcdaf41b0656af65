#include "fathom/serve/engine/prefix_library.h"

#include <algorithm>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::engine {

Index common_prefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  const std::size_t count = std::min(a.size(), b.size());
  const auto differing =
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(count), b.begin());
  return differing.first - a.begin();
}

std::optional<PrefixLibrary::Match> PrefixLibrary::find(const std::string& scope,
                                                        std::span<const TokenId> tokens) const {
  std::optional<Match> best;
  std::uint64_t best_use = 0;
  for (const Retained& retained : sequences_) {
    if (retained.scope != scope) {
      continue;
    }
    const Index common = common_prefix(retained.tokens, tokens);
    if (common == 0 || (best && common < best->num_tokens)) {
      continue;
    }
    const Index point = retained.caches.resume_point(common);
    // Of equals the one used last: it is the one that lives longest anyway.
    if (point > 0 && (!best || point > best->num_tokens ||
                      (point == best->num_tokens && retained.last_use > best_use))) {
      best = {.num_tokens = point, .id = retained.id};
      best_use = retained.last_use;
    }
  }
  return best;
}

SequenceCaches PrefixLibrary::fork(const Match& match) {
  const auto found = std::find_if(sequences_.begin(), sequences_.end(),
                                  [&](const Retained& each) { return each.id == match.id; });
  FATHOM_CHECK(found != sequences_.end());
  found->last_use = ++num_uses_;
  SequenceCaches caches = found->caches;
  caches.truncate(match.num_tokens);
  return caches;
}

bool PrefixLibrary::serves_for(const Retained& b, const Retained& a) {
  const Index length = to_index(a.tokens.size());
  return a.scope == b.scope && a.caches.draft.has_value() <= b.caches.draft.has_value() &&
         common_prefix(a.tokens, b.tokens) == length &&
         b.caches.resume_point(length) >= a.caches.resume_point(length);
}

void PrefixLibrary::insert(const std::string& scope,
                           std::vector<TokenId> tokens,
                           SequenceCaches caches) {
  FATHOM_CHECK(to_index(tokens.size()) == caches.num_tokens());
  Retained added = {.id = static_cast<RetainedId>(++num_inserted_),
                    .scope = scope,
                    .tokens = std::move(tokens),
                    .caches = std::move(caches),
                    .last_use = ++num_uses_};
  const auto serving = std::find_if(sequences_.begin(), sequences_.end(),
                                    [&](const Retained& each) { return serves_for(each, added); });
  if (serving != sequences_.end()) {
    serving->last_use = added.last_use;
    return;
  }
  std::erase_if(sequences_, [&](const Retained& each) { return serves_for(added, each); });
  if (num_sequences() >= max_sequences_ && !evict_one()) {
    return;
  }
  sequences_.push_back(std::move(added));
}

bool PrefixLibrary::evict_one(const std::set<RetainedId>& kept) {
  auto oldest = sequences_.end();
  for (auto each = sequences_.begin(); each != sequences_.end(); ++each) {
    if (kept.count(each->id) == 0 &&
        (oldest == sequences_.end() || each->last_use < oldest->last_use)) {
      oldest = each;
    }
  }
  if (oldest == sequences_.end()) {
    return false;
  }
  sequences_.erase(oldest);
  return true;
}

}  // namespace fathom::engine
