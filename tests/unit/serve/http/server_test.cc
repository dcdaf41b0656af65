#include "fathom/serve/http/server.h"

#include <future>
#include <memory>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/counter.h"
#include "tests/support/expect_error.h"
#include "tests/support/http_server.h"

namespace fathom::http {
namespace {

using test::Counter;
using test::http_request;
using test::HttpClient;
using test::HttpResponse;
using test::HttpServer;
using testing::fails_with;

TEST(Server, AnswersOneRequestAfterAnotherOnAConnection) {
  HttpServer server;
  HttpClient client = server.connect();
  for (int i = 0; i < 3; ++i) {
    const HttpResponse response = client.ask(http_request("GET", "/hello"));
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "hello");
    EXPECT_EQ(response.headers.at("content-type"), "text/plain");
    EXPECT_EQ(response.headers.at("connection"), "keep-alive");
    EXPECT_TRUE(response.headers.at("x-request-id").starts_with("req_"));
    EXPECT_TRUE(response.headers.contains("date"));
  }
}

TEST(Server, StreamsEventsInChunks) {
  HttpServer server;
  HttpClient client = server.connect();
  const HttpResponse response = client.ask(http_request("POST", "/stream", "{}"));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.at("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(response.headers.at("x-extra"), "1");
  EXPECT_EQ(response.body, "data: a\n\ndata: b\n\ndata: c\n\n");
  EXPECT_TRUE(response.is_complete);
  EXPECT_EQ(client.ask(http_request("GET", "/hello")).body, "hello");
}

TEST(Server, UnknownPathsAndMethodsAreToldApart) {
  HttpServer server;
  HttpClient client = server.connect();
  const HttpResponse unknown = client.ask(http_request("GET", "/nowhere"));
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.body, R"({"error":{"message":"nothing is at \"/nowhere\""}})");
  const HttpResponse method = client.ask(http_request("DELETE", "/hello"));
  EXPECT_EQ(method.status, 405);
  EXPECT_EQ(method.headers.at("allow"), "GET, HEAD, OPTIONS");
  const HttpResponse options = client.ask(http_request("OPTIONS", "/hello"));
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(options.headers.at("allow"), "GET, HEAD, OPTIONS");
  EXPECT_EQ(client.ask(http_request("BREW", "/nowhere")).status, 404);
  EXPECT_EQ(client.ask(http_request("GET", "/names/a%2Fb")).body, "a/b");
}

TEST(Server, ErrorsAreWordedByTheCallback) {
  ServerOptions options;
  options.error_body = [](int status, std::string_view message, const Request& request) {
    return Response{.content_type = "text/plain",
                    .body = std::to_string(status) + " " + request.path + " " +
                            std::string(request.header("x-who")) + ": " + std::string(message)};
  };
  options.connection.parser.body_bytes = 10;
  HttpServer server(options);
  EXPECT_EQ(server.connect().ask(http_request("GET", "/nowhere", "", "X-Who: me\r\n")).body,
            "404 /nowhere me: nothing is at \"/nowhere\"");
  // What is known of a request that was not read whole is told too.
  const HttpResponse response =
      server.connect().ask(http_request("POST", "/echo", "more than ten", "X-Who: me\r\n"));
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(response.body, "413 /echo me: the request's body is longer than 10 bytes");
  EXPECT_EQ(server.connect().ask(http_request("GET", "/throw")).body,
            "500 /throw : Internal Server Error");
}

