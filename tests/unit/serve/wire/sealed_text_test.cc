#include "fathom/serve/wire/sealed_text.h"

#include <string>

#include <gtest/gtest.h>

namespace fathom::wire {
namespace {

TEST(TextSeal, GivesBackExactlyWhatItSealed) {
  const TextSeal seal;
  for (const std::string& text : {std::string(), std::string("\n\nthink\n"), std::string("a\0b", 3),
                                  std::string(100'000, 'x')}) {
    const std::string sealed = seal.seal("ann", text);
    EXPECT_EQ(seal.open("ann", sealed), text);
    EXPECT_EQ(sealed.find("think"), std::string::npos);
    EXPECT_NE(seal.seal("ann", text), sealed) << "the same text twice must not show";
  }
}

TEST(TextSeal, EveryAlteredByteIsRefused) {
  const TextSeal seal;
  const std::string sealed = seal.seal("", "some reasoning");
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::string forged = sealed;
    forged[i] = forged[i] == 'A' ? 'B' : 'A';
    EXPECT_EQ(seal.open("", forged), std::nullopt) << i;
  }
  for (std::size_t length = 0; length < sealed.size(); ++length) {
    EXPECT_EQ(seal.open("", sealed.substr(0, length)), std::nullopt) << length;
  }
}

TEST(TextSeal, OtherClientsAndOtherKeysAreRefused) {
  const TextSeal seal("secret");
  const std::string sealed = seal.seal("ann", "text");
  EXPECT_EQ(seal.open("bob", sealed), std::nullopt);
  EXPECT_EQ(TextSeal().open("ann", sealed), std::nullopt);
  EXPECT_EQ(TextSeal("other").open("ann", sealed), std::nullopt);
  EXPECT_EQ(TextSeal("secret").open("ann", sealed), "text") << "a restart with the same secret";
}

TEST(TextSeal, WhatIsNoSealIsRefused) {
  const TextSeal seal;
  for (const char* const text : {"", "c2ln", "====", "not base64!", "8fEAAAAA"}) {
    EXPECT_EQ(seal.open("", text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace fathom::wire
