#include <functional>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/model/text/text_testing.h"

namespace fathom::text {
namespace {

using Json = nlohmann::json;

const Merges kMerges = {{"a", "b"}, {"ab", "c"}};

TEST(TokenizerJson, ASmallFileIsRead) {
  const auto tokenizer = parse(small_document(kMerges));
  EXPECT_EQ(tokenizer->encode("abcab<end>c", ControlTokens::Recognised),
            (std::vector<TokenId>{257, 256, 258, 'c'}));
  EXPECT_EQ(tokenizer->num_ids(), 259);
  EXPECT_FALSE(tokenizer->bos_id().has_value());
}

TEST(TokenizerJson, MergesMayBePairs) {
  Json document = small_document({});
  document["model"]["vocab"]["ab"] = 256;
  document["added_tokens"] = Json::array();
  document["model"]["merges"] = Json::array({Json::array({"a", "b"})});
  EXPECT_EQ(parse(document)->encode("ab", ControlTokens::Plain), std::vector<TokenId>{256});
}

TEST(TokenizerJson, ATemplateSaysTheEnds) {
  Json document = small_document({});
  document["added_tokens"].push_back({{"id", 257}, {"content", "<begin>"}});
  document["post_processor"] = {{"type", "TemplateProcessing"},
                                {"single",
                                 {{{"SpecialToken", {{"id", "<begin>"}}}},
                                  {{"Sequence", {{"id", "A"}}}},
                                  {{"SpecialToken", {{"id", "<end>"}}}}}}};
  const auto tokenizer = parse(document);
  EXPECT_EQ(tokenizer->bos_id(), 257);
  EXPECT_EQ(tokenizer->eos_id(), 256);
  EXPECT_TRUE(tokenizer->adds_bos());
}

TEST(TokenizerJson, AMergeNeverMakesAControlToken) {
  Json document = small_document({{"a", "b"}});
  document["added_tokens"] = {{{"id", 256}, {"content", "ab"}}};
  const auto tokenizer = parse(document);
  EXPECT_EQ(tokenizer->encode("ab", ControlTokens::Plain), (std::vector<TokenId>{'a', 'b'}));
  EXPECT_EQ(tokenizer->encode("ab", ControlTokens::Recognised), std::vector<TokenId>{256});
}

struct Refusal {
  const char* name;
  ErrorCode code;
  const char* part;
  std::function<void(Json&)> change;
};

TEST(TokenizerJson, RefusalsNameTheField) {
  using enum ErrorCode;
  const Refusal refusals[] = {
      {"unigram", Unsupported, "model.type: found \"Unigram\"",
       [](Json& d) { d["model"]["type"] = "Unigram"; }},
      {"regex", Unsupported, "\"x+\" is not one of those known",
       [](Json& d) {
         d["pre_tokenizer"] = {
             {"type", "Split"}, {"pattern", {{"Regex", "x+"}}}, {"behavior", "Isolated"}};
       }},
      {"behaviour", InvalidCheckpoint, "behavior: found \"Odd\"",
       [](Json& d) {
         d["pre_tokenizer"] = {
             {"type", "Split"}, {"pattern", {{"String", "x"}}}, {"behavior", "Odd"}};
       }},
      {"pre-tokenizer", Unsupported, "pre_tokenizer: found \"Whitespace\"",
       [](Json& d) {
         d["pre_tokenizer"] = {{"type", "Whitespace"}};
       }},
      {"no type", InvalidCheckpoint, "pre_tokenizer.type",
       [](Json& d) { d["pre_tokenizer"] = Json::object(); }},
      {"normalizer", Unsupported, "normalizer: found \"NFC\"",
       [](Json& d) {
         d["normalizer"] = {{"type", "NFC"}};
       }},
      {"decoder", Unsupported, "decoder: found \"WordPiece\"",
       [](Json& d) {
         d["decoder"] = {{"type", "WordPiece"}};
       }},
      {"post-processor", Unsupported, "post_processor: found \"BertProcessing\"",
       [](Json& d) {
         d["post_processor"] = {{"type", "BertProcessing"}};
       }},
      {"dropout", Unsupported, "model.dropout", [](Json& d) { d["model"]["dropout"] = 0.1; }},
      {"prefix", Unsupported, "continuing_subword_prefix",
       [](Json& d) { d["model"]["continuing_subword_prefix"] = "##"; }},
      {"no vocab", InvalidCheckpoint, "model.vocab: expected an object",
       [](Json& d) { d["model"].erase("vocab"); }},
      {"no merges", InvalidCheckpoint, "model.merges: expected a list",
       [](Json& d) { d["model"].erase("merges"); }},
      {"id text", InvalidCheckpoint, "model.vocab[\"zz\"]",
       [](Json& d) { d["model"]["vocab"]["zz"] = "7"; }},
      {"negative id", InvalidCheckpoint, "id -1", [](Json& d) { d["model"]["vocab"]["zz"] = -1; }},
      {"huge id", InvalidCheckpoint, "id 9000000000",
       [](Json& d) { d["model"]["vocab"]["zz"] = 9000000000; }},
      {"sparse id", InvalidCheckpoint, "id 16000000",
       [](Json& d) { d["model"]["vocab"]["zz"] = 16000000; }},
      {"id twice", InvalidCheckpoint, "id 97 found twice",
       [](Json& d) { d["model"]["vocab"]["zz"] = 97; }},
      {"unknown merge", InvalidCheckpoint, "model.merges[2]: \"qqq\"",
       [](Json& d) { d["model"]["merges"].push_back("qqq a"); }},
      {"merge twice", InvalidCheckpoint, "model.merges[2]: \"a\" with \"b\" found twice",
       [](Json& d) { d["model"]["merges"].push_back("a b"); }},
      {"merge of three", InvalidCheckpoint, "model.merges[2]: found \"a b c\"",
       [](Json& d) { d["model"]["merges"].push_back("a b c"); }},
      {"merge of one", InvalidCheckpoint, "model.merges[2]",
       [](Json& d) { d["model"]["merges"].push_back({"a"}); }},
      {"merge number", InvalidCheckpoint, "model.merges[2]",
       [](Json& d) { d["model"]["merges"].push_back(7); }},
      {"added id", InvalidCheckpoint, "added_tokens[0].id",
       [](Json& d) { d["added_tokens"][0]["id"] = "x"; }},
      {"added content", InvalidCheckpoint, "added_tokens[0].content",
       [](Json& d) { d["added_tokens"][0].erase("content"); }},
      {"added twice", InvalidCheckpoint, "added_tokens[1].content: found \"<end>\" twice",
       [](Json& d) {
         d["added_tokens"].push_back({{"id", 300}, {"content", "<end>"}});
       }},
      {"added id twice", InvalidCheckpoint, "added_tokens[1].id: found 258 twice",
       [](Json& d) {
         d["added_tokens"].push_back({{"id", 258}, {"content", "<b>"}});
       }},
      {"added over another", InvalidCheckpoint, "another entry of model.vocab",
       [](Json& d) { d["added_tokens"][0]["id"] = 65; }},
      {"added elsewhere", InvalidCheckpoint, "model.vocab says 97",
       [](Json& d) { d["added_tokens"][0]["content"] = "a"; }},
      {"single word", Unsupported, "single_word",
       [](Json& d) { d["added_tokens"][0]["single_word"] = true; }},
      {"flag", InvalidCheckpoint, "added_tokens[0].lstrip",
       [](Json& d) { d["added_tokens"][0]["lstrip"] = 1; }},
      {"long token", InvalidCheckpoint, "5000 bytes",
       [](Json& d) { d["added_tokens"][0]["content"] = std::string(5000, 'x'); }},
      {"unknown", InvalidCheckpoint, "model.unk_token: \"nope\"",
       [](Json& d) { d["model"]["unk_token"] = "nope"; }},
  };
  for (const Refusal& refusal : refusals) {
    Json document = small_document(kMerges);
    refusal.change(document);
    EXPECT_TRUE(testing::fails_with(refusal.code, refusal.part, [&] { parse(document); }))
        << refusal.name;
  }
}

TEST(TokenizerJson, CharactersFallBackToBytesAndBlanksAreMarked) {
  Json document = small_document({});
  Json vocab = {{"<unk>", 0}, {"\u2581", 1}, {"a", 2}, {"\u2581a", 3}};
  for (int byte = 0; byte < 256; ++byte) {
    vocab[name_of_byte(static_cast<std::uint8_t>(byte))] = 4 + byte;
  }
  document["added_tokens"] = Json::array();
  document["pre_tokenizer"] = nullptr;
  document["decoder"] = {{"type", "ByteFallback"}};
  document["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "Prepend"}, {"prepend", "\u2581"}},
        {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}}}}};
  document["model"] = {{"type", "BPE"},         {"vocab", vocab},       {"merges", {"\u2581 a"}},
                       {"byte_fallback", true}, {"unk_token", "<unk>"}, {"fuse_unk", true}};
  const auto tokenizer = parse(document);
  const std::vector<TokenId> ids = tokenizer->encode("a a\u00e9", ControlTokens::Plain);
  EXPECT_EQ(ids, (std::vector<TokenId>{3, 3, 4 + 0xc3, 4 + 0xa9}));
  EXPECT_EQ(decode(*tokenizer, ids), " a a\u00e9");
}

}  // namespace
}  // namespace fathom::text
