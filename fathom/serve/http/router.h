// Which handler answers which method and path.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fathom/serve/http/exchange.h"

namespace fathom::http {

// Whether a route may be used without an API key.
enum class Access { WithKey, Open };

class Router {
 public:
  // `path` may end in "{name}", which stands for all that is left of a path, at least one character
  // (names of models hold slashes); a path without one goes before. Methods are upper case. What
  // answers GET answers HEAD too, unless a route of its own does. Adding a route twice is a bug.
  void add(std::string method, std::string path, Handler handler, Access access = Access::WithKey);

  struct Match {
    const Handler* handler = nullptr;  // null: no such path, or another method
    Access access = Access::WithKey;
    std::string_view parameter = {};   // what stood for "{name}"
    std::string allowed_methods = {};  // of a path without that method: "GET, POST"
  };
  Match find(std::string_view method, std::string_view path) const;

  struct Name {
    std::string method;
    std::string path;
  };
  // All routes, in the order in which they were added.
  std::vector<Name> names() const;

 private:
  struct Route {
    std::string method;
    std::string path;
    Handler handler;
    Access access;
  };
  const Route* find_method(std::string_view method, std::string_view pattern) const;

  std::vector<Route> routes_;
};

}  // namespace fathom::http
