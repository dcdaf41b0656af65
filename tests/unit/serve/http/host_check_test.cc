#include "fathom/serve/http/host_check.h"

#include <gtest/gtest.h>

namespace fathom::http {
namespace {

TEST(HostCheck, NamesOfThisMachineAndAddressesPass) {
  const HostCheck check("127.0.0.1", {});
  for (const char* const host :
       {"localhost", "LocalHost:8080", "localhost.:8080", "fathom.localhost", "127.0.0.1:8080",
        "127.0.0.53", "[::1]:8080", "[::1]", "192.168.1.5:8080", "[fe80::1]:1", ""}) {
    EXPECT_TRUE(check.passes(host)) << host;
  }
}

TEST(HostCheck, OtherNamesDoNot) {
  const HostCheck check("127.0.0.1", {});
  for (const char* const host :
       {"evil.example", "evil.example:8080", "localhost.evil.example", "notlocalhost", "x",
        "127.0.0.1.evil.example", "127.0.0.1x", "[::1].evil.example", "[evil.example]", "[::1",
        "2130706433", "user@localhost", "localhost/evil"}) {
    EXPECT_FALSE(check.passes(host)) << host;
  }
}

TEST(HostCheck, TheListenHostAndAllowedNamesPassInAnyCase) {
  const HostCheck check("Fathom.lan", {"host.docker.internal"});
  EXPECT_TRUE(check.passes("fathom.LAN:8080"));
  EXPECT_TRUE(check.passes("Host.Docker.Internal"));
  EXPECT_FALSE(check.passes("docker.internal"));
  EXPECT_TRUE(HostCheck("127.0.0.1", {"*"}).passes("evil.example"));
}

}  // namespace
}  // namespace fathom::http
