// Any bytes as the body of a request: an answer that clients can read, never a 5xx. The first byte
// chooses the endpoint.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "fathom/model/text/json_value.h"
#include "fathom/serve/openai/routes.h"

#include "tests/fuzz/request_frame.h"
#include "tests/support/test_api.h"

namespace {

using fathom::fuzz::require;
using fathom::testing::ExchangePtr;
using fathom::testing::ReplayOptions;
using fathom::testing::TestApi;
namespace text = fathom::text;

constexpr auto kPaths = std::to_array<const char*>(
    {"/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize", "/v1/render"});

// A token for each byte, and the control tokens of V4's prompts.
text::TextModel byte_model() {
  nlohmann::json vocab;
  for (std::uint32_t byte = 0, extra = 0; byte < 256; ++byte) {
    const bool is_itself =
        (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae);
    std::string name;
    const std::uint32_t code = is_itself ? byte : 0x100 + extra++;
    if (code < 0x80) {
      name.push_back(static_cast<char>(code));
    } else {
      name.push_back(static_cast<char>(0xc0 | (code >> 6)));
      name.push_back(static_cast<char>(0x80 | (code & 0x3f)));
    }
    vocab[name] = byte;
  }
  nlohmann::json added = nlohmann::json::array();
  int id = 256;
  for (const char* const content :
       {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>",
        "<think>", "</think>", "｜DSML｜", "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"}) {
    added.push_back({{"id", id++}, {"content", content}, {"special", true}});
  }
  const nlohmann::json document = {
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}};
  return text::make_text_model(text::Tokenizer::parse_json(document.dump(), "fuzz"),
                               text::make_v4_format(text::dialect_from_name("preview")));
}

const TestApi& api() {
  static const text::TextModel kModel = byte_model();
  static const TestApi kApi(
      fathom::openai::add_routes,
      ReplayOptions{.reply =
                        [](const fathom::engine::PreparedRequest&, fathom::Index) {
                          return std::string(
                              "hm</think>\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke "
                              "name=\"f\">\n</｜DSML｜invoke>");
                        },
                    .vocab_size = 300,
                    .max_context = 4096},
      {}, kModel);
  return kApi;
}

void check_stream(const ExchangePtr& exchange) {
  require(exchange->is_complete());
  for (const fathom::test::ServerEvent& event : fathom::test::read_events(exchange->events())) {
    require(event.data == "[DONE]" || text::try_parse_json(event.data).has_value());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const char* const path = kPaths.at(data[0] % kPaths.size());
  const ExchangePtr exchange =
      api().post(path, std::string(reinterpret_cast<const char*>(data + 1), size - 1));
  require(exchange->misuse().empty());
  if (exchange->is_streaming()) {
    check_stream(exchange);
    return 0;
  }
  const auto response = exchange->response();
  require(response.has_value());
  const auto body = text::try_parse_json(response->body);
  require(body.has_value());
  require(response->status == 200 || response->status == 400);
  if (response->status == 400) {
    const text::JsonValue* const error = body->find("error");
    require(error != nullptr && error->find("message") != nullptr &&
            !error->find("message")->text.empty() &&
            error->find("message")->text.find('\n') == std::string::npos);
  }
  return 0;
}
