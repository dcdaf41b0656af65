// The reader of Messages requests on any bytes: a conversation that can be rendered, or one of the
// errors that a bad request may cause, on one line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/chat_format.h"
#include "fathom/serve/anthropic/messages_request.h"
#include "fathom/serve/wire/json_body.h"

namespace {

using fathom::Error;
using fathom::ErrorCode;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

fathom::wire::Service& service(bool replaces_unsupported) {
  static const auto kMake = [](bool replaces) {
    auto made = std::make_unique<fathom::wire::Service>(
        std::vector<fathom::wire::ServedModel>{{.name = "m"}},
        fathom::wire::ServiceOptions{.replaces_unsupported = replaces});
    fathom::text::Conversation kept;
    kept.messages = {{.role = fathom::text::Role::System, .content = {{.text = "s"}}},
                     {.content = {{.text = "Hi"}}},
                     {.role = fathom::text::Role::Assistant,
                      .tool_calls = {{.id = "call_1", .name = "f", .arguments = "{\"a\": 1}"}}}};
    made->store()->put("", {"msg_1", "call_1"}, {.conversation = std::move(kept)});
    return made;
  };
  static const auto kStrict = kMake(false);
  static const auto kLenient = kMake(true);
  return *(replaces_unsupported ? kLenient : kStrict);
}

void read(const std::string& body, bool replaces_unsupported) {
  static const auto kFormat =
      fathom::text::make_v4_format(fathom::text::dialect_from_name("preview"));
  const fathom::http::Request http = {.body = body};
  const fathom::anthropic::MessagesRequest request = fathom::anthropic::read_messages_request(
      http, fathom::wire::parse_body(http), service(replaces_unsupported),
      fathom::anthropic::Purpose::Message);
  const auto& prompt = std::get<fathom::engine::ChatPrompt>(request.generate.prompt);
  require(!prompt.conversation.messages.empty() && request.generate.max_tokens.has_value());
  require(fathom::formats::is_utf8(text_of(kFormat->render(prompt.conversation, prompt.render))));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string body(reinterpret_cast<const char*>(data), size);
  for (const bool replaces_unsupported : {false, true}) {
    try {
      read(body, replaces_unsupported);
    } catch (const Error& error) {
      require(error.code() == ErrorCode::InvalidArgument ||
              error.code() == ErrorCode::Unsupported || error.code() == ErrorCode::NotFound);
      require(std::string_view(error.what()).find('\n') == std::string_view::npos);
    }
  }
  return 0;
}
