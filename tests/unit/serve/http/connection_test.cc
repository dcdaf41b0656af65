#include "fathom/serve/http/connection.h"

#include <thread>

#include <gtest/gtest.h>

#include "tests/support/counter.h"
#include "tests/support/http_server.h"

namespace fathom::http {
namespace {

using test::Counter;
using test::http_request;
using test::HttpClient;
using test::HttpResponse;
using test::HttpServer;

TEST(Connection, PipelinedRequestsAreAnsweredInOrder) {
  HttpServer server;
  HttpClient client = server.connect();
  client.send(http_request("POST", "/hold", "first") + http_request("POST", "/echo", "second") +
              http_request("GET", "/hello"));
  server.take_held()->respond({.body = "held"});
  EXPECT_EQ(client.read_response().body, "held");
  EXPECT_EQ(client.read_response().body, "second");
  EXPECT_EQ(client.read_response().body, "hello");
}

TEST(Connection, RequestsThatComeByteByByteAreRead) {
  HttpServer server;
  HttpClient client = server.connect();
  for (const char byte :
       http_request("POST", "/echo", "body") + "\r\n" + http_request("GET", "/hello")) {
    ASSERT_TRUE(client.send({&byte, 1}));
  }
  EXPECT_EQ(client.read_response().body, "body");
  EXPECT_EQ(client.read_response().body, "hello");
}

// What does not fit is thrown away, never answered in part: the client asks again elsewhere.
TEST(Connection, PipeliningBeyondItsLimitClosesBehindTheAnswer) {
  HttpServer server({.connection = {.pipelined_bytes = 1000}});
  HttpClient client = server.connect();
  client.send(http_request("POST", "/hold", "first"));
  const ExchangePtr held = server.take_held();
  for (int i = 0; i < 1000; ++i) {
    client.send(http_request("GET", "/hello"));
  }
  // The last of it may still be on its way, so the answer may be the last of its connection or not.
  held->respond({.body = "held"});
  EXPECT_EQ(client.read_response().body, "held");
  int num_answered = 0;
  while (client.read_response().status == 200) {
    ++num_answered;
  }
  EXPECT_LT(num_answered, 1000);
  EXPECT_EQ(server.connect().ask(http_request("GET", "/hello")).status, 200);
}

TEST(Connection, Http10EndsWithTheAnswerAndStreamsWithoutChunks) {
  HttpServer server;
  HttpClient client = server.connect();
  const HttpResponse response = client.ask("POST /stream HTTP/1.0\r\n\r\n");
  EXPECT_EQ(response.headers.at("connection"), "close");
  EXPECT_FALSE(response.headers.contains("transfer-encoding"));
  EXPECT_EQ(response.body, "data: a\n\ndata: b\n\ndata: c\n\n");
}

TEST(Connection, ClosesWhenTheClientAsksForIt) {
  HttpServer server;
  HttpClient client = server.connect();
  const HttpResponse response =
      client.ask(http_request("GET", "/hello", "", "Connection: close\r\n"));
  EXPECT_EQ(response.headers.at("connection"), "close");
  EXPECT_TRUE(client.wait_for_end());
}

TEST(Connection, HeadHasTheHeadersOfGetAndNoBody) {
  HttpServer server;
  HttpClient client = server.connect();
  const HttpResponse response = client.ask(http_request("HEAD", "/hello"), true);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.at("content-length"), "5");
  EXPECT_EQ(client.ask(http_request("GET", "/hello")).body, "hello");
}

TEST(Connection, ContinueIsSaidToWhoWaitsForIt) {
  HttpServer server;
  HttpClient client = server.connect();
  EXPECT_EQ(client
                .ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                     "Expect: 100-continue\r\n\r\n")
                .status,
            100);
  EXPECT_EQ(client.ask("body").body, "body");
  EXPECT_EQ(client.ask(http_request("POST", "/echo", "x", "Expect: magic\r\n")).status, 417);
}

