#include "fathom/base/formats/safetensors.h"

#include <cstdint>
#include <ctime>
#include <filesystem>
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

std::string length_prefix(std::uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) {
    bytes += static_cast<char>(length >> (8 * i) & 0xff);
  }
  return bytes;
}

std::string file_of(const std::string& json, std::size_t data_bytes) {
  return length_prefix(json.size()) + json + std::string(data_bytes, '\1');
}

SafetensorsHeader parse(const std::string& file) {
  return parse_safetensors_header(as_bytes(file), "model.safetensors");
}

// The file is refused, and the message names it and says `part`.
::testing::AssertionResult is_refused(const std::string& file, const std::string& part) {
  const auto action = [&] { parse(file); };
  const auto named = fails_with(ErrorCode::InvalidCheckpoint, "model.safetensors", action);
  return named ? fails_with(ErrorCode::InvalidCheckpoint, part, action) : named;
}

::testing::AssertionResult header_is_refused(const std::string& json,
                                             std::size_t data_bytes,
                                             const std::string& part) {
  return is_refused(file_of(json, data_bytes), part);
}

std::string tensor(const std::string& name,
                   const std::string& dtype,
                   const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
         offsets + "}";
}

TEST(Safetensors, EntriesComeInTheOrderOfTheirBytesWithOffsetsIntoTheFile) {
  const std::string json = "{" + tensor("b", "BF16", "[2,3]", "[4,16]") + "," +
                           tensor("a", "F32", "[]", "[0,4]") +
                           R"(,"__metadata__":{"format":"pt","":""}}  )";
  const SafetensorsHeader header = parse(file_of(json, 16));
  const Index data = 8 + to_index(json.size());
  ASSERT_EQ(header.entries.size(), 2U);
  EXPECT_EQ(header.entries[0].name, "a");
  EXPECT_EQ(header.entries[0].dtype, SafetensorsDType::F32);
  EXPECT_TRUE(header.entries[0].shape.empty());
  EXPECT_EQ(header.entries[0].begin, data);
  EXPECT_EQ(header.entries[1].name, "b");
  EXPECT_EQ(header.entries[1].shape, (std::vector<Index>{2, 3}));
  EXPECT_EQ(header.entries[1].begin, data + 4);
  EXPECT_EQ(header.entries[1].end, data + 16);
  EXPECT_EQ(header.metadata.at("format"), "pt");
  EXPECT_EQ(header.metadata.size(), 2U);
}

TEST(Safetensors, FileWithoutTensorsIsValid) {
  EXPECT_TRUE(parse(file_of("{}", 0)).entries.empty());
}

TEST(Safetensors, TensorsOfNoElementsMayStandAnywhereBetweenOthers) {
  const std::string json =
      "{" + tensor("a", "F32", "[1]", "[0,4]") + "," + tensor("b", "F32", "[0,7]", "[4,4]") + "," +
      tensor("c", "U8", "[2]", "[4,6]") + "," + tensor("d", "I64", "[3,0]", "[0,0]") + "," +
      tensor("e", "I64", "[0]", "[6,6]") + "}";
  EXPECT_EQ(parse(file_of(json, 6)).entries.size(), 5U);
  EXPECT_TRUE(header_is_refused(
      "{" + tensor("a", "F32", "[1]", "[0,4]") + "," + tensor("b", "F32", "[0]", "[2,2]") + "}", 4,
      "overlap"));
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string file = file_of("{" + tensor("a", "F32", "[2]", "[0,8]") + "}", 8);
  ASSERT_NO_THROW(parse(file));
  for (std::size_t length = 0; length < file.size(); ++length) {
    EXPECT_TRUE(is_refused(file.substr(0, length), "")) << length;
  }
}

TEST(Safetensors, HeaderLengthBeyondTheFileIsRefusedWithoutReadingIt) {
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::uint64_t{100'000'001}, std::uint64_t{1} << 40,
        std::uint64_t{1} << 63, ~std::uint64_t{0}, ~std::uint64_t{7}}) {
    EXPECT_TRUE(is_refused(length_prefix(length) + "{}", "header length")) << length;
  }
}

TEST(Safetensors, BadJsonIsRefused) {
  for (const char* json :
       {"", " {}", "[]", "null", "{", "{}}", "{\"a\":}", "{\"a\":1", "{'a':1}", "{}x", "{,}",
        "\xef\xbb\xbf{}", "{\"a\":{\"dtype\":\"U8\",}}", "{\"\xff\":{}}", "{\"\xed\xa0\x80\":{}}",
        "{\"\\ud800\":{}}", "{\"a\nb\":{}}", "{}/*x*/"}) {
    EXPECT_TRUE(header_is_refused(json, 0, "")) << json;
  }
  EXPECT_TRUE(header_is_refused(std::string("{}\0 x", 5), 0, "zero byte"));
  EXPECT_TRUE(header_is_refused(std::string(100000, '[').replace(0, 1, "{"), 0, ""));
  EXPECT_TRUE(header_is_refused("{\"a\":" + std::string(100000, '[') + "}", 0, ""));
}

