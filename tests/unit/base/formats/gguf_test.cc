#include "fathom/base/formats/gguf.h"

#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/base/platform/mapped_file.h"

#include "tests/support/expect_error.h"

namespace fathom::formats {
namespace {

using testing::fails_with;

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

GgufHeader parse(const std::string& file) {
  return parse_gguf_header(as_bytes(file), "m.gguf");
}

::testing::AssertionResult is_refused(const std::string& file, const std::string& part) {
  const auto action = [&] { parse(file); };
  const auto named = fails_with(ErrorCode::InvalidCheckpoint, "m.gguf", action);
  return named ? fails_with(ErrorCode::InvalidCheckpoint, part, action) : named;
}

// A file written by hand, apart from the library's writer: it can lie.
class Bytes {
 public:
  Bytes& u32(std::uint32_t value) { return number(value, 4); }
  Bytes& u64(std::uint64_t value) { return number(value, 8); }
  Bytes& number(std::uint64_t value, int size) {
    for (int i = 0; i < size; ++i) {
      text_ += static_cast<char>(value >> (8 * i) & 0xff);
    }
    return *this;
  }
  Bytes& raw(const std::string& text) {
    text_ += text;
    return *this;
  }
  Bytes& str(const std::string& text) { return u64(text.size()).raw(text); }
  Bytes& preamble(std::uint64_t num_tensors, std::uint64_t num_keys, std::uint32_t version = 3) {
    return raw("GGUF").u32(version).u64(num_tensors).u64(num_keys);
  }
  Bytes& tensor(const std::string& name,
                const std::vector<std::uint64_t>& sizes,  // innermost first, as the file has them
                std::uint32_t type,
                std::uint64_t offset) {
    str(name).u32(static_cast<std::uint32_t>(sizes.size()));
    for (const std::uint64_t size : sizes) {
      u64(size);
    }
    return u32(type).u64(offset);
  }
  Bytes& pad(std::size_t alignment = 32) {
    text_.append((alignment - text_.size() % alignment) % alignment, '\0');
    return *this;
  }
  Bytes& data(std::size_t count) { return raw(std::string(count, 'x')); }
  operator const std::string&() const { return text_; }

