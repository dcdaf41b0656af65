#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/base/formats/gguf.h"

#include "tests/support/expect_error.h"

namespace fathom::formats {
namespace {

using testing::fails_with;

GgufHeader read_back(const GgufLayout& layout) {
  std::string file = layout.header;
  for (const GgufTensor& tensor : layout.tensors) {
    file.resize(to_size(tensor.end), 'x');
  }
  return parse_gguf_header(std::as_bytes(std::span(file.data(), file.size())), "written.gguf");
}

const std::vector<GgufTensor> kTensors = {{"a", GgufType::Q8_0, {3, 32}, 0, 0},
                                          {"scalar", GgufType::F32, {}, 0, 0},
                                          {"empty", GgufType::F32, {0, 2}, 0, 0},
                                          {"b", GgufType::MXFP4, {2, 3, 64}, 0, 0}};

TEST(GgufWriter, WrittenHeaderIsReadBack) {
  const std::vector<GgufWriteValue> metadata = {{"general.architecture", std::string("deepseek4")},
                                                {"u32", std::uint32_t{7}},
                                                {"i32", std::int32_t{-7}},
                                                {"f32", 0.25F},
                                                {"bool", true},
                                                {"u32s", std::vector<std::uint32_t>{1, 2}},
                                                {"i32s", std::vector<std::int32_t>{-1, 2, 3}},
                                                {"f32s", std::vector<float>{0.5F}},
                                                {"strings", std::vector<std::string>{"x", ""}},
                                                {"none", std::vector<std::string>{}}};
  for (const Index alignment : {32, 64, 4096}) {
    const GgufLayout layout = make_gguf_header(metadata, kTensors, alignment);
    const GgufHeader header = read_back(layout);
    EXPECT_EQ(header.version, 3U);
    EXPECT_EQ(header.alignment, alignment);
    EXPECT_EQ(to_index(layout.header.size()) % alignment, 0);
    EXPECT_EQ(header.find_string("general.architecture", "f"), "deepseek4");
    EXPECT_EQ(header.find_integer("u32", "f"), 7);
    EXPECT_EQ(header.find_integer("i32", "f"), -7);
    EXPECT_EQ(header.find_number("f32", "f"), 0.25);
    EXPECT_EQ(header.find_bool("bool", "f"), true);
    EXPECT_EQ(header.find_integers("u32s", "f"), (std::vector<std::int64_t>{1, 2}));
    EXPECT_EQ(header.find_integers("i32s", "f"), (std::vector<std::int64_t>{-1, 2, 3}));
    EXPECT_EQ(header.find_numbers("f32s", "f"), (std::vector<double>{0.5}));
    ASSERT_EQ(header.tensors.size(), kTensors.size());
    for (std::size_t i = 0; i < kTensors.size(); ++i) {
      EXPECT_EQ(header.tensors[i].name, kTensors[i].name);
      EXPECT_EQ(header.tensors[i].type, kTensors[i].type);
      EXPECT_EQ(header.tensors[i].shape, kTensors[i].shape);
      EXPECT_EQ(header.tensors[i].begin, layout.tensors[i].begin);
      EXPECT_EQ(header.tensors[i].end, layout.tensors[i].end);
      EXPECT_EQ(header.tensors[i].begin % alignment, 0);
    }
  }
}

TEST(GgufWriter, RefusesWhatTheReaderWould) {
  const auto code = ErrorCode::InvalidArgument;
  const auto write = [](std::vector<GgufTensor> tensors) {
    return [tensors = std::move(tensors)] { make_gguf_header({}, tensors); };
  };
  EXPECT_TRUE(fails_with(code, "twice", write({kTensors[0], kTensors[0]})));
  EXPECT_TRUE(fails_with(code, "tensor \"x\"", write({{"x", GgufType::Q4_K, {1, 128}, 0, 0}})));
  EXPECT_TRUE(
      fails_with(code, "tensor \"x\"", write({{"x", GgufType::F32, {1, 1, 1, 1, 1}, 0, 0}})));
  EXPECT_TRUE(fails_with(code, "tensor \"x\"", write({{"x", GgufType::F32, {-1}, 0, 0}})));
  EXPECT_TRUE(fails_with(code, "\\xff", write({{"\xff", GgufType::F32, {1}, 0, 0}})));
  EXPECT_TRUE(fails_with(code, "power of two", [] { make_gguf_header({}, {}, 48); }));
  const std::vector<GgufWriteValue> twice = {{"k", true}, {"k", false}};
  EXPECT_TRUE(fails_with(code, "twice", [&] { make_gguf_header(twice, {}); }));
  const std::vector<GgufWriteValue> other = {{"general.alignment", std::uint32_t{64}}};
  EXPECT_TRUE(fails_with(code, "general.alignment", [&] { make_gguf_header(other, {}, 32); }));
  EXPECT_EQ(read_back(make_gguf_header(other, kTensors, 64)).alignment, 64);
}

}  // namespace
}  // namespace fathom::formats
