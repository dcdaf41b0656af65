#include "fathom/model/text/dialect.h"

#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::text {
namespace {

using test::TempDir;
using testing::fails_with;

std::string_view detect(const TempDir& dir, const std::string& source) {
  std::filesystem::create_directories(dir.path() / "encoding");
  std::ofstream(dir.path() / "encoding/encoding_dsv4.py") << source;
  return detect_dialect(dir.path()).name;
}

TEST(DetectDialect, TheBundledEncoderDecides) {
  const TempDir dir;
  EXPECT_EQ(detect_dialect(dir.path()).name, "preview");
  EXPECT_EQ(detect(dir, "REASONING_EFFORT_MAX = ('...')\n"), "preview");
  EXPECT_EQ(detect(dir, "REASONING_EFFORT_PROMPTS = {'high': ''}\n"), "0731");
  EXPECT_EQ(detect(dir, "REASONING_EFFORT_MAX = 1\nREASONING_EFFORT_PROMPTS = {}\n"), "0731");
  EXPECT_EQ(detect(dir, "MY_REASONING_EFFORT_PROMPTS = {}\nREASONING_EFFORT_PROMPTS2 = 1"),
            "preview");
  EXPECT_EQ(detect(dir, "x = 1\n"), "preview");
  EXPECT_EQ(detect_dialect("/no/such/folder").name, "preview");
}

TEST(DialectTable, EveryDefaultIsALevelWithoutText) {
  for (const Dialect& dialect : dialects()) {
    EXPECT_EQ(effort_text(dialect, dialect.default_effort), "") << dialect.name;
    EXPECT_EQ(&dialect_from_name(dialect.name), &dialect);
  }
}

TEST(DialectTable, EffortsStandForTheTextsOfTheirDialect) {
  const Dialect& preview = dialect_from_name("preview");
  const Dialect& later = dialect_from_name("0731");
  const std::string_view absolute = effort_text(preview, "max");
  const std::string_view beyond = effort_text(later, "max");
  EXPECT_EQ(absolute.size(), 476U);
  EXPECT_EQ(beyond.size(), 528U);
  EXPECT_EQ(effort_text(later, "high"), absolute);
  EXPECT_EQ(effort_text(preview, "high"), "");
  EXPECT_EQ(effort_text(later, "low"), "");
  EXPECT_EQ(preview.tools_head.size(), 890U);
  EXPECT_EQ(preview.tools_tail.size(), 99U);
  EXPECT_EQ(kResponseFormatHead.size(), 80U);
}

TEST(DialectTable, UnknownNamesAreRefusedWithTheKnownOnes) {
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         R"(dialect: expected one of "preview", "0731", found "v9")",
                         [] { dialect_from_name("v9"); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, R"("ultra", found "huge")",
                         [] { effort_text(dialects().front(), "huge"); }));
}

}  // namespace
}  // namespace fathom::text
