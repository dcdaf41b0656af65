#include "fathom/model/text/utf8_cleaner.h"

#include <random>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "fathom/base/formats/text.h"
#include "fathom/model/text/utf8.h"

namespace fathom::text {
namespace {

TEST(Utf8Cleaner, WellFormedTextIsKept) {
  for (const std::string_view text :
       {"", "abc", "é你🙂", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf", "\x7f"}) {
    EXPECT_EQ(repair_utf8(text), text);
  }
}

TEST(Utf8Cleaner, EachMaximalBadSequenceIsOneReplacement) {
  EXPECT_EQ(repair_utf8("\x80"), "\xef\xbf\xbd");
  EXPECT_EQ(repair_utf8("a\xe4\xbdz"), "a\xef\xbf\xbdz");
  EXPECT_EQ(repair_utf8("\xf0\x9f\x99"), "\xef\xbf\xbd");
  EXPECT_EQ(repair_utf8("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(repair_utf8("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(repair_utf8("\xf4\x90\x80\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(repair_utf8("\xe4\xe4\xbd\xa0"), "\xef\xbf\xbd你");
}

TEST(Utf8Cleaner, CharacterIsHeldBackUntilItIsWhole) {
  Utf8Cleaner cleaner;
  std::string text;
  cleaner.push("\xf0\x9f", text);
  EXPECT_EQ(text, "");
  cleaner.push("\x99\x82!", text);
  EXPECT_EQ(text, "🙂!");
}

TEST(Utf8Cleaner, ClearForgetsWhatIsHeldBack) {
  Utf8Cleaner cleaner;
  std::string text;
  cleaner.push("\xf0\x9f", text);
  cleaner.clear();
  cleaner.push("a", text);
  cleaner.finish(text);
  EXPECT_EQ(text, "a");
}

TEST(Utf8Cleaner, AnyBytesBecomeUtf8WhateverTheSplit) {
  std::mt19937 random(3);
  constexpr std::string_view kBytes = "a\xe4\xbd\xa0\xf0\x9f\x99\x82\xc3\xa9\xff\xed\xc0";
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (auto i = random() % 12; i > 0; --i) {
      bytes += kBytes[random() % kBytes.size()];
    }
    Utf8Cleaner cleaner;
    std::string text;
    const std::size_t cut = random() % (bytes.size() + 1);
    cleaner.push(std::string_view(bytes).substr(0, cut), text);
    EXPECT_TRUE(formats::is_utf8(text));
    cleaner.push(std::string_view(bytes).substr(cut), text);
    cleaner.finish(text);
    EXPECT_TRUE(formats::is_utf8(text));
    EXPECT_EQ(text, repair_utf8(bytes));
  }
}

}  // namespace
}  // namespace fathom::text
