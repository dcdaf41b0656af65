// By which names a server that asks for no key may be called.
//
// A web page may have its own name lead to this machine after it was loaded (DNS rebinding): its
// requests are then of the same origin, and only the name in the Host header tells whose they are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fathom::http {

class HostCheck {
 public:
  // `listen_host`: the name or address that the server listens on. `allowed`: further names,
  // without ports; "*": any.
  HostCheck(std::string listen_host, std::vector<std::string> allowed);

  // `host` is the header's value, "NAME", "NAME:PORT", "[IPV6]:PORT", in any case. Names of this
  // machine (localhost, *.localhost), the listen host and the allowed names pass, and so does every
  // IP address, since no other machine's name is one; without a header there is no browser.
  bool passes(std::string_view host) const;

 private:
  std::vector<std::string> names_;  // lower case, without a dot at the end
  bool allows_any_ = false;
};

}  // namespace fathom::http
