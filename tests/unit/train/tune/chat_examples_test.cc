#include "fathom/train/tune/chat_examples.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "fathom/model/text/chat_format.h"
#include "fathom/train/data/tokenizer_writer.h"

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::tune {
namespace {

const text::TextModel& model() {
  static const text::TextModel kModel = [] {
    data::BpeTrainer trainer;
    trainer.add("What is it? It is a river. Is it? A river it is.");
    const data::TrainedVocabulary vocabulary = trainer.train(
        {.vocabulary_size = 320, .special = data::v4_special_tokens(true)}, [](Index, Index) {});
    return text::make_text_model(text::Tokenizer::parse_json(tokenizer_json(vocabulary), "t"),
                                 text::make_v4_format(text::dialects().front()));
  }();
  return kModel;
}

std::string counted_text(const Piece& piece) {
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i < piece.tokens.size(); ++i) {
    if (piece.weights[i] > 0) {
      tokens.push_back(piece.tokens[i]);
    }
  }
  return decode(*model().tokenizer, tokens);
}

const std::string kEnd = "<｜end▁of▁sentence｜>";

class ChatExamples : public ::testing::Test {
 protected:
  std::filesystem::path write(const std::string& text) {
    test::write_file(folder_ / "chat.jsonl", text);
    return folder_ / "chat.jsonl";
  }
  ExampleSet read(const std::string& text, const ExampleOptions& options = {1000, false}) {
    return read_chat_examples(write(text), model(), options);
  }
  ExampleSet read_pairs(const std::string& text, const ExampleOptions& options = {1000, false}) {
    return read_preference_examples(write(text), model(), options);
  }
  ::testing::AssertionResult refuses(const std::string& part, const std::string& text) {
    return testing::fails_with(ErrorCode::InvalidArgument, part, [&] { read(text); });
  }
  ::testing::AssertionResult refuses_pair(const std::string& part, const std::string& text) {
    return testing::fails_with(ErrorCode::InvalidArgument, part, [&] { read_pairs(text); });
  }

  test::TempDir folder_;
};

const std::string kTalk =
    R"({"messages":[{"role":"user","content":"Is it?"},{"role":"assistant","content":"It is."}]})";

TEST_F(ChatExamples, RepliesAloneCount) {
  const ExampleSet set = read(kTalk + "\n\n" + kTalk + "\n");
  ASSERT_EQ(set.examples.size(), 2U);
  const Piece& piece = set.examples[0].pieces.at(0);
  EXPECT_EQ(counted_text(piece), "It is." + kEnd);
  EXPECT_EQ(piece.weights.size(), piece.tokens.size());
  EXPECT_EQ(set.num_cut, 0);
}

TEST_F(ChatExamples, LongOnesAreRefusedOrLoseTheirEnds) {
  const auto rows = read(kTalk).examples[0].num_rows();
  EXPECT_EQ(read(kTalk, {rows, false}).examples.size(), 1U);
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "chat.jsonl: line 1: ", [&] {
    read(kTalk, {rows - 1, false});
  }));
  const ExampleSet cut = read(kTalk + "\n" + kTalk, {rows - 1, true});
  EXPECT_EQ(cut.num_cut, 2);
  EXPECT_EQ(cut.num_left_out, 0);
  EXPECT_EQ(counted_text(cut.examples.at(1).pieces.at(0)), "It is.");
  const ExampleSet none = read(kTalk, {2, true});
  EXPECT_EQ(none.num_left_out, 1);
  EXPECT_TRUE(none.examples.empty());
}

TEST_F(ChatExamples, WhatIsNoConversationIsRefusedByLine) {
  EXPECT_TRUE(refuses("chat.jsonl: line 2", kTalk + "\n{\"messages\": []}"));
  EXPECT_TRUE(refuses("chat.jsonl: line 1", "{"));
  EXPECT_TRUE(refuses("chat.jsonl: line 1", "{\"prompt\": \"x\"}"));
}

TEST_F(ChatExamples, PairsAreTwoConversationsWhoseRepliesShareOne) {
  const std::string user = R"({"role":"user","content":"Is it?"})";
  const std::string reply = R"({"role":"assistant","content":"It is."})";
  const ExampleSet set =
      read_pairs(R"({"prompt": "Is it?", "chosen": "It is a river.", "rejected": "A."})"
                 "\n"
                 R"({"prompt": [)" +
                 user + R"(], "chosen": [)" + reply +
                 R"(], "rejected": "A river."})"
                 "\n"
                 R"({"chosen": [)" +
                 user + "," + reply + "," + user + "," + reply + R"(], "rejected": [)" + user +
                 R"(,{"role":"assistant","content":"A."}]})");
  ASSERT_EQ(set.examples.size(), 3U);
  for (const Example& example : set.examples) {
    ASSERT_EQ(example.pieces.size(), 2U);
    double weight = 0;
    for (const Piece& piece : example.pieces) {
      for (const float each : piece.weights) {
        weight += static_cast<double>(each);
      }
    }
    EXPECT_NEAR(weight, 1, 1e-6);
  }
  EXPECT_EQ(counted_text(set.examples[0].pieces[0]), "It is a river." + kEnd);
  EXPECT_EQ(counted_text(set.examples[0].pieces[1]), "A." + kEnd);
  EXPECT_EQ(counted_text(set.examples[1].pieces[0]), "It is." + kEnd);
  EXPECT_EQ(counted_text(set.examples[2].pieces[0]), "It is." + kEnd);
}

TEST_F(ChatExamples, PairsThatLackSomethingAreRefusedByName) {
  EXPECT_TRUE(refuses_pair("line 1: rejected: expected a text or a list of messages, found nothing",
                           R"({"prompt": "a", "chosen": "b"})"));
  EXPECT_TRUE(refuses_pair("line 1: prompt: expected", R"({"chosen": "b", "rejected": "c"})"));
  EXPECT_TRUE(refuses_pair("line 1: chosen: expected a text or a list of messages, found number",
                           R"({"prompt": "a", "chosen": 1, "rejected": "c"})"));
  EXPECT_TRUE(refuses_pair("line 1: expected an object", "[1]"));
  EXPECT_TRUE(refuses_pair("line 1", R"({"prompt": "a", "chosen": [7], "rejected": "c"})"));
}

TEST(HoldOut, TakesAShareThatTheSeedChooses) {
  const auto numbered = [] {
    std::vector<Example> examples;
    for (std::int32_t i = 0; i < 40; ++i) {
      examples.push_back({{Piece{.tokens = {i, i}, .weights = {0, 1}}}});
    }
    return examples;
  };
  const auto held = [&](double share, std::uint64_t seed) {
    std::vector<Example> rest = numbered();
    std::set<std::int32_t> found;
    for (const Example& example : hold_out(rest, share, seed)) {
      found.insert(example.pieces[0].tokens[0]);
    }
    EXPECT_EQ(found.size() + rest.size(), 40U);
    return found;
  };
  EXPECT_EQ(held(0.25, 1).size(), 10U);
  EXPECT_EQ(held(0.25, 1), held(0.25, 1));
  EXPECT_NE(held(0.25, 1), held(0.25, 2));
  EXPECT_EQ(held(0.001, 1).size(), 1U);
  EXPECT_EQ(held(0.999, 1).size(), 39U);
  EXPECT_TRUE(held(0, 1).empty());
}

}  // namespace
}  // namespace fathom::tune