TEST(Connection, ContinueIsNotSaidToWhatIsRefused) {
  HttpServer server;
  HttpClient client = server.connect();
  EXPECT_EQ(client
                .ask("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                     "Expect: 100-continue\r\n\r\n")
                .status,
            404);
}

TEST(Connection, ChunkedBodiesAreJoinedAndTheirTrailersLeftOut) {
  HttpServer server;
  HttpClient client = server.connect();
  const HttpResponse response = client.ask(
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n");
  EXPECT_EQ(response.body, "abc0123456789");
  EXPECT_EQ(client.ask(http_request("GET", "/hello")).body, "hello");
}

TEST(Connection, TwoGigabytesAreRefusedBeforeTheyAreRead) {
  HttpServer server;
  HttpClient client = server.connect();
  const HttpResponse response = client.ask(
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2147483648\r\n"
      "Expect: 100-continue\r\n\r\n");
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(response.headers.at("connection"), "close");
}

// A client that does not wait gets to read the answer: the rest is read and thrown away.
TEST(Connection, WhoSendsTooMuchStillReadsWhy) {
  HttpServer server({.connection = {.parser = {.body_bytes = 100'000}}});
  HttpClient client = server.connect();
  ASSERT_TRUE(client.send("POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
  const std::string chunk = "4000\r\n" + std::string(0x4000, 'x') + "\r\n";
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(client.send(chunk));
  }
  EXPECT_EQ(client.read_response().status, 413);
  EXPECT_TRUE(client.wait_for_end());
  EXPECT_FALSE(client.was_reset());
  HttpClient other = server.connect();
  other.send("POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 6; ++i) {
    other.send(chunk);
  }
  EXPECT_EQ(other.ask("0\r\n\r\n").body, "98304");
}

TEST(Connection, HeadersBeyondTheirLimitsAreRefused) {
  HttpServer server({.connection = {.parser = {.header_bytes = 4096, .num_headers = 20}}});
  EXPECT_EQ(server.connect()
                .ask(http_request("GET", "/hello", "", "X: " + std::string(5000, 'x') + "\r\n"))
                .status,
            431);
  std::string many;
  for (int i = 0; i < 21; ++i) {
    many.append("X: y\r\n");
  }
  EXPECT_EQ(server.connect().ask(http_request("GET", "/hello", "", many)).status, 431);
  EXPECT_EQ(server.connect().ask("GET /" + std::string(5000, 'x')).status, 414);
  // Without an end, a megabyte of headers is read no further either.
  HttpClient endless = server.connect();
  endless.send("GET /hello HTTP/1.1\r\n");
  std::string line(1000, 'x');
  line.append(": y\r\n");
  for (int i = 0; i < 1000 && endless.send(line); ++i) {
  }
  EXPECT_EQ(endless.read_response().status, 431);
}

TEST(Connection, SlowHeadersAndBodiesTimeOutWhileOthersAreServed) {
  HttpServer server(
      {.connection = {.header_timeout = Milliseconds(300), .body_timeout = Milliseconds(300)}});
  std::vector<HttpClient> slow;
  for (int i = 0; i < 20; ++i) {
    slow.push_back(server.connect());
    slow.back().send(i % 2 == 0 ? "GET /hello HTTP/1.1\r\nHo"
                                : "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab");
  }
  HttpClient quick = server.connect();
  EXPECT_EQ(quick.ask(http_request("GET", "/hello")).status, 200);
  for (HttpClient& client : slow) {
    EXPECT_EQ(client.read_response().status, 408);
    EXPECT_TRUE(client.wait_for_end());
  }
}

TEST(Connection, ByteAfterByteDoesNotExtendTheTimeOfHeaders) {
  HttpServer server(
      {.connection = {.header_timeout = Milliseconds(300), .linger_timeout = Milliseconds(100)}});
  HttpClient client = server.connect();
  client.send("GET /hello HTTP/1.1\r\n");
  const auto start = std::chrono::steady_clock::now();
  while (client.send("x") && std::chrono::steady_clock::now() - start < std::chrono::seconds(30)) {
    usleep(10'000);
  }
  EXPECT_EQ(client.read_response().status, 408);
}

TEST(Connection, IdleOnesAreClosed) {
  HttpServer server(
      {.connection = {.header_timeout = Milliseconds(100), .idle_timeout = Milliseconds(100)}});
  HttpClient silent = server.connect();
  HttpClient client = server.connect();
  EXPECT_EQ(client.ask(http_request("GET", "/hello")).status, 200);
  EXPECT_TRUE(client.wait_for_end());
  EXPECT_TRUE(silent.wait_for_end());
  EXPECT_EQ(silent.input(), "");
}

// How a client goes: it closes, it is killed, it has only ended its own side.
enum class Leaving { Close, Reset, HalfClose };

class LeavingClients : public ::testing::TestWithParam<Leaving> {};

void leave(HttpClient& client, Leaving how) {
  switch (how) {
    case Leaving::Close:
      return client.close_now();
    case Leaving::Reset:
      return client.reset();
    case Leaving::HalfClose:
      return client.end_sending();
  }
}

TEST_P(LeavingClients, AreNoticedOnceWhileAnAnswerIsMade) {
  HttpServer server;
  HttpClient client = server.connect();
  client.send(http_request("POST", "/hold", "x"));
  const ExchangePtr held = server.take_held();
  Counter gone;
  held->on_disconnect([&] { gone.add(); });
  leave(client, GetParam());
  EXPECT_TRUE(gone.wait_for(1));
  held->respond({.body = "late"});
  Counter at_once;
  EXPECT_EQ(server.wait_for_records(1).size(), 1U);
  EXPECT_EQ(gone.count(), 1);
}

TEST_P(LeavingClients, AreNoticedOnceInAStream) {
  HttpServer server;
  HttpClient client = server.connect();
  client.send(http_request("POST", "/hold", "x"));
  const ExchangePtr held = server.take_held();
  held->begin_events({}, nullptr);
  held->send("data: 1\n\n");
  ASSERT_TRUE(client.wait_for("data: 1"));
  Counter gone;
  held->on_disconnect([&] { gone.add(); });
  leave(client, GetParam());
  EXPECT_TRUE(gone.wait_for(1));
  held->send("data: 2\n\n");
  held->end_events();
  EXPECT_EQ(server.wait_for_records(1).size(), 1U);
  EXPECT_EQ(gone.count(), 1);
}

TEST_P(LeavingClients, AreNoticedByWhoAsksLater) {
  HttpServer server;
  HttpClient client = server.connect();
  client.send(http_request("POST", "/hold", "x"));
  const ExchangePtr held = server.take_held();
  Counter gone;
  held->on_disconnect([&] { gone.add(); });
  leave(client, GetParam());
  ASSERT_TRUE(gone.wait_for(1));
  held->on_disconnect([&] { gone.add(); });
  EXPECT_EQ(gone.count(), 2);
}

INSTANTIATE_TEST_SUITE_P(Connection,
                         LeavingClients,
                         ::testing::Values(Leaving::Close, Leaving::Reset, Leaving::HalfClose));

TEST(Connection, WhoEndsItsOwnSideStillReadsTheAnswer) {
  HttpServer server;
  HttpClient client = server.connect();
  client.send(http_request("GET", "/hello"));
  client.end_sending();
  EXPECT_EQ(client.read_response().body, "hello");
  EXPECT_TRUE(client.wait_for_end());
  HttpClient incomplete = server.connect();
  incomplete.send("GET /hel");
  incomplete.end_sending();
  EXPECT_EQ(incomplete.read_response().status, 400);
}

TEST(Connection, NobodyIsToldOfALeavingClientAfterTheAnswer) {
  HttpServer server;
  HttpClient client = server.connect();
  client.send(http_request("POST", "/hold", "x"));
  const ExchangePtr held = server.take_held();
  Counter gone;
  held->on_disconnect([&] { gone.add(); });
  held->respond({.body = "done"});
  held->on_disconnect([&] { gone.add(); });
  EXPECT_EQ(client.read_response().body, "done");
  client.close_now();
  while (server->num_connections() > 0) {
    usleep(1000);
  }
  EXPECT_EQ(gone.count(), 0);
}

TEST(Connection, DroppedExchangesAreAnswered500) {
  HttpServer server;
  HttpClient client = server.connect();
  client.send(http_request("POST", "/hold", "x"));
  server.take_held().reset();
  EXPECT_EQ(client.read_response().status, 500);
  EXPECT_EQ(client.ask(http_request("GET", "/throw")).status, 500);
  EXPECT_EQ(server.problems(),
            std::vector<std::string>{"the handler of /throw failed: out of luck"});
}

TEST(Connection, AStreamThatIsDroppedLacksItsEnd) {
  HttpServer server;
  HttpClient client = server.connect();
  client.send(http_request("POST", "/hold", "x"));
  ExchangePtr held = server.take_held();
  held->begin_events({}, nullptr);
  held->send("data: 1\n\n");
  ASSERT_TRUE(client.wait_for("data: 1"));
  held.reset();
  const HttpResponse response = client.read_response();
  EXPECT_EQ(response.body, "data: 1\n\n");
  EXPECT_FALSE(response.is_complete);
}

TEST(Connection, SilentStreamsAreKeptAlive) {
  HttpServer server({.connection = {.keep_alive_interval = Milliseconds(20)}});
  HttpClient client = server.connect();
  client.send(http_request("POST", "/hold", "x"));
  const ExchangePtr held = server.take_held();
  held->begin_events({}, [] { return std::string(": ping\n\n"); });
  EXPECT_TRUE(client.wait_for(": ping\n\n\r\n8\r\n: ping"));
  held->send("data: 1\n\n");
  held->end_events();
  const HttpResponse response = client.read_response();
  EXPECT_TRUE(response.is_complete);
  EXPECT_TRUE(response.body.starts_with(": ping\n\n: ping\n\n"));
  EXPECT_TRUE(response.body.ends_with("data: 1\n\n"));
}

TEST(Connection, LongAnswersAreKeptAliveWithWhiteSpace) {
  HttpServer server({.connection = {.padding_interval = Milliseconds(20)}});
  HttpClient client = server.connect();
  client.send(http_request("POST", "/hold", "x"));
  const ExchangePtr held = server.take_held();
  ASSERT_TRUE(client.wait_for("1\r\n\n\r\n1\r\n\n\r\n"));
  held->respond({.body = "{\"a\":1}"});
  const HttpResponse response = client.read_response();
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.is_complete);
  EXPECT_EQ(response.headers.at("content-type"), "application/json");
  EXPECT_EQ(response.body.substr(response.body.find_first_not_of('\n')), "{\"a\":1}");
  EXPECT_EQ(client.ask(http_request("GET", "/hello")).body, "hello");
}

// While its handler works, a request may still become a stream.
TEST(Connection, NoWhiteSpaceIsSentBeforeTheHandlerReturns) {
  HttpServer server({.connection = {.padding_interval = Milliseconds(10)}});
  HttpClient client = server.connect();
  const HttpResponse response = client.ask(http_request("POST", "/slow_stream", "{}"));
  EXPECT_EQ(response.headers.at("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(response.body, "data: a\n\n");
}

TEST(Connection, ASlowReaderIsDroppedAndDelaysNobody) {
  HttpServer server({.network = {.num_io_threads = 1, .num_handler_threads = 1},
                     .connection = {.outbox_bytes = 1 << 20}});
  HttpClient slow = server.connect(4096);
  slow.send(http_request("POST", "/hold", "x"));
  const ExchangePtr slow_exchange = server.take_held();
  HttpClient quick = server.connect();
  quick.send(http_request("POST", "/hold", "x"));
  const ExchangePtr quick_exchange = server.take_held();

  Counter gone;
  slow_exchange->on_disconnect([&] { gone.add(); });
  slow_exchange->begin_events({}, nullptr);
  quick_exchange->begin_events({}, nullptr);
  const std::string chunk(64 << 10, 'x');
  int num_chunks = 0;
  for (; gone.count() == 0 && num_chunks < 1000; ++num_chunks) {
    slow_exchange->send(chunk);
    const std::string event = "data: " + std::to_string(num_chunks) + "\n\n";
    quick_exchange->send(event);
    ASSERT_TRUE(quick.wait_for(event));
  }
  EXPECT_EQ(gone.count(), 1);
  // What the system's buffers take, and ours.
  EXPECT_LT(num_chunks, 200);
  quick_exchange->end_events();
  EXPECT_TRUE(quick.read_response().is_complete);
  bool is_logged = false;
  for (const AccessRecord& record : server.wait_for_records(2)) {
    is_logged = is_logged || record.problem == "the client reads too slowly";
  }
  EXPECT_TRUE(is_logged);
}

TEST(Connection, AnAnswerThatIsNotReadIsGivenUp) {
  HttpServer server({.connection = {.write_timeout = Milliseconds(200)}});
  HttpClient client = server.connect(4096);
  client.send(http_request("POST", "/hold", "x"));
  server.take_held()->respond({.body = std::string(std::size_t{32} << 20, 'x')});
  const std::vector<AccessRecord> records = server.wait_for_records(1);
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].problem, "the client reads too slowly");
}

TEST(Connection, LargeBodiesArriveWhole) {
  HttpServer server;
  HttpClient client = server.connect();
  std::string body(std::size_t{8} << 20, ' ');
  for (std::size_t i = 0; i < body.size(); ++i) {
    body[i] = static_cast<char>('a' + i % 23);
  }
  std::jthread sender([&] { client.send(http_request("POST", "/hold", body)); });
  const ExchangePtr held = server.take_held();
  sender.join();
  EXPECT_EQ(held->request().body, body);
  held->respond({.body = body});
  EXPECT_EQ(client.read_response().body, body);
}

TEST(Connection, RequestsThatTwoReadersUnderstandDifferentlyAreRefused) {
  HttpServer server;
  const std::string head = "POST /echo HTTP/1.1\r\nHost: x\r\n";
  for (const char* headers :
       {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "Content-Length: -1\r\n\r\n",
        "Content-Length: 99999999999999999999\r\n\r\n", "Content-Length: 3x\r\n\r\nabc",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "Host: y\r\n\r\n",
        "X-Folded: a\r\n b\r\nContent-Length : 3\r\n\r\nabc", "\x01: x\r\n\r\n"}) {
    const HttpResponse response = server.connect().ask(head + headers);
    EXPECT_EQ(response.status, 400) << headers;
  }
  for (const char* request :
       {"GET /hello HTTP/1.1\r\n\r\n", "GET /hello HTTP/3.0\r\nHost: x\r\n\r\n", "GET\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "GET hello HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /names/../hello HTTP/1.1\r\nHost: x\r\n\r\n"}) {
    EXPECT_EQ(server.connect().ask(request).status, 400) << request;
  }
}

}  // namespace
}  // namespace fathom::http