 private:
  std::string text_;
};

// One metadata key "k" of this type, its value by `fill`.
std::string with_value(std::uint32_t type, const std::function<void(Bytes&)>& fill) {
  Bytes bytes;
  bytes.preamble(0, 1).str("k").u32(type);
  fill(bytes);
  return bytes;
}

TEST(Gguf, TensorsHaveTheirShapeOutermostFirstAndTheirBytesInTheFile) {
  Bytes bytes;
  bytes.preamble(2, 0).tensor("a", {256, 3}, 12, 0).tensor("b", {2, 1, 2, 2}, 0, 448).pad();
  const Index data = to_index(static_cast<const std::string&>(bytes).size());
  const GgufHeader header = parse(bytes.data(448 + 32));
  EXPECT_EQ(header.version, 3U);
  ASSERT_EQ(header.tensors.size(), 2U);
  EXPECT_EQ(header.tensors[0].type, GgufType::Q4_K);
  EXPECT_EQ(header.tensors[0].shape, (std::vector<Index>{3, 256}));
  EXPECT_EQ(header.tensors[0].begin, data);
  EXPECT_EQ(header.tensors[0].end, data + 3 * 144);
  EXPECT_EQ(header.tensors[1].shape, (std::vector<Index>{2, 2, 1, 2}));
  EXPECT_EQ(header.tensors[1].begin, data + 448);
  EXPECT_EQ(header.tensors[1].end, data + 448 + 32);
}

TEST(Gguf, VersionTwoIsReadAndOthersAreRefused) {
  EXPECT_EQ(parse(Bytes().preamble(0, 0, 2)).version, 2U);
  EXPECT_TRUE(is_refused(Bytes().preamble(0, 0, 1), "version 1"));
  EXPECT_TRUE(is_refused(Bytes().preamble(0, 0, 4), "version 4"));
  EXPECT_TRUE(is_refused(Bytes().preamble(0, 0, 0x03000000), "big-endian"));
  EXPECT_TRUE(is_refused(Bytes().preamble(0, 0, 0x02000000), "big-endian"));
  EXPECT_TRUE(is_refused(std::string("FUGG") + std::string(20, '\0'), "not a GGUF file"));
  EXPECT_TRUE(is_refused("", "ends in the magic"));
}

TEST(Gguf, EveryKindOfMetadataIsRead) {
  Bytes bytes;
  bytes.preamble(0, 14);
  bytes.str("u8").u32(0).number(200, 1).str("i8").u32(1).number(0xff, 1);
  bytes.str("u16").u32(2).number(60000, 2).str("i16").u32(3).number(0xfffe, 2);
  bytes.str("u32").u32(4).u32(4000000000).str("i32").u32(5).u32(0xffffffff);
  bytes.str("f32").u32(6).u32(std::bit_cast<std::uint32_t>(0.5F)).str("bool").u32(7).number(1, 1);
  bytes.str("string").u32(8).str("deepseek4").str("u64").u32(10).u64(~std::uint64_t{0});
  bytes.str("i64")
      .u32(11)
      .u64(~std::uint64_t{0})
      .str("f64")
      .u32(12)
      .u64(std::bit_cast<std::uint64_t>(8.0));
  bytes.str("ints").u32(9).u32(5).u64(2).u32(7).u32(0xffffffff);
  bytes.str("strings").u32(9).u32(8).u64(2).str("").str("\xff");
  const GgufHeader header = parse(bytes);
  EXPECT_EQ(header.find_integer("u8", "f"), 200);
  EXPECT_EQ(header.find_integer("i8", "f"), -1);
  EXPECT_EQ(header.find_integer("u16", "f"), 60000);
  EXPECT_EQ(header.find_integer("i16", "f"), -2);
  EXPECT_EQ(header.find_integer("u32", "f"), 4000000000);
  EXPECT_EQ(header.find_integer("i32", "f"), -1);
  EXPECT_EQ(header.find_number("f32", "f"), 0.5);
  EXPECT_EQ(header.find_bool("bool", "f"), true);
  EXPECT_EQ(header.find_string("string", "f"), "deepseek4");
  EXPECT_EQ(header.find_integer("i64", "f"), -1);
  EXPECT_EQ(header.find_integer("f64", "f"), 8);
  EXPECT_EQ(header.find_number("u32", "f"), 4e9);
  EXPECT_EQ(header.find_integers("ints", "f"), (std::vector<std::int64_t>{7, -1}));
  EXPECT_EQ(header.find_numbers("ints", "f"), (std::vector<double>{7, -1}));
  EXPECT_EQ(
      std::get<std::vector<std::string>>(std::get<GgufArray>(header.metadata.at("strings")))[1],
      "\xff");
  EXPECT_EQ(header.find_integer("absent", "f"), std::nullopt);
  EXPECT_EQ(header.find_integers("absent", "f"), std::nullopt);
}

TEST(Gguf, ReadersOfAnotherTypeNameTheFileAndTheKey) {
  Bytes bytes;
  bytes.preamble(0, 5).str("s").u32(8).str("x").str("f").u32(6).u32(
      std::bit_cast<std::uint32_t>(0.5F));
  bytes.str("big").u32(10).u64(std::uint64_t{1} << 63).str("a").u32(9).u32(8).u64(1).str("x");
  bytes.str("nan").u32(12).u64(
      std::bit_cast<std::uint64_t>(std::numeric_limits<double>::quiet_NaN()));
  const GgufHeader header = parse(bytes);
  const auto refused = [&](const std::string& key, const auto& read) {
    return fails_with(ErrorCode::InvalidCheckpoint, "file.gguf: metadata key \"" + key + "\"",
                      read);
  };
  const std::string file = "file.gguf";
  for (const char* key : {"s", "f", "big", "a", "nan"}) {
    EXPECT_TRUE(refused(key, [&] { header.find_integer(key, file); }));
    EXPECT_TRUE(refused(key, [&] { header.find_bool(key, file); }));
    EXPECT_TRUE(refused(key, [&] { header.find_integers(key, file); }));
    EXPECT_TRUE(refused(key, [&] { header.find_numbers(key, file); }));
  }
  EXPECT_TRUE(refused("s", [&] { header.find_number("s", file); }));
  EXPECT_TRUE(refused("f", [&] { header.find_string("f", file); }));
  EXPECT_EQ(header.find_number("big", file), 0x1p63);
}

TEST(Gguf, EveryTruncationIsRefused) {
  Bytes bytes;
  bytes.preamble(1, 2).str("k").u32(8).str("value").str("a").u32(9).u32(4).u64(2).u32(1).u32(2);
  const std::string file = bytes.tensor("t", {8}, 0, 0).pad().data(32);
  ASSERT_NO_THROW(parse(file));
  for (std::size_t length = 0; length < file.size(); ++length) {
    EXPECT_TRUE(is_refused(file.substr(0, length), "")) << length;
  }
}

TEST(Gguf, CountsAndLengthsThatTheFileCannotHoldAreRefusedBeforeAnyAllocation) {
  for (const std::uint64_t count :
       {std::uint64_t{1}, std::uint64_t{1} << 32, std::uint64_t{1} << 60, std::uint64_t{1} << 63,
        ~std::uint64_t{0}}) {
    EXPECT_TRUE(is_refused(Bytes().preamble(count, 0), "tensors, but only")) << count;
    EXPECT_TRUE(is_refused(Bytes().preamble(0, count), "metadata keys, but only")) << count;
    EXPECT_TRUE(is_refused(Bytes().preamble(0, 1).u64(count + 40).data(40), "")) << count;
    EXPECT_TRUE(is_refused(with_value(8, [&](Bytes& bytes) { bytes.u64(count); }), "")) << count;
    for (const std::uint32_t type : {0U, 1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 10U, 11U, 12U}) {
      EXPECT_TRUE(is_refused(with_value(9, [&](Bytes& bytes) { bytes.u32(type).u64(count); }),
                             "elements in"))
          << count;
    }
  }
}

TEST(Gguf, NestedArraysAndUnknownValueTypesAreRefused) {
  EXPECT_TRUE(
      is_refused(with_value(9, [](Bytes& bytes) { bytes.u32(9).u64(0); }), "array of arrays"));
  EXPECT_TRUE(
      is_refused(with_value(9, [](Bytes& bytes) { bytes.u32(13).u64(0); }), "unknown type 13"));
  EXPECT_TRUE(is_refused(with_value(13, [](Bytes& bytes) { bytes.u64(0); }), "unknown type 13"));
  EXPECT_TRUE(is_refused(with_value(~0U, [](Bytes& bytes) { bytes.u64(0); }), "unknown type"));
  EXPECT_TRUE(
      is_refused(with_value(7, [](Bytes& bytes) { bytes.number(2, 1); }), "expected 0 or 1"));
  EXPECT_TRUE(is_refused(with_value(9, [](Bytes& bytes) { bytes.u32(7).u64(1).number(9, 1); }),
                         "expected 0 or 1"));
}

TEST(Gguf, DuplicateAndIllFormedNamesAreRefused) {
  EXPECT_TRUE(
      is_refused(Bytes().preamble(0, 2).str("k").u32(7).number(1, 1).str("k").u32(7).number(1, 1),
                 "duplicate metadata key"));
  EXPECT_TRUE(is_refused(Bytes().preamble(0, 1).str("\xff").u32(7).number(1, 1), "not UTF-8"));
  EXPECT_TRUE(is_refused(
      Bytes().preamble(2, 0).tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).pad().data(64),
      "duplicate tensor"));
  EXPECT_TRUE(
      is_refused(Bytes().preamble(1, 0).tensor("\xc0\x80", {8}, 0, 0).pad().data(32), "not UTF-8"));
}

TEST(Gguf, ForeignTypesAreRefusedByName) {
  const auto of_type = [](std::uint32_t type) {
    return std::string(Bytes().preamble(1, 0).tensor("t", {256}, type, 0).pad().data(4096));
  };
  EXPECT_TRUE(is_refused(of_type(137), "tensor \"t\" has the type IQ2_K (137) of ik_llama.cpp"));
  EXPECT_TRUE(is_refused(of_type(144), "IQ4_KS (144)"));
  EXPECT_TRUE(is_refused(of_type(202), "Q4_0_R8 (202)"));
  EXPECT_TRUE(is_refused(of_type(399), "Q8_K_R8 (399)"));
  EXPECT_TRUE(is_refused(of_type(40), "NVFP4 (40) of ggml"));
  EXPECT_TRUE(is_refused(of_type(31), "Q4_0_4_4 (31) of ggml"));
  EXPECT_TRUE(is_refused(of_type(12345), "unknown type 12345"));
}

TEST(Gguf, EveryKnownTypeIsFoundByNameAndRead) {
  int num_types = 0;
  for (std::uint32_t number = 0; number < 64; ++number) {
    const std::string file = Bytes().preamble(1, 0).tensor("t", {256}, number, 0).pad().data(4096);
    try {
      const GgufTensor tensor = parse(file).tensors[0];
      const GgufTypeInfo& row = gguf_type_info(tensor.type);
      EXPECT_EQ(static_cast<std::uint32_t>(tensor.type), number);
      EXPECT_EQ(tensor.end - tensor.begin, 256 / row.block_columns * row.block_bytes);
      EXPECT_EQ(gguf_type_from_name(row.name), tensor.type);
      ++num_types;
    } catch (const Error&) {
    }
  }
  EXPECT_EQ(num_types, 30);
  EXPECT_EQ(gguf_type_from_name("Q4_K_M"), std::nullopt);
}

TEST(Gguf, AbsurdShapesAreRefused) {
  const auto of_sizes = [](const std::vector<std::uint64_t>& sizes, std::uint32_t type = 28) {
    return std::string(Bytes().preamble(1, 0).tensor("t", sizes, type, 0).pad().data(64));
  };
  ASSERT_NO_THROW(parse(of_sizes({8})));
  EXPECT_TRUE(is_refused(of_sizes({1, 1, 1, 1, 1}), "5 dimensions"));
  EXPECT_TRUE(is_refused(of_sizes({std::uint64_t{1} << 63}), "dimension of"));
  EXPECT_TRUE(is_refused(of_sizes({std::uint64_t{1} << 32, std::uint64_t{1} << 32}), "overflow"));
  EXPECT_TRUE(is_refused(of_sizes({std::uint64_t{1} << 61}), "overflow"));
  EXPECT_TRUE(is_refused(of_sizes({std::uint64_t{1} << 61, 0}), "overflow"));
  EXPECT_TRUE(
      is_refused(of_sizes({0, std::uint64_t{1} << 32, std::uint64_t{1} << 32}), "overflow"));
  EXPECT_TRUE(is_refused(of_sizes({255}, 12), "multiple of 256"));
  EXPECT_TRUE(is_refused(of_sizes({}, 12), "multiple of 256"));
  EXPECT_TRUE(is_refused(Bytes().preamble(1, 0).str("t").u32(~0U).data(64), "dimensions"));
  EXPECT_EQ(parse(of_sizes({0, 3})).tensors[0].begin, parse(of_sizes({0, 3})).tensors[0].end);
  EXPECT_TRUE(parse(of_sizes({})).tensors[0].shape.empty());
}

TEST(Gguf, TensorsMustBeAlignedInsideTheFileAndApart) {
  const auto of_offsets = [](std::uint64_t first, std::uint64_t second) {
    return std::string(Bytes()
                           .preamble(2, 0)
                           .tensor("a", {16}, 0, first)
                           .tensor("b", {16}, 0, second)
                           .pad()
                           .data(160));
  };
  EXPECT_NO_THROW(parse(of_offsets(0, 64)));
  EXPECT_NO_THROW(parse(of_offsets(96, 0)));
  EXPECT_TRUE(is_refused(of_offsets(0, 32), "overlap"));
  EXPECT_TRUE(is_refused(of_offsets(0, 0), "overlap"));
  EXPECT_TRUE(is_refused(of_offsets(0, 65), "multiple of 32"));
  EXPECT_TRUE(is_refused(of_offsets(0, 128), "beyond the end"));
  EXPECT_TRUE(is_refused(of_offsets(0, std::uint64_t{1} << 63), "inside the file"));
  EXPECT_TRUE(is_refused(of_offsets(0, ~std::uint64_t{31}), "inside the file"));
}

TEST(Gguf, AlignmentMustBeAPowerOfTwo) {
  const auto of_alignment = [](std::uint32_t alignment) {
    Bytes bytes;
    bytes.preamble(1, 1).str("general.alignment").u32(4).u32(alignment);
    return std::string(bytes.tensor("t", {1}, 0, 0).pad(256).data(4));
  };
  EXPECT_EQ(parse(of_alignment(256)).alignment, 256);
  EXPECT_EQ(parse(of_alignment(256)).tensors[0].begin % 256, 0);
  EXPECT_EQ(parse(of_alignment(1)).alignment, 1);
  for (const std::uint32_t alignment : {0U, 3U, 24U, 0xffffffffU}) {
    EXPECT_TRUE(is_refused(of_alignment(alignment), "power of two")) << alignment;
  }
  EXPECT_TRUE(is_refused(of_alignment(0x80000000U), "beyond the end"));
  EXPECT_TRUE(is_refused(Bytes().preamble(0, 1).str("general.alignment").u32(8).str("32"),
                         "expected an integer"));
}

TEST(Gguf, ValidFilesOfTheFuzzCorpusAreRead) {
  for (const char* name : {"valid", "version2", "aligned"}) {
    const platform::MappedFile file(FATHOM_SOURCE_DIR "/tests/data/fuzz/gguf/" + std::string(name));
    EXPECT_FALSE(parse_gguf_header(file.bytes(), name).metadata.empty()) << name;
  }
}

TEST(Gguf, VocabularyOf130000StringsAnd40000TensorsOpenQuickly) {
  Bytes bytes;
  bytes.preamble(40000, 1).str("tokenizer.ggml.tokens").u32(9).u32(8).u64(130000);
  for (int i = 0; i < 130000; ++i) {
    bytes.str("token" + std::to_string(i));
  }
  for (std::uint64_t i = 0; i < 40000; ++i) {
    bytes.tensor("blk." + std::to_string(i) + ".weight", {8}, 0, i * 32);
  }
  const std::string file = bytes.pad().data(40000 * 32);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(parse(file).tensors.size(), 40000U);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
#ifdef FATHOM_SANITISED
  EXPECT_LT(seconds.count(), 20.0);
#else
  EXPECT_LT(seconds.count(), 1.0);
#endif
}

}  // namespace
}  // namespace fathom::formats
