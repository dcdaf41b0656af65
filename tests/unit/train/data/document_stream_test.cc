#include "fathom/train/data/document_stream.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace fathom::data {
namespace {

TEST(DocumentStream, NumbersDocumentsAcrossInputs) {
  test::TempDir folder;
  test::write_file(folder / "a.txt", "one\n\ntwo");
  test::write_file(folder / "b.txt", "three");
  const std::vector<Input> inputs = list_inputs({folder.path()});
  DocumentStream stream(inputs, {.split = TextSplit::BlankLines});
  for (Index number = 0; number < 3; ++number) {
    EXPECT_EQ(stream.next()->number, number);
  }
  EXPECT_FALSE(stream.next());
  EXPECT_EQ(stream.num_bytes_read(), stream.num_bytes_total());
}

TEST(Decisions, AreCountedByReason) {
  test::TempDir folder;
  Decisions decisions(folder / "d", 0);
  for (int i = 0; i < 70'000; ++i) {
    decisions.add(i % 3 == 0 ? std::optional(Refusal::TooShort) : std::nullopt, i % 7 == 0);
  }
  const Decisions::Counts counts = decisions.count();
  EXPECT_EQ(counts.documents, 70'000);
  EXPECT_EQ(counts.kept, 46'666);
  EXPECT_EQ(counts.refused[static_cast<std::size_t>(Refusal::TooShort)], 23'334);
  EXPECT_EQ(counts.repaired, 6'666);
  EXPECT_FALSE(decisions.is_kept(69'999));
  EXPECT_TRUE(decisions.is_kept(1));
}

TEST(Decisions, OnlyKeptDocumentsComeInBatches) {
  test::TempDir folder;
  test::write_file(folder / "a.txt", "one\n\ntwo\n\nthree\n\nfour");
  const std::vector<Input> inputs = list_inputs({folder.path()});
  Decisions decisions(folder / "d", 0);
  for (const bool is_kept : {true, false, true, true}) {
    decisions.add(is_kept ? std::nullopt : std::optional(Refusal::TooLong), false);
  }
  DocumentStream stream(inputs, {.split = TextSplit::BlankLines});
  std::vector<std::string> texts;
  for_each_kept_batch(stream, decisions, 1, [&](const std::vector<Document>& documents) {
    for (const Document& document : documents) {
      texts.push_back(document.text);
    }
    return true;
  });
  EXPECT_EQ(texts, (std::vector<std::string>{"three", "four"}));
}

}  // namespace
}  // namespace fathom::data
