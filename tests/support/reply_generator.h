// Random replies of a model: well-formed ones by grammar, and what mutations make of them.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/reply_oracle.h"

namespace fathom::test {

class ReplyGenerator {
 public:
  explicit ReplyGenerator(std::uint64_t seed) : random_(seed) {}

  std::size_t below(std::size_t limit) { return random_() % limit; }
  bool chance(std::size_t percent) { return below(100) < percent; }

  // Control tokens are the bytes of reply_oracle.h.
  std::string make() {
    std::string reply;
    if (chance(60)) {
      reply += text() + newlines() + (chance(85) ? std::string(kCloseByte) : "") + newlines();
    }
    reply += text();
    if (chance(75)) {
      reply += newlines() + block() + (chance(20) ? text() + block() : "");
    }
    return chance(60) ? mutate(reply) : reply;
  }

  // A block of calls of the dialect, whatever its content.
  std::string block() {
    const char* prefixes[] = {kDsmlByte.data(), kDsmlByte.data(), "DSML｜", "", "｜DSML｜"};
    const std::string prefix = prefixes[below(5)];
    const char* wrappers[] = {"tool_calls", "tool_calls", "function_calls", " calls"};
    const std::string wrapper = wrappers[below(4)];
    const bool is_wrapped = chance(85);
    std::string result = is_wrapped ? "<" + prefix + wrapper + ">\n" : "";
    const std::size_t num_calls = below(4);
    for (std::size_t i = 0; i < num_calls; ++i) {
      result += call(prefix) + "\n";
    }
    return result + (is_wrapped ? "</" + prefix + wrapper + ">" : "");
  }

  // One to four edits of characters and pieces.
  std::string mutate(const std::string& reply) {
    std::vector<std::string> letters = split_characters(reply);
    const std::size_t num_edits = 1 + below(4);
    for (std::size_t edit = 0; edit < num_edits && !letters.empty(); ++edit) {
      const auto at = static_cast<std::ptrdiff_t>(below(letters.size()));
      const auto end = std::min<std::ptrdiff_t>(at + 1 + static_cast<std::ptrdiff_t>(below(25)),
                                                std::ssize(letters));
      const auto begin = letters.begin();
      switch (below(6)) {
        case 0:
          letters.erase(begin + at, begin + end);
          break;
        case 1:
          letters.resize(static_cast<std::size_t>(at));
          break;
        case 2: {
          const std::vector<std::string> piece(begin + at, begin + end);
          letters.insert(begin + at, piece.begin(), piece.end());
          break;
        }
        case 3:
          letters[static_cast<std::size_t>(at)] = flip_case(*(begin + at));
          break;
        case 4:
          letters.insert(begin + at, marker());
          break;
        default:
          letters.erase(begin + at);
          break;
      }
    }
    std::string result;
    for (const std::string& letter : letters) {
      result += letter;
    }
    return result;
  }

 private:
  template <std::size_t N>
  std::string pick(const char* const (&choices)[N]) {
    return choices[below(N)];
  }

  std::string newlines() { return std::string(below(4), '\n'); }

  std::string text() {
    static constexpr const char* kPieces[] = {
        "a",          "Hello", " ",  "\n",  "\n\n",  "<",      "</",    "2 < 3", "é",
        "你好",       "🙂",  "｜", "<｜", "<b>",   "END",    "stop",  "```",   "{\"a\": [1]}",
        "tool_calls", "\"",    "\\", "\t",  "<DSML", "</thin", "END OF"};
    std::string result;
    const std::size_t num_pieces = below(8);
    for (std::size_t i = 0; i < num_pieces; ++i) {
      result += pick(kPieces);
    }
    return result;
  }

  std::string marker() {
    static constexpr const char* kMarkers[] = {"\xf8",
                                               "\xf9",
                                               "\xfa",
                                               "</think>",
                                               "<think>",
                                               "<\xfa",
                                               "</\xfa",
                                               "<\xfatool_calls>",
                                               "</\xfatool_calls>",
                                               "<\xfainvoke name=\"write\">",
                                               "<tool_calls>",
                                               "<invoke name=\"write\"",
                                               "</invoke>",
                                               "</parameter>",
                                               "invoke name=\"",
                                               "parameter name=\"",
                                               "\"",
                                               ">",
                                               "string=\"false\">",
                                               "<DSML｜",
                                               "<\xfa"
                                               "function_calls>",
                                               "\n",
                                               "<\xfa invoke name=\"search\">",
                                               "END",
                                               "<DSML｜tool_calls>"};
    return pick(kMarkers);
  }

  std::string call(const std::string& prefix) {
    static constexpr const char* kTools[] = {"get_weather", "write", "search",
                                             "wrap",        "nope",  "get_weather"};
    std::string result =
        "<" + prefix + (chance(10) ? " " : "") + "invoke name=\"" + pick(kTools) + "\">\n";
    const std::size_t num_parameters = below(4);
    for (std::size_t i = 0; i < num_parameters; ++i) {
      result += parameter(prefix) + "\n";
    }
    return result + "</" + prefix + "invoke>";
  }

  std::string parameter(const std::string& prefix) {
    static constexpr const char* kKeys[] = {"city",  "days",      "opts",   "tags", "flag",
                                            "any",   "maybe",     "either", "path", "text",
                                            "input", "arguments", "quéry",  "a\\b"};
    static constexpr const char* kTypes[] = {" string=\"true\">", " string=\"false\">", ">",
                                             " string=\"True\">"};
    static constexpr const char* kValues[] = {"Rome",
                                              "7",
                                              "7.5",
                                              "-3e2",
                                              "true",
                                              "null",
                                              "",
                                              " 4 ",
                                              "[1, \"a\"]",
                                              "{\"city\": \"Oslo\"}",
                                              "{\"path\": \"x\", \"text\": \"y\"}",
                                              "\"{\\\"city\\\": 1}\"",
                                              "{3, \"a\"",
                                              "NaN",
                                              "a\"b\\c\n\t\x01",
                                              "{}",
                                              "<p>a</p>",
                                              "</",
                                              "字🙂",
                                              "{\"zzz\": 1}",
                                              "<",
                                              "\"quoted\"",
                                              "01",
                                              "[1,]",
                                              "｜DSML｜",
                                              "</｜"};
    return "<" + prefix + "parameter name=\"" + pick(kKeys) + "\"" +
           kTypes[chance(10) ? 2 + below(2) : below(2)] + pick(kValues) +
           (chance(15) ? pick(kValues) : "") + "</" + prefix + "parameter>";
  }

  static std::vector<std::string> split_characters(const std::string& text) {
    std::vector<std::string> letters;
    for (const char letter : text) {
      if ((static_cast<unsigned char>(letter) & 0xc0) == 0x80 && !letters.empty()) {
        letters.back().push_back(letter);
      } else {
        letters.emplace_back(1, letter);
      }
    }
    return letters;
  }

  static std::string flip_case(std::string letter) {
    const bool is_letter =
        letter.size() == 1 && ((letter[0] | 0x20) >= 'a' && (letter[0] | 0x20) <= 'z');
    if (is_letter) {
      letter[0] = static_cast<char>(letter[0] ^ 0x20);
    }
    return letter;
  }

  std::mt19937_64 random_;
};

}  // namespace fathom::test
