// A server whose models answer from a script (replay_script.h): everything but the model is real.
//
//   replay_server --listen HOST:PORT --key KEY
//
// It prints `listening on http://HOST:PORT`, then a line for each request when it is over:
// `METHOD PATH STATUS PROBLEM`, status 0 when the client went away. SIGTERM ends it. Its models:
// test-model; slow-model waits before each token; small-model has 256 tokens of context; busy-model
// refuses what it is asked; failing-model fails after the first token.
#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/serve/anthropic/messages.h"
#include "fathom/serve/http/keys.h"
#include "fathom/serve/http/server.h"
#include "fathom/serve/openai/responses.h"
#include "fathom/serve/openai/routes.h"
#include "fathom/serve/wire/errors.h"
#include "fathom/serve/wire/service.h"
#include "fathom/serve/wire/status_routes.h"

#include "tests/support/replay_engine.h"
#include "tests/support/replay_script.h"

namespace fathom::testing {
namespace {

ReplayOptions scripted() {
  ReplayOptions options;
  options.is_threaded = true;
  options.reply = [](const engine::PreparedRequest& request, Index choice_idx) {
    std::string prompt;
    for (const engine::TokenId id : request.prompt_ids) {
      prompt += v4_text_model().tokenizer->bytes_of(id);
    }
    try {
      return scripted_reply(prompt, choice_idx);
    } catch (const std::exception& error) {
      return "The script cannot be read: " + std::string(error.what());
    }
  };
  return options;
}

std::shared_ptr<wire::Service> make_service() {
  wire::ServiceOptions options;
  options.strict_models = true;
  ReplayOptions slow = scripted();
  slow.token_delay = std::chrono::milliseconds(20);
  ReplayOptions small = scripted();
  small.max_context = 256;
  ReplayOptions busy = scripted();
  busy.refusal = Error(ErrorCode::Overloaded, "as many requests wait as may wait: ask again later");
  ReplayOptions failing = scripted();
  failing.failure = Error(ErrorCode::Internal, "the script says that this model fails");
  std::vector<std::pair<std::string, ReplayOptions>> named = {
      {"test-model", scripted()},
      {"slow-model", std::move(slow)},
      {"small-model", std::move(small)},
      {"busy-model", std::move(busy)},
      {"failing-model", std::move(failing)}};
  std::vector<wire::ServedModel> models;
  for (auto& [name, replay] : named) {
    models.push_back({.name = name,
                      .engine = std::make_shared<ReplayEngine>(v4_text_model(), std::move(replay)),
                      .created_s = 1700000000});
  }
  return std::make_shared<wire::Service>(std::move(models), options);
}

void log_request(const http::AccessRecord& record) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  std::printf("%s %s %d %s\n", record.method.c_str(), record.path.c_str(), record.status,
              record.problem.c_str());
  std::fflush(stdout);
}

int serve(std::string_view listen, std::string_view key) {
  // Before there are threads, so that all of them leave the signal to the one that waits.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const std::shared_ptr<wire::Service> service = make_service();
  http::Router router;
  openai::add_routes(router, service);
  openai::add_responses_routes(router, service);
  anthropic::add_routes(router, service);
  wire::add_status_routes(router, service);
  http::ServerOptions options;
  options.network.listen = http::parse_endpoint(listen);
  options.error_body = wire::server_error;
  options.log = log_request;
  const http::KeyFile keys = http::parse_keys(key, "--key", {});
  http::Server server(options, std::move(router), std::make_shared<http::ApiKeys>(keys.keys));
  std::printf("listening on http://%s\n", http::to_string(server.endpoint()).c_str());
  std::fflush(stdout);
  server.start();
  int signal = 0;
  sigwait(&signals, &signal);
  server.stop(std::chrono::seconds(5));
  return 0;
}

}  // namespace
}  // namespace fathom::testing

int main(int argc, char** argv) {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  if (arguments.size() != 4 || arguments[0] != "--listen" || arguments[2] != "--key") {
    std::fputs("usage: replay_server --listen HOST:PORT --key KEY\n", stderr);
    return 2;
  }
  try {
    return fathom::testing::serve(arguments[1], arguments[3]);
  } catch (const fathom::Error& error) {
    std::fprintf(stderr, "replay_server: %s\n", error.what());
    return fathom::exit_code(error.code());
  }
}
