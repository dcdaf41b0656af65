// The reader of Responses requests on any bytes.
#include "fathom/serve/openai/responses_request.h"

#include "tests/fuzz/request_frame.h"

namespace {

namespace fuzz = fathom::fuzz;

std::unique_ptr<fathom::wire::Service> make_service(bool replaces_unsupported) {
  return fuzz::make_service(replaces_unsupported, {"resp_1", "msg_1"},
                            {.conversation = {.messages = {{.content = {{.text = "Hi"}}}}},
                             .document = R"({"output": [{"id": "msg_1", "role": "assistant"}]})"});
}

void read_body(const fathom::http::Request& http,
               const fathom::text::JsonValue& body,
               fathom::wire::Service& service) {
  const fathom::openai::ResponsesRequest request =
      fathom::openai::read_responses_request(http, body, service);
  fuzz::require(
      std::get<fathom::engine::ChatPrompt>(request.generate.prompt).conversation.tools.size() ==
      request.tools.declared().size());
  fuzz::require_renderable(request.generate);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::read_request(data, size, make_service, read_body);
  return 0;
}
