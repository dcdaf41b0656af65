#include "fathom/train/data/documents.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::data {
namespace {

using fathom::testing::fails_with;

std::vector<Document> read(const std::filesystem::path& path, const DocumentOptions& options = {}) {
  DocumentReader reader(list_inputs({path}).front(), options);
  std::vector<Document> documents;
  while (std::optional<Document> document = reader.next()) {
    documents.push_back(std::move(*document));
  }
  return documents;
}

std::vector<std::string> texts(const std::filesystem::path& path,
                               const DocumentOptions& options = {}) {
  std::vector<std::string> found;
  for (const Document& document : read(path, options)) {
    found.push_back(document.text);
  }
  return found;
}

using Texts = std::vector<std::string>;

TEST(Documents, ATextFileIsOneDocumentWithoutMarksAndEndings) {
  test::TempDir folder;
  test::write_file(folder / "a.txt", "\xef\xbb\xbf\r\n \n  one\r\ntwo\n\nthree \n\n");
  EXPECT_EQ(texts(folder / "a.txt"), (Texts{"  one\ntwo\n\nthree"}));
  test::write_file(folder / "a.txt", " \n\n");
  EXPECT_TRUE(texts(folder / "a.txt").empty());
}

TEST(Documents, TextFilesAreSplitAtBlankLinesOrWhereALineMatches) {
  test::TempDir folder;
  test::write_file(folder / "a.txt", "one\ntwo\n\n \nthree\n\nfour");
  EXPECT_EQ(texts(folder / "a.txt", {.split = TextSplit::BlankLines}),
            (Texts{"one\ntwo", "three", "four"}));
  test::write_file(folder / "a.txt", "front\nCHAPTER 1\none\nCHAPTER 2\n\ntwo\n");
  const DocumentOptions chapters = {.split = TextSplit::Pattern, .pattern = "^CHAPTER [0-9]+$"};
  EXPECT_EQ(texts(folder / "a.txt", chapters),
            (Texts{"front", "CHAPTER 1\none", "CHAPTER 2\n\ntwo"}));
  EXPECT_EQ(read(folder / "a.txt", chapters)[2].place, (folder / "a.txt").string() + ": line 4");
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "the pattern \"(\"", [&] {
    texts(folder / "a.txt", {.split = TextSplit::Pattern, .pattern = "("});
  }));
}

TEST(Documents, LinesHoldTextsAndConversations) {
  test::TempDir folder;
  const std::string talk =
      R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"text","text":"Yo"}]}]})";
  test::write_file(folder / "a.jsonl", "{\"text\":\"a\\nb\"}\n\n" + talk + "\n{\"text\":\"\"}");
  const auto documents = read(folder / "a.jsonl");
  ASSERT_EQ(documents.size(), 3U);
  EXPECT_EQ(documents[0].text, "a\nb");
  EXPECT_EQ(documents[0].conversation, "");
  EXPECT_EQ(documents[1].text, "Hi\nYo\n");
  EXPECT_EQ(documents[1].conversation, talk);
  EXPECT_EQ(documents[2].place, (folder / "a.jsonl").string() + ": line 4");
  test::write_file(folder / "a.jsonl", "{\"body\":\"x\",\"text\":3}");
  EXPECT_EQ(texts(folder / "a.jsonl", {.text_field = "body"}), (Texts{"x"}));
}

TEST(Documents, BrokenLinesAreNamedOrCounted) {
  test::TempDir folder;
  const auto path = folder / "a.jsonl";
  for (const char* const line : {"{\"text\": 3}", "{", "[]", "{\"message\": \"x\"}"}) {
    test::write_file(path, "{\"text\":\"a\"}\n" + std::string(line) + "\n{\"text\":\"b\"}\n");
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, path.string() + ": line 2", [&] {
      read(path);
    })) << line;
    DocumentReader reader(list_inputs({path}).front(), {.skips_broken_lines = true});
    EXPECT_EQ(reader.next()->text, "a");
    EXPECT_EQ(reader.next()->text, "b");
    EXPECT_FALSE(reader.next());
    EXPECT_EQ(reader.num_broken_lines(), 1);
  }
}

TEST(Documents, BytesThatAreNoUtf8BecomeReplacementsAndAreNoted) {
  test::TempDir folder;
  test::write_file(folder / "a.txt", "na\xefve");
  test::write_file(folder / "b.jsonl", "{\"text\":\"na\xefve\"}");
  for (const char* const name : {"a.txt", "b.jsonl"}) {
    const auto documents = read(folder / name);
    ASSERT_EQ(documents.size(), 1U);
    EXPECT_EQ(documents[0].text, "na\xef\xbf\xbdve");
    EXPECT_TRUE(documents[0].was_repaired);
  }
}

TEST(Documents, TooLongOnesAreMarkedAndTheNextIsWhole) {
  test::TempDir folder;
  test::write_file(folder / "a.txt", "aaaa\naaaa\naaaa\n\nbbbb\n");
  const auto documents = read(folder / "a.txt", {.split = TextSplit::BlankLines, .most_bytes = 10});
  ASSERT_EQ(documents.size(), 2U);
  EXPECT_TRUE(documents[0].is_too_long);
  EXPECT_FALSE(documents[1].is_too_long);
  EXPECT_EQ(documents[1].text, "bbbb");
  test::write_file(folder / "a.jsonl", "{\"text\":\"aaaaaaaaaaaaaaaaa\"}\n{\"text\":\"b\"}\n");
  const auto lines = read(folder / "a.jsonl", {.most_bytes = 15});
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_TRUE(lines[0].is_too_long);
  EXPECT_EQ(lines[1].text, "b");
}

TEST(Documents, LinesOfAnyLengthAreReadWhole) {
  test::TempDir folder;
  const std::string line(700'001, 'x');
  test::write_file(folder / "a.txt", line + "\n" + line);
  EXPECT_EQ(texts(folder / "a.txt"), (Texts{line + "\n" + line}));
}

TEST(Documents, FoldersAreSearchedInOrderAndForeignFilesRefused) {
  test::TempDir folder;
  std::filesystem::create_directories(folder / "b/c");
  std::filesystem::create_directories(folder / ".hidden");
  for (const char* const name :
       {".hidden/3.txt", "b/.4.txt", "b/c/2.txt", "b/1.jsonl", "a.txt", "b/notes.md", "z.ndjson"}) {
    test::write_file(folder / name, "{}");
  }
  Texts found;
  for (const Input& input : list_inputs({folder.path()})) {
    found.push_back(std::filesystem::relative(input.path, folder.path()).string());
  }
  EXPECT_EQ(found, (Texts{"a.txt", "b/1.jsonl", "b/c/2.txt", "z.ndjson"}));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "expected a file named .txt",
                         [&] { list_inputs({folder / "b/notes.md"}); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "found twice among the inputs", [&] {
    list_inputs({folder.path(), folder / "a.txt"});
  }));
  EXPECT_TRUE(
      fails_with(ErrorCode::Io, "found no such file", [&] { list_inputs({folder / "x"}); }));
  test::write_file(folder / "b/p.parquet", "PAR1");
  EXPECT_TRUE(
      fails_with(ErrorCode::Unsupported, "pyarrow.parquet", [&] { list_inputs({folder.path()}); }));
}

}  // namespace
}  // namespace fathom::data
