// The reader of Messages requests on any bytes.
#include "fathom/serve/anthropic/messages_request.h"

#include "tests/fuzz/request_frame.h"

namespace {

using fathom::text::Role;
namespace fuzz = fathom::fuzz;

std::unique_ptr<fathom::wire::Service> make_service(bool replaces_unsupported) {
  fathom::text::Conversation kept;
  kept.messages = {{.role = Role::System, .content = {{.text = "s"}}},
                   {.content = {{.text = "Hi"}}},
                   {.role = Role::Assistant,
                    .tool_calls = {{.id = "call_1", .name = "f", .arguments = "{\"a\": 1}"}}}};
  return fuzz::make_service(replaces_unsupported, {"msg_1", "call_1"},
                            {.conversation = std::move(kept)});
}

void read_body(const fathom::http::Request& http,
               const fathom::text::JsonValue& body,
               fathom::wire::Service& service) {
  const fathom::anthropic::MessagesRequest request = fathom::anthropic::read_messages_request(
      http, body, service, fathom::anthropic::Purpose::Message);
  fuzz::require(request.generate.max_tokens.has_value());
  fuzz::require_renderable(request.generate);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::read_request(data, size, make_service, read_body);
  return 0;
}
