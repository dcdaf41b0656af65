#include "fathom/base/formats/npy.h"

#include <array>
#include <cstring>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::formats {
namespace {

using fathom::testing::fails_with;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// A file with this dictionary, as NumPy writes it.
std::string file_with(const std::string& dictionary, const std::string& data, int version = 1) {
  std::string file = "\x93NUMPY";
  file += static_cast<char>(version);
  file += '\0';
  for (std::size_t i = 0; i < (version == 1 ? 2U : 4U); ++i) {
    file += static_cast<char>(dictionary.size() >> (8 * i) & 0xff);
  }
  return file + dictionary + data;
}

std::string dictionary_of(const std::string& dtype, const std::string& shape) {
  return "{'descr': '" + dtype + "', 'fortran_order': False, 'shape': " + shape + ", }\n";
}

template <typename Number>
std::string data_of(std::initializer_list<Number> numbers) {
  std::string data;
  for (const Number number : numbers) {
    std::array<char, sizeof number> raw;
    std::memcpy(raw.data(), &number, sizeof number);
    data.append(raw.data(), raw.size());
  }
  return data;
}

::testing::AssertionResult is_refused(const std::string& file, const std::string& part) {
  return fails_with(ErrorCode::InvalidArgument, "f.npy: " + part,
                    [&] { parse_npy_integers(bytes_of(file), "f.npy"); });
}

TEST(Npy, IntegersOfBothWidthsAndAllVersionsAreRead) {
  const std::vector<std::int64_t> expected = {1, -2, 3};
  const std::string narrow = data_of<std::int32_t>({1, -2, 3});
  const std::string wide = data_of<std::int64_t>({1, -2, 3});
  for (const int version : {1, 2, 3}) {
    EXPECT_EQ(parse_npy_integers(bytes_of(file_with(dictionary_of("<i4", "(3,)"), narrow, version)),
                                 "f.npy"),
              expected);
    EXPECT_EQ(parse_npy_integers(bytes_of(file_with(dictionary_of("<i8", "(3,)"), wide, version)),
                                 "f.npy"),
              expected);
  }
  const auto extreme = std::numeric_limits<std::int64_t>::min();
  EXPECT_EQ(parse_npy_integers(
                bytes_of(file_with(dictionary_of("<i8", "(1,)"), data_of<std::int64_t>({extreme}))),
                "f.npy"),
            std::vector<std::int64_t>{extreme});
}

TEST(Npy, AnEmptyArrayIsNoError) {
  EXPECT_TRUE(
      parse_npy_integers(bytes_of(file_with(dictionary_of("<i4", "(0,)"), "")), "f").empty());
}

TEST(Npy, KeysMayComeInAnyOrderAndQuotes) {
  const std::string file =
      file_with("{\"shape\":(2),'fortran_order':True,\"descr\":\"<i4\"}", data_of<int>({5, 6}));
  EXPECT_EQ(parse_npy_integers(bytes_of(file), "f"), (std::vector<std::int64_t>{5, 6}));
}

TEST(Npy, MadeHeaderIsAlignedAndReadBack) {
  for (const std::vector<Index>& shape :
       {std::vector<Index>{}, {7}, {3, 129280}, {1, 2, 3, 4}, {0, 5}}) {
    const std::string header = make_npy_header(NpyDType::F32, shape);
    EXPECT_EQ(header.size() % 64, 0U);
    EXPECT_EQ(header.back(), '\n');
    Index count = 1;
    for (const Index dim : shape) {
      count *= dim;
    }
    const std::string file = header + std::string(to_size(4 * count), '\0');
    const NpyHeader read = parse_npy_header(bytes_of(file), "f");
    EXPECT_EQ(read.shape, shape);
    EXPECT_EQ(read.dtype, NpyDType::F32);
    EXPECT_EQ(read.data_begin, to_index(header.size()));
  }
}

TEST(Npy, WhatIsNoNpyFileIsRefused) {
  EXPECT_TRUE(is_refused("", "not an npy file"));
  EXPECT_TRUE(is_refused("PK\x03\x04 and more", "not an npy file"));
  EXPECT_TRUE(is_refused(file_with("{}", "", 9), "npy format version 9.0"));
  EXPECT_TRUE(is_refused(file_with("", "", 2).substr(0, 11), "npy file of 11 bytes is truncated"));
}

TEST(Npy, SizesThatTheFileCannotHoldAreRefused) {
  const std::string data = data_of<int>({1, 2});
  EXPECT_TRUE(
      is_refused(file_with(dictionary_of("<i4", "(3,)"), data), "npy array of <i4 (3,) needs 12"));
  EXPECT_TRUE(
      is_refused(file_with(dictionary_of("<i4", "(1,)"), data), "npy array of <i4 (1,) needs 4"));
  EXPECT_TRUE(is_refused(file_with(dictionary_of("<i8", "(2305843009213693952,)"), data),
                         "npy array of <i8 (2305843009213693952,) needs more than 2^63"));
  EXPECT_TRUE(is_refused(file_with(dictionary_of("<i4", "(99999999999999999999,)"), data),
                         "npy header: expected a dimension"));
  EXPECT_TRUE(is_refused(std::string("\x93NUMPY\x02\0\xff\xff\xff\xff{}", 14),
                         "npy header of 4294967295 bytes, but 2"));
}

TEST(Npy, OtherArraysAreRefusedByWhatTheyAre) {
  const std::string data = data_of<int>({1, 2});
  EXPECT_TRUE(is_refused(file_with(dictionary_of("<f8", "(1,)"), data), "npy dtype \"<f8\""));
  EXPECT_TRUE(is_refused(file_with(dictionary_of(">i4", "(2,)"), data), "npy dtype \">i4\""));
  EXPECT_TRUE(is_refused(file_with(dictionary_of("<f4", "(2,)"), data),
                         "npy array of <f4 (2,), expected one"));
  EXPECT_TRUE(is_refused(file_with(dictionary_of("<i4", "(1, 2)"), data),
                         "npy array of <i4 (1, 2), expected one"));
  EXPECT_TRUE(
      is_refused(file_with(dictionary_of("<i8", "()"), data), "npy array of <i8 (), expected one"));
  EXPECT_TRUE(is_refused(
      file_with("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (2,)}", data),
      "npy array of records"));
  EXPECT_TRUE(
      is_refused(file_with("{'descr': '<i4', 'fortran_order': True, 'shape': (1, 2)}", data),
                 "npy array in Fortran order"));
}

TEST(Npy, MalformedDictionariesAreRefused) {
  for (const auto& [dictionary, part] : std::initializer_list<std::pair<std::string, std::string>>{
           {"", "npy header: expected {, found its end"},
           {"{", "npy header: expected a string, found its end"},
           {"{}", "npy header: no \"descr\""},
           {"{'descr': '<i4'}", "npy header: no \"fortran_order\""},
           {"{'descr': '<i4', 'fortran_order': False}", "npy header: no \"shape\""},
           {"{'descr': '<i4', 'descr': '<i4'}", "npy header: unknown or repeated key \"descr\""},
           {"{'a\nb': 1}", "npy header: unknown or repeated key \"a\\x0ab\""},
           {"{'fortran_order': None}", "npy header: expected True or False"},
           {"{'shape': (2", "npy header: expected ), found its end"},
           {"{'shape': (-2,)}", "npy header: expected a dimension"},
           {dictionary_of("<i4", "(2,)") + "x", "npy header: expected the end of the header"}}) {
    EXPECT_TRUE(is_refused(file_with(dictionary, data_of<int>({1, 2})), part)) << dictionary;
  }
  std::string shape = "(";
  for (int i = 0; i < 40; ++i) {
    shape += "1,";
  }
  EXPECT_TRUE(is_refused(file_with(dictionary_of("<i4", shape + ")"), data_of<int>({1})),
                         "npy array of more than 32 dimensions"));
}

}  // namespace
}  // namespace fathom::formats
