// What the fuzz targets of request readers share: services with something stored, and what must
// come of any bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/chat_format.h"
#include "fathom/serve/engine/request.h"
#include "fathom/serve/wire/json_body.h"
#include "fathom/serve/wire/service.h"

namespace fathom::fuzz {

inline void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

// A model without an engine, and one conversation that goes by these ids.
inline std::unique_ptr<wire::Service> make_service(bool replaces_unsupported,
                                                   const std::vector<std::string>& ids,
                                                   wire::StoredConversation stored) {
  auto service = std::make_unique<wire::Service>(
      std::vector<wire::ServedModel>{{.name = "m"}},
      wire::ServiceOptions{.replaces_unsupported = replaces_unsupported});
  service->store()->put("", ids, std::move(stored));
  return service;
}

// A request that was read holds a conversation that can be rendered.
inline void require_renderable(const engine::GenerateRequest& request) {
  static const auto kFormat = text::make_v4_format(text::dialect_from_name("preview"));
  const auto& prompt = std::get<engine::ChatPrompt>(request.prompt);
  require(!prompt.conversation.messages.empty());
  require(formats::is_utf8(text_of(kFormat->render(prompt.conversation, prompt.render))));
}

// Any bytes as a body: read(http, json, service) throws nothing but what a bad request may cause,
// on one line. `make` makes the service for either position of replaces_unsupported, once.
template <typename Make, typename Read>
void read_request(const std::uint8_t* data, std::size_t size, const Make& make, const Read& read) {
  static const std::unique_ptr<wire::Service> kServices[] = {make(false), make(true)};
  const http::Request http = {.body = std::string(reinterpret_cast<const char*>(data), size)};
  for (const auto& service : kServices) {
    try {
      read(http, wire::parse_body(http), *service);
    } catch (const Error& error) {
      require(error.code() == ErrorCode::InvalidArgument ||
              error.code() == ErrorCode::Unsupported || error.code() == ErrorCode::NotFound);
      require(std::string_view(error.what()).find('\n') == std::string_view::npos);
    }
  }
}

}  // namespace fathom::fuzz