TEST(Server, WithoutKeysItAnswersOnlyToItsOwnNames) {
  const auto ask = [](HttpServer& server, const std::string& host, const std::string& more = "") {
    return server.connect().ask("GET /hello HTTP/1.1\r\nHost: " + host + "\r\n" + more + "\r\n");
  };
  ServerOptions options;
  options.allowed_hosts = {"fathom.lan"};
  HttpServer server(options);
  EXPECT_EQ(ask(server, "localhost:1").status, 200);
  EXPECT_EQ(ask(server, "127.0.0.1").status, 200);
  EXPECT_EQ(ask(server, "fathom.lan").status, 200);
  const HttpResponse refused = ask(server, "evil.example:8080");
  EXPECT_EQ(refused.status, 403);
  EXPECT_NE(refused.body.find("--allow-host"), std::string::npos) << refused.body;
  // A page that was rebound is of the same origin as far as its browser knows.
  EXPECT_EQ(ask(server, "evil.example", "Origin: http://evil.example\r\n").status, 403);
  HttpServer with_keys(options, std::make_shared<ApiKeys>(parse_keys("some-secret", "", {}).keys));
  EXPECT_EQ(ask(with_keys, "evil.example", "X-Api-Key: some-secret\r\n").status, 200);
}

std::shared_ptr<ApiKeys> some_keys() {
  return std::make_shared<ApiKeys>(
      parse_keys("ann:secret-of-ann concurrent=1\nbob:secret-of-bob per_minute=1", "keys", {})
          .keys);
}

TEST(Server, KeysAreAskedForBeforeTheBody) {
  HttpServer server({}, some_keys());
  const HttpResponse response = server.connect().ask(
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(response.status, 401);
  EXPECT_EQ(response.headers.at("www-authenticate"), "Bearer");
  HttpClient client = server.connect();
  EXPECT_EQ(client.ask(http_request("GET", "/hello")).status, 401);
  EXPECT_EQ(client.ask(http_request("GET", "/open")).status, 200);
  EXPECT_EQ(client.ask(http_request("GET", "/hello", "", "X-Api-Key: secret-of-ann\r\n")).status,
            200);
}

TEST(Server, KeysHaveLimits) {
  HttpServer server({}, some_keys());
  HttpClient first = server.connect();
  first.send(http_request("POST", "/hold", "x", "X-Api-Key: secret-of-ann\r\n"));
  const ExchangePtr held = server.take_held();
  EXPECT_EQ(held->request().key_name, "ann");
  HttpClient second = server.connect();
  const std::string ask_of_ann = http_request("GET", "/hello", "", "X-Api-Key: secret-of-ann\r\n");
  const HttpResponse refused = second.ask(ask_of_ann);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.headers.at("retry-after"), "1");
  held->respond({});
  EXPECT_EQ(first.read_response().status, 200);
  EXPECT_EQ(server.wait_for_records(2).size(), 2U);
  EXPECT_EQ(second.ask(ask_of_ann).status, 200);
  const std::string ask_of_bob = http_request("GET", "/hello", "", "X-Api-Key: secret-of-bob\r\n");
  EXPECT_EQ(second.ask(ask_of_bob).status, 200);
  EXPECT_EQ(second.ask(ask_of_bob).status, 429);
}

TEST(Server, TheKeyOfAClientThatLeavesIsFreeAgain) {
  HttpServer server({}, some_keys());
  {
    HttpClient first = server.connect();
    first.send(http_request("POST", "/hold", "x", "X-Api-Key: secret-of-ann\r\n"));
    Counter gone;
    const ExchangePtr held = server.take_held();
    held->on_disconnect([&] { gone.add(); });
    first.close_now();
    ASSERT_TRUE(gone.wait_for(1));
  }
  ASSERT_EQ(server.wait_for_records(1).size(), 1U);
  EXPECT_EQ(server.connect()
                .ask(http_request("GET", "/hello", "", "X-Api-Key: secret-of-ann\r\n"))
                .status,
            200);
}

TEST(Server, OthersMachinesNeedAKeyUnlessSaidAloud) {
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "--no-auth", [] {
    check_exposure({"0.0.0.0", 80}, false, false);
  }));
  EXPECT_NO_THROW(check_exposure({"0.0.0.0", 80}, true, false));
  EXPECT_NO_THROW(check_exposure({"0.0.0.0", 80}, false, true));
  EXPECT_NO_THROW(check_exposure({"127.0.0.1", 80}, false, false));
}

