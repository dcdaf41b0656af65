#include "fathom/serve/http/host_check.h"

#include <algorithm>
#include <array>
#include <utility>

#include <arpa/inet.h>

#include "fathom/serve/http/field_value.h"

namespace fathom::http {
namespace {

constexpr std::string_view kLocalhost = "localhost";
constexpr std::string_view kBelowLocalhost = ".localhost";

std::string plain_name(std::string_view name) {
  std::string plain(name);
  for (char& letter : plain) {
    letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  }
  if (plain.ends_with('.')) {
    plain.pop_back();
  }
  return plain;
}

bool is_address(int family, const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> address;
  return inet_pton(family, text.c_str(), address.data()) == 1;
}

// Without the port; brackets of an IPv6 address stay.
std::string_view without_port(std::string_view host) {
  const std::size_t after_brackets = host.starts_with('[') ? host.find(']') : 0;
  const std::size_t colon = host.find(':', std::min(after_brackets, host.size()));
  return host.substr(0, colon);
}

}  // namespace

HostCheck::HostCheck(std::string listen_host, std::vector<std::string> allowed) {
  allowed.push_back(std::move(listen_host));
  for (const std::string& name : allowed) {
    allows_any_ = allows_any_ || name == "*";
    names_.push_back(plain_name(name));
  }
}

bool HostCheck::passes(std::string_view host) const {
  const std::string name = plain_name(without_port(trim(host)));
  if (allows_any_ || name.empty() || name == kLocalhost || name.ends_with(kBelowLocalhost)) {
    return true;
  }
  if (name.starts_with('[') && name.ends_with(']')) {
    return is_address(AF_INET6, name.substr(1, name.size() - 2));
  }
  return is_address(AF_INET, name) || std::find(names_.begin(), names_.end(), name) != names_.end();
}

}  // namespace fathom::http