TEST(Safetensors, EverythingThatIsNotATensorIsRefused) {
  for (const char* value :
       {"1", "-1", "1.5", "\"x\"", "null", "true", "[]", "[[]]", "{\"a\":1}", "{\"dtype\":{}}",
        "{\"dtype\":1}", "{\"shape\":\"x\"}", "{\"shape\":{}}", "{\"shape\":[[1]]}",
        "{\"shape\":[null]}", "{\"data_offsets\":5}", "{}"}) {
    EXPECT_TRUE(header_is_refused(std::string("{\"x\":") + value + "}", 0, "")) << value;
  }
  EXPECT_TRUE(header_is_refused(R"({"x":{"dtype":"U8","shape":[0]}})", 0, "missing"));
  EXPECT_TRUE(
      header_is_refused(R"({"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"device":"cuda"}})",
                        0, "unknown key \"device\""));
}

TEST(Safetensors, DuplicateNamesAreRefusedWhereAJsonTreeWouldKeepOne) {
  const std::string one = tensor("a", "U8", "[1]", "[0,1]");
  EXPECT_TRUE(header_is_refused("{" + one + "," + one + "}", 1, "duplicate tensor \"a\""));
  const std::string two = tensor("\\u0061", "U8", "[1]", "[1,2]");
  EXPECT_TRUE(header_is_refused("{" + one + "," + two + "}", 2, "duplicate tensor \"a\""));
  EXPECT_TRUE(header_is_refused(R"({"__metadata__":{},"__metadata__":{}})", 0, "duplicate key"));
  EXPECT_TRUE(header_is_refused(R"({"__metadata__":{"k":"1","k":"2"}})", 0, "duplicate key \"k\""));
  EXPECT_TRUE(header_is_refused(
      R"({"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1, "duplicate key"));
}

TEST(Safetensors, MetadataHoldsOnlyStrings) {
  for (const char* value : {"1", "null", "{\"a\":1}", "{\"a\":{}}", "{\"a\":[]}", "\"x\"", "[]"}) {
    EXPECT_TRUE(header_is_refused(std::string(R"({"__metadata__":)") + value + "}", 0, ""))
        << value;
  }
}

TEST(Safetensors, UnknownDTypeIsNamed) {
  EXPECT_TRUE(
      header_is_refused("{" + tensor("a", "F4", "[1]", "[0,1]") + "}", 1, "unknown dtype \"F4\""));
  EXPECT_TRUE(
      header_is_refused("{" + tensor("a", "f32", "[1]", "[0,4]") + "}", 4, "unknown dtype"));
}

TEST(Safetensors, NegativeFractionalAndAbsurdShapesAreRefused) {
  for (const char* shape :
       {"[-1]", "[1.0]", "[1e2]", "[9223372036854775808]", "[18446744073709551616]"}) {
    EXPECT_TRUE(
        header_is_refused("{" + tensor("a", "F64", shape, "[0,0]") + "}", 0, "in tensor \"a\""))
        << shape;
  }
  // Zeros do not excuse an overflow: readers form products of some of the dimensions.
  for (const char* shape : {"[4294967296,4294967296]", "[0,4294967296,4294967296]",
                            "[9223372036854775807,9223372036854775807,0]",
                            "[0,1152921504606846976]", "[1152921504606846976,8]"}) {
    EXPECT_TRUE(
        header_is_refused("{" + tensor("a", "F64", shape, "[0,0]") + "}", 0, "absurd shape"))
        << shape;
  }
}

TEST(Safetensors, RangeMustBeShapeTimesDType) {
  for (const char* offsets : {"[0,7]", "[0,9]", "[8,0]", "[4,8]", "[]", "[0]", "[0,8,8]", "[-8,0]",
                              "[0,8.0]", "[0,18446744073709551615]", "[18446744073709551608,0]"}) {
    EXPECT_TRUE(header_is_refused("{" + tensor("a", "F32", "[2]", offsets) + "}", 8, ""))
        << offsets;
  }
}

TEST(Safetensors, OverlappingTensorRangesAreRejected) {
  EXPECT_TRUE(header_is_refused(
      "{" + tensor("a", "U8", "[4]", "[0,4]") + "," + tensor("b", "U8", "[4]", "[3,7]") + "}", 7,
      "overlap"));
  EXPECT_TRUE(header_is_refused(
      "{" + tensor("a", "U8", "[4]", "[0,4]") + "," + tensor("b", "U8", "[4]", "[0,4]") + "}", 4,
      "overlap"));
}