TEST(Server, CorsIsOffUnlessOriginsAreNamed) {
  const std::string preflight =
      http_request("OPTIONS", "/echo", "",
                   "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n"
                   "Access-Control-Request-Headers: authorization, content-type\r\n");
  HttpServer closed;
  EXPECT_FALSE(closed.connect().ask(preflight).headers.contains("access-control-allow-origin"));

  HttpServer open({.cors_origins = {"https://a.example"}});
  HttpClient client = open.connect();
  const HttpResponse response = client.ask(preflight);
  EXPECT_EQ(response.status, 204);
  EXPECT_EQ(response.headers.at("access-control-allow-origin"), "https://a.example");
  EXPECT_EQ(response.headers.at("access-control-allow-headers"), "authorization, content-type");
  EXPECT_NE(response.headers.at("access-control-allow-methods").find("POST"), std::string::npos);
  const HttpResponse stream =
      client.ask(http_request("POST", "/stream", "{}", "Origin: https://a.example\r\n"));
  EXPECT_EQ(stream.headers.at("access-control-allow-origin"), "https://a.example");
  const HttpResponse other =
      client.ask(http_request("GET", "/hello", "", "Origin: https://b.example\r\n"));
  EXPECT_FALSE(other.headers.contains("access-control-allow-origin"));
  EXPECT_EQ(other.headers.at("vary"), "Origin");
}

TEST(Server, WebPagesOfOthersMayNotPostToAServerWithoutKeys) {
  const auto ask = [](HttpServer& server, std::string_view headers) {
    return server.connect().ask(http_request("POST", "/echo", "x", headers)).status;
  };
  HttpServer server;
  EXPECT_EQ(ask(server, "Origin: https://a.example\r\n"), 403);
  EXPECT_EQ(ask(server, "Origin: null\r\n"), 403);
  EXPECT_EQ(ask(server, "Origin: http://test\r\n"), 200);  // the server's own page
  HttpServer allowed({.cors_origins = {"https://a.example"}});
  EXPECT_EQ(ask(allowed, "Origin: https://a.example\r\n"), 200);
  EXPECT_EQ(ask(allowed, "Origin: https://b.example\r\n"), 403);
  HttpServer with_keys({}, some_keys());
  EXPECT_EQ(ask(with_keys, "Origin: https://a.example\r\nX-Api-Key: secret-of-bob\r\n"), 200);
}

TEST(Server, EachRequestIsRecordedOnceAndWithoutItsBody) {
  HttpServer server({}, some_keys());
  HttpClient client = server.connect();
  const HttpResponse response =
      client.ask(http_request("POST", "/echo?q=1", "secret", "X-Api-Key: secret-of-bob\r\n"));
  client.ask(http_request("GET", "/nowhere"));
  const std::vector<AccessRecord> records = server.wait_for_records(2);
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].method, "POST");
  EXPECT_EQ(records[0].path, "/echo");
  EXPECT_EQ(records[0].status, 200);
  EXPECT_EQ(records[0].key_name, "bob");
  EXPECT_EQ(records[0].request_id, response.headers.at("x-request-id"));
  EXPECT_EQ(records[0].problem, "");
  EXPECT_GT(records[0].num_bytes, 100);
  EXPECT_GT(records[0].seconds, 0);
  EXPECT_TRUE(records[0].peer.starts_with("127.0.0.1:"));
  EXPECT_EQ(records[1].status, 404);
}

