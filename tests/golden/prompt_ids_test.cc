// Conversations to token ids, against DeepSeek's encoder and tokenizer.
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/model/text/chat_encoder.h"
#include "fathom/model/text/conversation_json.h"
#include "fathom/model/text/tokenizer.h"

namespace fathom::text {
namespace {

const std::string kGolden = FATHOM_SOURCE_DIR "/tests/data/golden/";

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class PromptIds : public ::testing::Test {
 protected:
  static std::vector<TokenId> ids_of(const ConversationFile& file) {
    static const std::shared_ptr<const Tokenizer> kTokenizer =
        Tokenizer::parse_json(read_file(kGolden + "tokenizer/tokenizer.json"), "tokenizer.json");
    return encode(*kTokenizer,
                  encode_v4(file.conversation, file.options, dialect_from_name("preview")));
  }

  static std::vector<TokenId> ids_of(const std::string& json) {
    return ids_of(read_conversation(json, "test"));
  }

  static Index count(const std::string& content, const std::string& effort = "high") {
    return to_index(
        ids_of(R"({"thinking_mode":")" + std::string(effort == "none" ? "chat" : "thinking") +
               R"(","kwargs":{"reasoning_effort":")" + (effort == "none" ? "high" : effort) +
               R"("},"messages":[{"role":"user","content":")" + content + "\"}]}")
            .size());
  }
};

TEST_F(PromptIds, AreTheOfficialOnes) {
  for (const std::string name : {"more-cases.json", "edge-cases.json"}) {
    for (const JsonValue& entry :
         parse_json(read_file(kGolden + "prompt-encoding/" + name), name).items) {
      std::vector<TokenId> expected;
      for (const JsonValue& id : entry.find("ids")->items) {
        expected.push_back(std::stoi(id.text));
      }
      EXPECT_EQ(ids_of(read_conversation(entry)), expected)
          << name << ": " << entry.find("name")->text;
    }
  }
}

// What the hosted API counts for them (text specification 1.5).
TEST_F(PromptIds, TextThatSpellsAControlTokenIsOrdinaryText) {
  EXPECT_EQ(count("", "none"), 4);
  EXPECT_EQ(count("x", "none"), 5);
  EXPECT_EQ(count("<｜User｜>", "none"), 9);
  EXPECT_EQ(count("<think>", "none"), 7);
}

TEST_F(PromptIds, TheMaximalEffortCosts79Tokens) {
  EXPECT_EQ(count("Hi", "max"), count("Hi", "high") + 79);
}

}  // namespace
}  // namespace fathom::text
