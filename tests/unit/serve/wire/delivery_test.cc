#include "fathom/serve/wire/delivery.h"

#include <atomic>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/base/core/error.h"

#include "tests/support/fake_exchange.h"

namespace fathom::wire {
namespace {

using engine::GenerateEvent;
using engine::PromptProgress;
using engine::RequestEnd;
using engine::RequestId;

// Runs `on_submit` with each request's sink, inside submit().
class ScriptedEngine : public engine::Engine {
 public:
  const engine::ModelLimits& limits() const override { return limits_; }
  const engine::TextServices& text() const override { throw std::logic_error("no text"); }
  RequestId submit(engine::PreparedRequest /*request*/, engine::EventSink sink) override {
    if (num_submitted == num_accepted) {
      fail(ErrorCode::Overloaded, "the queue is full");
    }
    const auto id = static_cast<RequestId>(++num_submitted);
    if (on_submit) {
      on_submit(sink);
    }
    sinks.push_back(std::move(sink));
    return id;
  }
  void cancel(RequestId id) noexcept override { cancelled.push_back(id); }
  engine::EngineStats stats() const override { return {}; }

  std::uint64_t num_accepted = 8;
  std::uint64_t num_submitted = 0;
  std::function<void(const engine::EventSink& sink)> on_submit;
  std::vector<engine::EventSink> sinks;
  std::vector<RequestId> cancelled;

 private:
  engine::ModelLimits limits_;
};

// Notes the order of calls: "begin", then request and number of each progress.
class NotingWriter : public ReplyWriter {
 public:
  void begin() override {
    notes.push_back("begin");
    if (on_begin) {
      on_begin();
    }
  }
  void on_event(Index request_idx, GenerateEvent&& event) override {
    const auto* const progress = std::get_if<PromptProgress>(&event);
    notes.push_back(std::to_string(request_idx) + ":" +
                    (progress == nullptr ? "end" : std::to_string(progress->num_computed)));
  }
  std::vector<std::string> notes;
  std::function<void()> on_begin;
};

std::vector<engine::PreparedRequest> requests(std::size_t count) {
  return std::vector<engine::PreparedRequest>(count);
}

TEST(Delivery, TheAnswerBeginsBeforeEventsThatCameDuringSubmission) {
  const auto engine = std::make_shared<ScriptedEngine>();
  engine->on_submit = [](const engine::EventSink& sink) {
    sink(PromptProgress{.num_computed = 1});
    sink(PromptProgress{.num_computed = 2});
  };
  const auto writer = std::make_shared<NotingWriter>();
  deliver(std::make_shared<test::FakeExchange>(http::Request{}), engine, requests(2), writer);
  engine->sinks[1](RequestEnd{});
  EXPECT_EQ(writer->notes,
            (std::vector<std::string>{"begin", "0:1", "0:2", "1:1", "1:2", "1:end"}));
}

TEST(Delivery, EventsOfAnotherThreadStayInOrderWhileTheAnswerBegins) {
  for (int round = 0; round < 50; ++round) {
    const auto engine = std::make_shared<ScriptedEngine>();
    std::thread thread;
    engine->on_submit = [&thread](const engine::EventSink& sink) {
      thread = std::thread([sink] {
        for (Index i = 0; i < 200; ++i) {
          sink(PromptProgress{.num_computed = i});
        }
      });
    };
    const auto writer = std::make_shared<NotingWriter>();
    deliver(std::make_shared<test::FakeExchange>(http::Request{}), engine, requests(1), writer);
    thread.join();
    ASSERT_EQ(writer->notes.size(), 201U);
    EXPECT_EQ(writer->notes[0], "begin");
    for (std::size_t i = 1; i < writer->notes.size(); ++i) {
      ASSERT_EQ(writer->notes[i], "0:" + std::to_string(i - 1));
    }
  }
}

TEST(Delivery, AFullQueueAnswersNothingAndLeavesNothingBehind) {
  const auto engine = std::make_shared<ScriptedEngine>();
  engine->num_accepted = 2;
  const auto writer = std::make_shared<NotingWriter>();
  EXPECT_THROW(
      deliver(std::make_shared<test::FakeExchange>(http::Request{}), engine, requests(3), writer),
      Error);
  EXPECT_TRUE(writer->notes.empty());
  EXPECT_EQ(engine->cancelled, (std::vector<RequestId>{RequestId{1}, RequestId{2}}));
}

TEST(Delivery, ADisconnectCancelsEveryRequestAlsoWhenItCameFirst) {
  const auto engine = std::make_shared<ScriptedEngine>();
  const auto exchange = std::make_shared<test::FakeExchange>(http::Request{});
  deliver(exchange, engine, requests(2), std::make_shared<NotingWriter>());
  EXPECT_TRUE(engine->cancelled.empty());
  exchange->disconnect();
  EXPECT_EQ(engine->cancelled.size(), 2U);

  const auto gone = std::make_shared<test::FakeExchange>(http::Request{});
  gone->disconnect();
  deliver(gone, engine, requests(1), std::make_shared<NotingWriter>());
  EXPECT_EQ(engine->cancelled.size(), 3U);
}

TEST(Delivery, NothingKeepsAnAnsweredExchangeAlive) {
  const auto engine = std::make_shared<ScriptedEngine>();
  auto exchange = std::make_shared<test::FakeExchange>(http::Request{});
  auto writer = std::make_shared<NotingWriter>();
  writer->on_begin = [exchange] {};  // as a writer does that answers through it
  deliver(exchange, engine, requests(1), writer);
  const std::weak_ptr<test::FakeExchange> weak = exchange;
  exchange.reset();
  writer.reset();
  EXPECT_FALSE(weak.expired());
  engine->sinks.clear();  // the request ended
  EXPECT_TRUE(weak.expired());
}

TEST(AnsweringErrors, EveryExceptionIsAnAnswerInTheVendorsShape) {
  const auto status_of = [](const http::Handler& throwing, ErrorShape shape) {
    const auto exchange = std::make_shared<test::FakeExchange>(http::Request{});
    answering_errors(throwing, shape)(exchange);
    return exchange->response().value();
  };
  const http::Handler full = [](const auto&) { fail(ErrorCode::Overloaded, "full"); };
  const http::Response response = status_of(full, ErrorShape::OpenAi);
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.body, R"({"error":{"message":"full","type":"rate_limit_error","param":null,)"
                           R"("code":"rate_limit_exceeded"}})");
  EXPECT_EQ(response.headers.at(0).name, "Retry-After");
  EXPECT_NE(status_of(full, ErrorShape::Anthropic).body.find(R"({"type":"error")"),
            std::string::npos);
  const http::Handler bug = [](const auto&) { throw std::logic_error("bug"); };
  EXPECT_EQ(status_of(bug, ErrorShape::OpenAi).status, 500);
  const http::Handler hungry = [](const auto&) { throw std::bad_alloc(); };
  EXPECT_EQ(status_of(hungry, ErrorShape::OpenAi).status, 503);
}

}  // namespace
}  // namespace fathom::wire
