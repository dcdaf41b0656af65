#include "fathom/serve/http/answer.h"

#include <thread>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::http {
namespace {

struct Made {
  explicit Made(Index max_pending_bytes = 1000)
      : answer(std::make_shared<Answer>(max_pending_bytes, [this] { ++num_wakes; })),
        exchange(make_exchange(std::make_shared<Request>(), answer)) {}

  int num_wakes = 0;
  std::shared_ptr<Answer> answer;
  ExchangePtr exchange;
};

TEST(Answer, ChunksThatWaitAreTakenTogetherAfterOneWake) {
  Made made;
  made.exchange->begin_events({{"a", "b"}}, nullptr);
  made.exchange->send("one ");
  made.exchange->send("two");
  EXPECT_EQ(made.num_wakes, 1);
  Answer::Taken taken = made.answer->take();
  EXPECT_EQ(taken.event_headers.value().at(0).name, "a");
  EXPECT_EQ(taken.bytes, "one two");
  EXPECT_FALSE(taken.is_complete);
  made.exchange->end_events();
  EXPECT_EQ(made.num_wakes, 2);
  EXPECT_TRUE(made.answer->take().is_complete);
}

TEST(Answer, WhatWasTakenAndNotYetSentCountsAsWaiting) {
  Made made(10);
  made.exchange->begin_events({}, nullptr);
  made.exchange->send("123456");
  EXPECT_EQ(made.answer->take().bytes, "123456");
  made.exchange->send("1234");
  EXPECT_FALSE(made.answer->is_too_slow());
  made.exchange->send("5");
  EXPECT_TRUE(made.answer->is_too_slow());
  EXPECT_EQ(made.num_wakes, 3);
  made.exchange->send("more");
  EXPECT_EQ(made.answer->take().bytes, "");
}

TEST(Answer, AnsweringTwiceIsABug) {
  Made made;
  made.exchange->respond({});
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "bug in Fathom",
                                  [&] { made.exchange->respond({}); }));
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::Internal, "bug in Fathom", [&] { made.exchange->send("x"); }));
}

TEST(Answer, ACallbackMayHoldItsExchange) {
  Made made;
  std::weak_ptr<Exchange> watched = made.exchange;
  made.exchange->on_disconnect([held = made.exchange] {});
  made.exchange->begin_events({}, [held = made.exchange] { return std::string(); });
  made.exchange->end_events();
  made.exchange.reset();
  EXPECT_TRUE(watched.expired());
}

TEST(Answer, ACallbackMayAnswerAndDropItsExchange) {
  Made made;
  int num_calls = 0;
  made.exchange->on_disconnect([&made, &num_calls] {
    ++num_calls;
    made.exchange->respond({});
    made.exchange.reset();
  });
  made.answer->disconnect();
  made.answer->disconnect();
  EXPECT_EQ(num_calls, 1);
}

TEST(Answer, DisconnectingAndAnsweringAtOnceCallsAtMostOnce) {
  for (int run = 0; run < 500; ++run) {
    Made made;
    std::atomic<int> num_calls = 0;
    made.exchange->on_disconnect([&] { ++num_calls; });
    {
      const std::jthread first([&] { made.answer->disconnect(); });
      const std::jthread second([&] { made.answer->client_stopped_listening(); });
      made.exchange->respond({});
    }
    EXPECT_LE(num_calls, 1);
  }
}

}  // namespace
}  // namespace fathom::http
