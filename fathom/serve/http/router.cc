#include "fathom/serve/http/router.h"

#include <algorithm>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::http {
namespace {

// "/v1/models/" of "/v1/models/{id}"; nothing for a path that is matched whole.
std::string_view fixed_part(std::string_view pattern) {
  return pattern.ends_with('}') ? pattern.substr(0, pattern.rfind('{')) : std::string_view{};
}

bool matches(std::string_view pattern, std::string_view path) {
  const std::string_view fixed = fixed_part(pattern);
  return fixed.empty() ? pattern == path : path.size() > fixed.size() && path.starts_with(fixed);
}

void add_method(std::string& list, std::string_view method) {
  if (!list.empty()) {
    list.append(", ");
  }
  list.append(method);
}

}  // namespace

void Router::add(std::string method, std::string path, Handler handler, Access access) {
  FATHOM_CHECK(path.starts_with('/') && handler != nullptr);
  FATHOM_CHECK(std::none_of(routes_.begin(), routes_.end(), [&](const Route& route) {
    return route.method == method && route.path == path;
  }));
  routes_.push_back({std::move(method), std::move(path), std::move(handler), access});
}

Router::Match Router::find(std::string_view method, std::string_view path) const {
  const bool is_whole = std::any_of(routes_.begin(), routes_.end(),
                                    [&](const Route& route) { return route.path == path; });
  const auto is_candidate = [&](const Route& route) {
    return is_whole ? route.path == path : matches(route.path, path);
  };
  const Route* found = nullptr;
  Match match;
  for (const Route& route : routes_) {
    if (!is_candidate(route)) {
      continue;
    }
    add_method(match.allowed_methods, route.method);
    if (route.method == "GET" && find_method("HEAD", route.path) == nullptr) {
      add_method(match.allowed_methods, "HEAD");
    }
    if (route.method == method || (found == nullptr && method == "HEAD" && route.method == "GET")) {
      found = &route;
    }
  }
  if (found != nullptr) {
    match.handler = &found->handler;
    match.access = found->access;
    match.parameter = is_whole ? std::string_view{} : path.substr(fixed_part(found->path).size());
  }
  return match;
}

std::vector<Router::Name> Router::names() const {
  std::vector<Name> names;
  for (const Route& route : routes_) {
    names.push_back({route.method, route.path});
  }
  return names;
}

const Router::Route* Router::find_method(std::string_view method, std::string_view pattern) const {
  const auto found = std::find_if(routes_.begin(), routes_.end(), [&](const Route& route) {
    return route.method == method && route.path == pattern;
  });
  return found == routes_.end() ? nullptr : &*found;
}

}  // namespace fathom::http