TEST(Safetensors, HolesAndTrailingBytesAreRefused) {
  EXPECT_TRUE(header_is_refused("{" + tensor("a", "U8", "[4]", "[1,5]") + "}", 5, "hole"));
  EXPECT_TRUE(header_is_refused(
      "{" + tensor("a", "U8", "[2]", "[0,2]") + "," + tensor("b", "U8", "[2]", "[3,5]") + "}", 5,
      "hole"));
  EXPECT_TRUE(header_is_refused("{" + tensor("a", "U8", "[4]", "[0,4]") + "}", 5, "1 bytes after"));
  EXPECT_TRUE(header_is_refused("{" + tensor("a", "U8", "[4]", "[0,4]") + "}", 3, "truncated"));
  EXPECT_TRUE(header_is_refused("{}", 1, "after the last tensor"));
}

TEST(Safetensors, HostileNamesStayOnOneShortLineOfTheMessage) {
  const std::string name = std::string(5000, 'x') + "\\n\\u001b";
  try {
    parse(file_of("{" + tensor(name, "F9", "[]", "[0,1]") + "}", 1));
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_LT(std::string(error.what()).size(), 400U);
  }
}

TEST(Safetensors, WrittenHeaderIsReadBack) {
  const std::vector<SafetensorsEntry> entries = {
      {"model.\"\\\xc3\xa4\n", SafetensorsDType::F8E4M3, {3, 5}, 0, 0},
      {"empty", SafetensorsDType::F64, {0, 4}, 0, 0},
      {"scalar", SafetensorsDType::I64, {}, 0, 0},
      {"scale", SafetensorsDType::F8E8M0, {1, 1}, 0, 0}};
  const std::string block = make_safetensors_header(entries, {{"format", "pt"}, {"q\"", "\n"}});
  EXPECT_EQ(block.size() % 8, 0U);
  const SafetensorsHeader header = parse(block + std::string(15 + 8 + 1, '\0'));
  ASSERT_EQ(header.entries.size(), entries.size());
  EXPECT_EQ(header.metadata.at("q\""), "\n");
  Index begin = to_index(block.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    EXPECT_EQ(header.entries[i].name, entries[i].name);
    EXPECT_EQ(header.entries[i].dtype, entries[i].dtype);
    EXPECT_EQ(header.entries[i].shape, entries[i].shape);
    EXPECT_EQ(header.entries[i].begin, begin);
    begin = header.entries[i].end;
  }
  EXPECT_NO_THROW(parse(make_safetensors_header({}, {})));
}

TEST(Safetensors, WriterRefusesWhatTheReaderWould) {
  const auto write = [](std::vector<SafetensorsEntry> entries) {
    return [entries = std::move(entries)] { make_safetensors_header(entries, {}); };
  };
  const auto code = ErrorCode::InvalidArgument;
  EXPECT_TRUE(fails_with(
      code, "duplicate",
      write({{"a", SafetensorsDType::U8, {1}, 0, 0}, {"a", SafetensorsDType::U8, {1}, 0, 0}})));
  EXPECT_TRUE(fails_with(code, "absurd", write({{"a", SafetensorsDType::U8, {-1}, 0, 0}})));
  EXPECT_TRUE(
      fails_with(code, "absurd", write({{"a", SafetensorsDType::F64, {Index{1} << 61}, 0, 0}})));
  EXPECT_TRUE(
      fails_with(code, "reserved", write({{"__metadata__", SafetensorsDType::U8, {1}, 0, 0}})));
  EXPECT_TRUE(fails_with(code, "UTF-8", write({{"\xff", SafetensorsDType::U8, {1}, 0, 0}})));
}

TEST(Safetensors, EveryDTypeIsWrittenAndReadBack) {
  for (int i = 0; i <= static_cast<int>(SafetensorsDType::U64); ++i) {
    const auto dtype = static_cast<SafetensorsDType>(i);
    const std::vector<SafetensorsEntry> entries = {{"x", dtype, {3}, 0, 0}};
    const std::string block = make_safetensors_header(entries, {});
    const SafetensorsHeader header =
        parse(block + std::string(to_size(3 * element_bytes(dtype)), 'x'));
    EXPECT_EQ(header.entries[0].dtype, dtype) << to_string(dtype);
  }
}

