#include "fathom/serve/wire/conversation_store.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::wire {
namespace {

StoredConversation document(std::string text) {
  return {.document = std::move(text)};
}

TEST(ConversationStore, FindsByEachIdOfItsOwnerOnly) {
  ConversationStore store(10, 1 << 20);
  store.put("ann", {"resp_1", "call_1"}, document("a"));
  ASSERT_NE(store.find("ann", "resp_1"), nullptr);
  EXPECT_EQ(store.find("ann", "call_1")->document, "a");
  EXPECT_EQ(store.find("bob", "resp_1"), nullptr);
  EXPECT_EQ(store.find("", "resp_1"), nullptr);
  EXPECT_FALSE(store.erase("bob", "call_1"));
  EXPECT_TRUE(store.erase("ann", "call_1"));
  EXPECT_EQ(store.find("ann", "resp_1"), nullptr);
  EXPECT_EQ(store.size(), 0);
  EXPECT_EQ(store.bytes(), 0);
}

TEST(ConversationStore, ForgetsWhatWasNotAskedForLongest) {
  ConversationStore store(2, 1 << 20);
  store.put("", {"a"}, document("a"));
  store.put("", {"b"}, document("b"));
  ASSERT_NE(store.find("", "a"), nullptr);
  store.put("", {"c"}, document("c"));
  EXPECT_EQ(store.size(), 2);
  EXPECT_NE(store.find("", "a"), nullptr);
  EXPECT_EQ(store.find("", "b"), nullptr);
  EXPECT_NE(store.find("", "c"), nullptr);
}

TEST(ConversationStore, StaysWithinItsBytesWhateverIsPut) {
  constexpr std::int64_t kBytes = 100'000;
  ConversationStore store(1'000'000, kBytes);
  for (int i = 0; i < 2000; ++i) {
    StoredConversation stored = document(std::string(static_cast<std::size_t>(i * 37 % 5000), 'x'));
    stored.conversation.messages.push_back(
        {.content = {{.text = std::string(static_cast<std::size_t>(i % 700), 'y')}}});
    store.put("", {"id_" + std::to_string(i)}, std::move(stored));
    ASSERT_LE(store.bytes(), kBytes);
    ASSERT_GT(store.size(), 0);
  }
  const Index before = store.size();
  store.put("", {"huge"}, document(std::string(kBytes, 'x')));
  EXPECT_EQ(store.find("", "huge"), nullptr);
  EXPECT_EQ(store.size(), before) << "what is not kept must not push others out";
}

TEST(ConversationStore, CountsTextOfEveryKind) {
  const std::string text(1000, 'x');
  const auto bytes_with = [](const text::Message& message) {
    ConversationStore store(10, 1 << 20);
    store.put("", {"a"}, {.conversation = {.messages = {message}}});
    return store.bytes();
  };
  const std::int64_t base = bytes_with({});
  EXPECT_GE(bytes_with({.content = {{.text = text}}}), base + 1000);
  EXPECT_GE(bytes_with({.reasoning = text}), base + 1000);
  EXPECT_GE(bytes_with({.tool_calls = {{.id = {}, .name = {}, .arguments = text}}}), base + 1000);
  EXPECT_GE(bytes_with({.tools = {{.name = {}, .function_json = text}}}), base + 1000);
  EXPECT_GE(bytes_with({.response_format = text}), base + 1000);
}

TEST(ConversationStore, AnIdThatComesAgainStandsForTheLater) {
  ConversationStore store(10, 1 << 20);
  store.put("", {"a", "b"}, document("1"));
  store.put("", {"b", "b"}, document("2"));
  EXPECT_EQ(store.find("", "b")->document, "2");
  EXPECT_EQ(store.find("", "a"), nullptr);
  EXPECT_EQ(store.size(), 1);
}

TEST(ConversationStore, SwitchedOffItKeepsNothing) {
  ConversationStore none(0, 1 << 20);
  ConversationStore no_bytes(10, 0);
  for (ConversationStore* store : {&none, &no_bytes}) {
    EXPECT_FALSE(store->is_on());
    store->put("", {"a"}, document("a"));
    EXPECT_EQ(store->find("", "a"), nullptr);
  }
}

TEST(ConversationStore, ThreadsMayUseItAtOnce) {
  ConversationStore store(50, 1 << 20);
  std::atomic<int> num_wrong = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&store, &num_wrong, thread] {
      for (int i = 0; i < 2000; ++i) {
        const std::string id = std::to_string(i % 40);
        store.put(std::to_string(thread), {id}, document(std::to_string(thread) + "/" + id));
        const StoredConversationPtr found = store.find(std::to_string(thread), id);
        num_wrong += found && found->document != std::to_string(thread) + "/" + id ? 1 : 0;
        if (i % 7 == 0) {
          store.erase(std::to_string(thread), id);
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(num_wrong, 0);
  EXPECT_LE(store.size(), 50);
}

}  // namespace
}  // namespace fathom::wire