TEST(Server, ConnectionsBeyondTheLimitAreToldSo) {
  HttpServer server({.max_connections = 2});
  HttpClient first = server.connect();
  HttpClient second = server.connect();
  EXPECT_EQ(first.ask(http_request("GET", "/hello")).status, 200);
  EXPECT_EQ(second.ask(http_request("GET", "/hello")).status, 200);
  HttpClient third = server.connect();
  const HttpResponse refused = third.ask(http_request("GET", "/hello"));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.at("retry-after"), "1");
  // Many more: each is refused or closed, and those that are open go on.
  std::vector<HttpClient> many;
  for (int i = 0; i < 100; ++i) {
    many.push_back(server.connect());
    EXPECT_NE(many.back().ask(http_request("GET", "/hello")).status, 200);
  }
  EXPECT_EQ(first.ask(http_request("GET", "/hello")).status, 200);
  EXPECT_LE(server->num_connections(), 2 + 64);
  third.close_now();
  many.clear();
  second.close_now();
  while (server->num_connections() > 1) {
    usleep(1000);
  }
  EXPECT_EQ(server.connect().ask(http_request("GET", "/hello")).status, 200);
}

TEST(Server, BodiesTogetherAreBounded) {
  HttpServer server({.buffered_body_bytes = 100'000});
  HttpClient first = server.connect();
  first.send(http_request("POST", "/hold", std::string(60'000, 'x')));
  const ExchangePtr held = server.take_held();
  const std::string second = http_request("POST", "/size", std::string(60'000, 'y'));
  const HttpResponse refused = server.connect().ask(second);
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.at("retry-after"), "1");
  held->respond({});
  ASSERT_EQ(server.wait_for_records(2).size(), 2U);
  EXPECT_EQ(server.connect().ask(second).body, "60000");
}

TEST(Server, TwoHundredConnectionsGetTheirOwnAnswers) {
  HttpServer server;
  std::vector<HttpClient> clients;
  std::vector<ExchangePtr> held;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(server.connect());
    clients.back().send(http_request("POST", "/hold", std::to_string(i)));
  }
  for (int i = 0; i < 200; ++i) {
    held.push_back(server.take_held());
    ASSERT_NE(held.back(), nullptr);
  }
  EXPECT_EQ(server->num_connections(), 200);
  for (const ExchangePtr& exchange : held) {
    exchange->begin_events({}, nullptr);
  }
  for (int round = 0; round < 5; ++round) {
    for (const ExchangePtr& exchange : held) {
      exchange->send(exchange->request().body + ";");
    }
  }
  for (const ExchangePtr& exchange : held) {
    exchange->end_events();
  }
  for (std::size_t i = 0; i < clients.size(); ++i) {
    const HttpResponse response = clients[i].read_response();
    const std::string once = std::to_string(i) + ";";
    EXPECT_EQ(response.body, once + once + once + once + once);
    EXPECT_TRUE(response.is_complete);
  }
}

TEST(Server, DrainingFinishesWhatRunsAndTakesNothingNew) {
  HttpServer server({.connection = {.linger_timeout = Milliseconds(100)}});
  HttpClient idle = server.connect();
  EXPECT_EQ(idle.ask(http_request("GET", "/hello")).status, 200);
  HttpClient busy = server.connect();
  busy.send(http_request("POST", "/hold", "x"));
  const ExchangePtr held = server.take_held();
  HttpClient streaming = server.connect();
  streaming.send(http_request("POST", "/hold", "x"));
  const ExchangePtr stream = server.take_held();
  stream->begin_events({}, nullptr);
  stream->send("data: 1\n\n");
  ASSERT_TRUE(streaming.wait_for("data: 1"));
  std::jthread stopping([&] { server->stop(std::chrono::seconds(30)); });
  EXPECT_TRUE(idle.wait_for_end());
  streaming.send(http_request("GET", "/hello"));
  held->respond({.body = "finished"});
  stream->send("data: 2\n\n");
  stream->end_events();
  const HttpResponse response = busy.read_response();
  EXPECT_EQ(response.body, "finished");
  EXPECT_EQ(response.headers.at("connection"), "close");
  EXPECT_EQ(streaming.read_response().body, "data: 1\n\ndata: 2\n\n");
  EXPECT_NE(streaming.read_response().status, 200);
  stopping.join();
  EXPECT_THROW(server.connect(), std::runtime_error);
}

TEST(Server, WhatDoesNotFinishInTimeIsBrokenOff) {
  HttpServer server;
  HttpClient busy = server.connect();
  busy.send(http_request("POST", "/hold", "x"));
  const ExchangePtr held = server.take_held();
  Counter gone;
  held->on_disconnect([&] { gone.add(); });
  server->stop(Milliseconds(50));
  EXPECT_EQ(gone.count(), 1);
  EXPECT_TRUE(busy.wait_for_end());
  server.destroy();
  held->respond({.body = "too late"});
}

// As the last token of a reply does, whose thread is the engine's.
TEST(Server, AHeldExchangeDoesNotKeepTheHandlers) {
  auto engine = std::make_shared<int>();
  const std::weak_ptr<int> handlers_engine = engine;
  std::promise<ExchangePtr> taken;
  Router router;
  router.add("GET", "/", [&taken, engine = std::move(engine)](const ExchangePtr& exchange) {
    taken.set_value(exchange);
  });
  Server server({.network = {.listen = {"127.0.0.1", 0}}}, std::move(router));
  server.start();
  HttpClient client(server.endpoint().port);
  client.send(http_request("GET", "/"));
  const ExchangePtr held = taken.get_future().get();
  EXPECT_FALSE(handlers_engine.expired());
  server.stop(Milliseconds(0));
  EXPECT_TRUE(handlers_engine.expired());
}

TEST(Server, IsStartedAndDestroyedWithoutARequest) {
  const HttpServer server;
  const Server unused({.network = {.listen = {"127.0.0.1", 0}}}, Router());
}

// Requests that are nearly right: each is answered, with 2xx or 4xx, and the server goes on.
TEST(Server, TenThousandMutatedRequestsDoNoHarm) {
  HttpServer server({.connection = {.parser = {.header_bytes = 2048, .body_bytes = 4096}}});
  const std::vector<std::string> seeds = {
      http_request("GET", "/hello?a=b%20c"),
      http_request("HEAD", "/names/maker%2Fsmall"),
      http_request("POST", "/echo", R"({"model": "m", "messages": [{"role": "user"}]})",
                   "Content-Type: application/json\r\nAuthorization: Bearer abc\r\n"),
      http_request("OPTIONS", "/echo", "", "Origin: http://a\r\n"),
      "POST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n",
      "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody",
      "GET http://x/hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
  };
  constexpr std::uint32_t kSeed = 20'261'126;
  std::mt19937 random(kSeed);
  for (int run = 0; run < 10'000; ++run) {
    std::string request = seeds[random() % seeds.size()];
    for (std::uint32_t edit = random() % 4; edit > 0; --edit) {
      const std::size_t at = random() % (request.size() + 1);
      switch (random() % 5) {
        case 0:
          request.insert(at, 1, static_cast<char>(random()));
          break;
        case 1:
          request.erase(at, random() % 8);
          break;
        case 2:
          request.insert(at, request, random() % (request.size() + 1), random() % 64);
          break;
        case 3:
          request.insert(at, std::string(random() % 3000, static_cast<char>(random())));
          break;
        default:
          request.replace(at, 1, 1, "\r\n :;%/.0fF\xff"[random() % 13]);
      }
    }
    HttpClient client = server.connect();
    client.send(request);
    client.end_sending();
    ASSERT_TRUE(client.wait_for_end()) << "seed " << kSeed << ", run " << run;
    const std::string& answer = client.input();
    if (!answer.empty()) {
      ASSERT_TRUE(answer.starts_with("HTTP/1.1 2") || answer.starts_with("HTTP/1.1 4") ||
                  answer.starts_with("HTTP/1.1 100"))
          << "seed " << kSeed << ", run " << run << ": " << answer.substr(0, 100);
    }
  }
  EXPECT_EQ(server.connect().ask(http_request("GET", "/hello")).body, "hello");
  EXPECT_TRUE(server.problems().empty());
}

}  // namespace
}  // namespace fathom::http
