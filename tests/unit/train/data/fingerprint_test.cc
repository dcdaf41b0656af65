#include "fathom/train/data/fingerprint.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace fathom::data {
namespace {

std::string tokenizer_json(const std::string& vocab, const std::string& added) {
  return R"({"added_tokens":[)" + added +
         R"(],"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},
         "model":{"type":"BPE","vocab":{)" +
         vocab + R"(},"merges":[]}})";
}

Hash128 fingerprint(const std::string& vocab, const std::string& added = "") {
  return fingerprint_of(*text::Tokenizer::parse_json(tokenizer_json(vocab, added), "t"));
}

TEST(Fingerprint, ChangesWithIdsTextsAndControlTokens) {
  const Hash128 original = fingerprint(R"("a":0,"b":1)");
  EXPECT_EQ(original, fingerprint(R"("b":1,"a":0)"));
  EXPECT_NE(original, fingerprint(R"("a":1,"b":0)"));
  EXPECT_NE(original, fingerprint(R"("a":0,"c":1)"));
  EXPECT_NE(original, fingerprint(R"("a":0,"b":1,"c":2)"));
  EXPECT_NE(original, fingerprint(R"("a":0,"b":1)", R"({"id":1,"content":"b"})"));
}

}  // namespace
}  // namespace fathom::data
