#include "fathom/model/weights/gguf_writer.h"

#include <cstring>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"
#include "fathom/model/weights/checkpoint.h"

#include "tests/support/temp_dir.h"

namespace fathom::weights {
namespace {

using formats::GgufTensor;
using formats::GgufType;
using formats::GgufWriteValue;

const std::vector<GgufWriteValue> kMetadata = {{"general.architecture", std::string("deepseek4")}};
const std::vector<GgufTensor> kTensors = {{"a", GgufType::F32, {3}, 0, 0},
                                          {"b", GgufType::Q8_0, {2, 32}, 0, 0}};

TEST(GgufWriter, WritesAFileThatOpensWithEveryTensorInItsPlace) {
  test::TempDir folder;
  CheckpointWriter writer = open_gguf_writer(folder / "sub/m.gguf", kMetadata, kTensors, false);
  EXPECT_EQ(writer.num_bytes(1), 68);
  const float numbers[] = {1, 2, 3};
  writer.write(0, 0, std::as_bytes(std::span(numbers)));
  const std::byte last{0x5a};
  writer.write(1, 67, {&last, 1});
  writer.commit();
  const auto checkpoint = Checkpoint::open(folder / "sub/m.gguf");
  float third = 0;
  std::memcpy(&third, checkpoint->find("a")->data + 8, 4);
  EXPECT_EQ(third, 3);
  EXPECT_EQ(checkpoint->find("b")->data[67], last);
  EXPECT_EQ(checkpoint->find("b")->shape, (std::vector<Index>{2, 32}));
  EXPECT_EQ(checkpoint->total_file_bytes() % 32, 0);
}

TEST(GgufWriter, RefusesAFileThatIsThereUnlessTold) {
  test::TempDir folder;
  test::write_file(folder / "m.gguf", "mine");
  EXPECT_THROW(open_gguf_writer(folder / "m.gguf", kMetadata, kTensors, false), Error);
  open_gguf_writer(folder / "m.gguf", kMetadata, kTensors, true);  // dropped
  EXPECT_EQ(test::read_file(folder / "m.gguf"), "mine");
  EXPECT_THROW(open_gguf_writer(folder.path(), kMetadata, kTensors, true), Error);
}

}  // namespace
}  // namespace fathom::weights