TEST(Safetensors, HeaderOf140000TensorsOpensInUnderASecond) {
  std::vector<SafetensorsEntry> entries;
  for (Index i = 0; i < 140'000; ++i) {
    entries.push_back({"model.layers." + std::to_string(i / 2000) + ".ffn.experts." +
                           std::to_string(i % 2000) + ".w1.weight",
                       SafetensorsDType::U8,
                       {1, 1},
                       0,
                       0});
  }
  const std::string file = make_safetensors_header(entries, {}) + std::string(140'000, 'x');
  // Of the processor's time: what else the machine does makes no difference.
  const std::clock_t start = std::clock();
  EXPECT_EQ(parse(file).entries.size(), entries.size());
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
#ifdef FATHOM_SANITISED
  EXPECT_LT(seconds, 20.0);
#else
  EXPECT_LT(seconds, 1.0);
#endif
}

TEST(Safetensors, EveryGoldenFileOpens) {
  int num_files = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(FATHOM_SOURCE_DIR "/tests/data/golden")) {
    if (entry.path().extension() == ".safetensors") {
      const platform::MappedFile file(entry.path());
      EXPECT_FALSE(parse_safetensors_header(file.bytes(), entry.path().string()).entries.empty());
      ++num_files;
    }
  }
  EXPECT_GE(num_files, 12);
}

TEST(Safetensors, ValidFilesOfTheFuzzCorpusAreRead) {
  const std::string folder = FATHOM_SOURCE_DIR "/tests/data/fuzz/";
  for (const char* name : {"valid", "empty", "padded", "escapes"}) {
    const platform::MappedFile file(folder + "safetensors_header/" + name);
    EXPECT_NO_THROW(parse_safetensors_header(file.bytes(), name)) << name;
  }
  const platform::MappedFile index(folder + "safetensors_index/valid");
  const std::string_view text(reinterpret_cast<const char*>(index.bytes().data()),
                              index.bytes().size());
  EXPECT_EQ(parse_safetensors_index(text, "valid").size(), 2U);
}

::testing::AssertionResult index_is_refused(const std::string& json, const std::string& part) {
  return fails_with(ErrorCode::InvalidCheckpoint, part,
                    [&] { parse_safetensors_index(json, "index.json"); });
}

TEST(SafetensorsIndex, NamesMapToFilesAndTheRestIsSkipped) {
  const auto map = parse_safetensors_index(
      R"({"metadata":{"total_size":1.5e3,"x":[{"y":null,"weight_map":3}]},"weight_map":{"a":"1.safetensors","b":"2.safetensors"},"z":true})",
      "index.json");
  EXPECT_EQ(map,
            (std::map<std::string, std::string>{{"a", "1.safetensors"}, {"b", "2.safetensors"}}));
}

TEST(SafetensorsIndex, FileNamesThatLeaveTheFolderAreRefused) {
  for (const char* name :
       {"../x", "/etc/passwd", "a/b", "a\\\\b", "..", ".", "", "C:x", "x\\u0000y"}) {
    EXPECT_TRUE(
        index_is_refused(std::string(R"({"weight_map":{"a":")") + name + "\"}}", "plain file name"))
        << name;
  }
}

TEST(SafetensorsIndex, DuplicatesAndWrongTypesAreRefused) {
  EXPECT_TRUE(index_is_refused(R"({"weight_map":{"a":"1","a":"2"}})", "duplicate tensor"));
  EXPECT_TRUE(index_is_refused(R"({"weight_map":{},"weight_map":{}})", "duplicate key"));
  EXPECT_TRUE(index_is_refused(R"({"metadata":{}})", "missing"));
  for (const char* json :
       {"", "{", "[]", "3", "null", "\"x\"", R"({"weight_map":[]})", R"({"weight_map":"x"})",
        R"({"weight_map":1})", R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":{}}})",
        R"({"weight_map":{"a":["x"]}})", R"({"weight_map":{"a":null}})", R"({"weight_map":{}}x)",
        "{\"weight_map\":{\"\xff\":\"a\"}}"}) {
    EXPECT_TRUE(index_is_refused(json, "index.json")) << json;
  }
  EXPECT_TRUE(index_is_refused(std::string("{\"weight_map\":{}}\0", 18), "zero byte"));
}

TEST(SafetensorsIndex, WrittenIndexIsReadBack) {
  const std::map<std::string, std::string> map = {{"a\"\n", "model-00001-of-00002.safetensors"},
                                                  {"b", "model-00002-of-00002.safetensors"}};
  const std::string text = make_safetensors_index(map, 123);
  EXPECT_EQ(parse_safetensors_index(text, "index.json"), map);
  EXPECT_NE(text.find("\"total_size\": 123"), std::string::npos);
  EXPECT_TRUE(parse_safetensors_index(make_safetensors_index({}, 0), "index.json").empty());
}

}  // namespace
}  // namespace fathom::formats
