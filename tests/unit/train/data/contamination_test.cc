#include "fathom/train/data/contamination.h"

#include <gtest/gtest.h>

#include "fathom/train/data/words.h"

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::data {
namespace {

std::string counting(int first, int last) {
  std::string text;
  for (int i = first; i <= last; ++i) {
    text += "word" + std::to_string(i) + " ";
  }
  return text;
}

std::vector<Index> find(const Contamination& contamination, const std::string& text) {
  std::vector<std::uint64_t> words;
  append_word_hashes(text, words);
  return contamination.find(words);
}

TEST(Contamination, ThirteenWordsInARowAreAHitAndTwelveAreNot) {
  test::TempDir folder;
  test::write_file(folder / "e.txt", counting(1, 20));
  Contamination contamination;
  contamination.add_file(folder / "e.txt");
  EXPECT_EQ(find(contamination, "Well: " + counting(5, 17) + "!"), std::vector<Index>{0});
  EXPECT_TRUE(find(contamination, "Well: " + counting(5, 16) + "!").empty());
  EXPECT_TRUE(find(contamination, counting(1, 7) + "and " + counting(8, 20)).size() == 1);
  EXPECT_TRUE(find(contamination, counting(1, 10) + "and " + counting(11, 20)).empty());
}

TEST(Contamination, ItemsAreBlocksOfTextOrLinesOfJson) {
  test::TempDir folder;
  test::write_file(folder / "e.txt", "short one\n\n" + counting(1, 8) + "\n" + counting(9, 15));
  test::write_file(folder / "e.jsonl", "{\"question\":\"" + counting(30, 40) +
                                           "\",\"choices\":[\"" + counting(41, 45) +
                                           "\"]}\n{\"question\":\"" + counting(1, 13) + "\"}\n");
  Contamination contamination;
  contamination.add_file(folder / "e.txt");
  contamination.add_file(folder / "e.jsonl");
  EXPECT_EQ(contamination.num_items(), 4);
  EXPECT_EQ(contamination.num_short_items(), 1);
  EXPECT_EQ(find(contamination, counting(1, 13)), (std::vector<Index>{1, 3}));
  EXPECT_EQ(find(contamination, counting(33, 45)), (std::vector<Index>{2}));
  EXPECT_EQ(contamination.item(1), (Contamination::Item{.file_idx = 0, .line = 3}));
  EXPECT_EQ(contamination.item(3), (Contamination::Item{.file_idx = 1, .line = 2}));
}

TEST(Contamination, ALineThatIsNoJsonIsNamed) {
  test::TempDir folder;
  test::write_file(folder / "e.jsonl", "{}\n{\n");
  Contamination contamination;
  EXPECT_TRUE(fathom::testing::fails_with(ErrorCode::InvalidArgument, "e.jsonl: line 2",
                                          [&] { contamination.add_file(folder / "e.jsonl"); }));
}

}  // namespace
}  // namespace fathom::data
