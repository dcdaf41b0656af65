#include "fathom/model/text/conversation_json.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::text {
namespace {

using testing::fails_with;

ConversationFile read(std::string_view json) {
  return read_conversation(json, "test.json");
}

TEST(ReadConversation, AListIsTheEncodersInput) {
  const ConversationFile file = read(
      R"([{"role":"developer","content":"d","task":"query"},
          {"role":"assistant","reasoning_content":"r","wo_eos":true,"tool_calls":[
             {"id":"c","function":{"name":"f","arguments":{"a": 1.50}}},
             {"function":{"name":"g"}}]},
          {"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"t"},{"type":"x"}]}])");
  const std::vector<Message>& messages = file.conversation.messages;
  ASSERT_EQ(messages.size(), 3U);
  EXPECT_EQ(messages[0].role, Role::Developer);
  EXPECT_EQ(messages[0].task, Task::Query);
  EXPECT_EQ(messages[1].reasoning, "r");
  EXPECT_EQ(messages[1].ending, Ending::WithoutEos);
  ASSERT_EQ(messages[1].tool_calls.size(), 2U);
  EXPECT_EQ(messages[1].tool_calls[0].arguments, R"({"a": 1.5})");
  EXPECT_EQ(messages[1].tool_calls[1].id, "");
  EXPECT_EQ(messages[1].tool_calls[1].arguments, "");
  EXPECT_EQ(messages[2].tool_call_id, "c");
  EXPECT_EQ(text_of(messages[2]), "t\n\n[Unsupported x]");
  EXPECT_EQ(file.conversation.system_messages, SystemMessages::AsGiven);
  EXPECT_TRUE(file.options.thinking);
  EXPECT_FALSE(file.options.effort);
}

TEST(ReadConversation, ArgumentsOfTheEncoderAreRead) {
  const ConversationFile file = read(
      R"({"messages":[{"role":"user"}],"thinking_mode":"chat","name":"x","ids":[1],
          "kwargs":{"reasoning_effort":"max","drop_thinking":false,"add_default_bos_token":false,
                    "context":[{"role":"user","content":"before"}]}})");
  EXPECT_FALSE(file.options.thinking);
  EXPECT_EQ(file.options.effort, "max");
  EXPECT_FALSE(file.options.drop_thinking);
  EXPECT_FALSE(file.options.add_bos);
  ASSERT_EQ(file.conversation.context.size(), 1U);
  EXPECT_EQ(text_of(file.conversation.context[0]), "before");
}

TEST(ReadConversation, AToolMayBeStrict) {
  const ConversationFile file = read(
      R"({"messages":[],"tools":[{"function":{"name":"f","strict":null}},
          {"function":{"name":"g","strict":true,"parameters":{"type":"object"}}}]})");
  EXPECT_FALSE(file.conversation.tools[0].is_strict);
  EXPECT_TRUE(file.conversation.tools[1].is_strict);
  EXPECT_EQ(file.conversation.tools[1].schema_field, "tools[1].function.parameters");
}

TEST(ReadConversation, ARequestFoldsSystemMessagesAndContinuesAReply) {
  const ConversationFile file = read(
      R"({"model":"m","stream":true,"messages":[{"role":"developer","content":"d"},
          {"role":"user","name":"u","content":"q"},{"role":"assistant","content":"beg"}],
          "tools":[{"type":"function","function":{"name":"f","z":1,"a":2}}],
          "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"b":1}}}})");
  EXPECT_EQ(file.conversation.system_messages, SystemMessages::Folded);
  EXPECT_EQ(file.conversation.messages[0].role, Role::System);
  EXPECT_EQ(file.conversation.messages[2].ending, Ending::Prefix);
  ASSERT_EQ(file.conversation.tools.size(), 1U);
  EXPECT_EQ(file.conversation.tools[0].function_json, R"({"name": "f", "z": 1, "a": 2})");
  EXPECT_FALSE(file.conversation.tools[0].is_strict);
  EXPECT_EQ(file.conversation.response_format, R"({"b": 1})");
  EXPECT_EQ(file.options.effort, "high");
}

TEST(ReadConversation, OrdinaryResponseFormatsNeedNoText) {
  for (const std::string_view json :
       {R"({"messages":[],"response_format":{"type":"text"}})",
        R"({"messages":[],"response_format":{"type":"json_object"}})"}) {
    EXPECT_EQ(read(json).conversation.response_format, "") << json;
  }
}

TEST(ReadConversation, ClientsSwitchThinkingInFourWays) {
  const std::vector<std::pair<std::string_view, bool>> cases = {
      {R"("model":"m"})", true},
      {R"("model":"deepseek-chat"})", false},
      {R"("model":"deepseek-chat","thinking":{"type":"enabled"}})", true},
      {R"("model":"m","thinking":{"type":"disabled"}})", false},
      {R"("model":"m","reasoning_effort":"none"})", false},
      {R"("model":"m","reasoning_effort":"low"})", true},
      {R"("model":"m","chat_template_kwargs":{"thinking":false}})", false},
      {R"("model":"m","chat_template_kwargs":{"enable_thinking":false},"reasoning_effort":"low"})",
       false},
  };
  for (const auto& [tail, expected] : cases) {
    std::string json = R"({"messages":[{"role":"user"}],)";
    json += tail;
    EXPECT_EQ(read(json).options.thinking, expected) << tail;
  }
}

TEST(ReadChatRequest, NeedsNoModelAndTakesTheTextOfOtherFormats) {
  const JsonValue root = parse_json(
      R"({"messages":[{"role":"developer","content":[{"type":"input_text","text":"a"},
          {"type":"output_text","text":"b"},{"type":"refusal","refusal":"c"},{"type":"image_url"}]},
          {"role":"assistant","content":"beg"}]})",
      "test.json");
  const ConversationFile file = read_chat_request(root);
  EXPECT_EQ(text_of(file.conversation.messages[0]), "a\n\nb\n\nc\n\n[Unsupported image_url]");
  EXPECT_EQ(file.conversation.messages[0].role, Role::System);
  EXPECT_EQ(file.conversation.messages[1].ending, Ending::Prefix);
  EXPECT_EQ(text_of(read_conversation(root).conversation.messages[0]),
            "[Unsupported input_text]\n\n[Unsupported output_text]\n\n[Unsupported refusal]\n\n"
            "[Unsupported image_url]");
}

TEST(ReadConversation, ErrorsNameTheFieldAndWhatWasFound) {
  const std::vector<std::pair<std::string_view, std::string_view>> cases = {
      {"3", "conversation: expected an object or a list, found 3"},
      {"{}", "messages: expected a list of messages, found nothing"},
      {R"({"messages":{}})", "messages: expected a list of messages, found an object"},
      {R"({"model":"m","messages":[]})", "messages: expected at least one message, found a list"},
      {R"([{"role":"user"},{"role":"x"}])",
       R"(messages[1].role: expected one of "system", "user", "assistant", "tool", "developer", )"
       R"("latest_reminder", found "x")"},
      {R"([{"role":"direct_search_results"}])", "messages[0].role: expected one of"},
      {R"([{}])", "messages[0].role: expected one of"},
      {R"([7])", "messages[0]: expected an object, found 7"},
      {R"([{"role":"user","content":true}])",
       "messages[0].content: expected a string, a list or null, found true"},
      {R"([{"role":"user","content":["a"]}])",
       "messages[0].content[0]: expected an object, found \"a\""},
      {R"([{"role":"user","content":[{"text":"a"}]}])",
       "messages[0].content[0].type: expected a string, found nothing"},
      {R"([{"role":"user","task":"nap"}])", "messages[0].task: expected one of \"action\""},
      {R"([{"role":"assistant","tool_calls":[{"id":1}]}])",
       "messages[0].tool_calls[0].function: expected an object, found nothing"},
      {R"([{"role":"assistant","tool_calls":[{"id":1,"function":{"name":"f"}}]}])",
       "messages[0].tool_calls[0].id: expected a string, found 1"},
      {R"([{"role":"assistant","tool_calls":{}}])",
       "messages[0].tool_calls: expected a list, found an object"},
      {R"([{"role":"assistant","wo_eos":1}])",
       "messages[0].wo_eos: expected true or false, found 1"},
      {R"([{"role":"system","response_format":[]}])",
       "messages[0].response_format: expected an object, found a list"},
      {R"({"messages":[],"tools":[{"function":{}}]})",
       "tools[0].function.name: expected a string, found nothing"},
      {R"({"messages":[],"tools":[{"function":{"name":"f","strict":"yes"}}]})",
       "tools[0].function.strict: expected true or false, found \"yes\""},
      {R"({"messages":[],"thinking_mode":"loud"})",
       "thinking_mode: expected \"thinking\" or \"chat\", found \"loud\""},
      {R"({"messages":[],"kwargs":{"x":1}})", "kwargs: expected reasoning_effort"},
      {R"({"messages":[],"kwargs":{"context":[{"role":"user","content":1}]}})",
       "kwargs.context[0].content: expected"},
      {R"({"messages":[],"response_format":{"type":"xml"}})",
       "response_format.type: expected one of \"text\", \"json_object\", \"json_schema\", found"},
      {R"({"messages":[],"response_format":{"type":"json_schema"}})",
       "response_format.json_schema.schema: expected an object, found nothing"},
      {R"({"messages":[],"response_format":{"type":"json_schema","schema":3}})",
       "response_format.schema: expected an object, found 3"},
      {R"({"model":"m","messages":[{"role":"user"}],"thinking":{"type":"maybe"}})",
       "thinking.type: expected \"enabled\" or \"disabled\", found \"maybe\""},
  };
  for (const auto& [json, problem] : cases) {
    EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, std::string(problem), [&] { read(json); }))
        << json;
  }
}

TEST(ReadConversation, WhatIsFoundIsShownShortAndEscaped) {
  const std::string number(1000, '1');
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         "found 1111111111111111111111111111111111111111...",
                         [&] { read("[" + number + "]"); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, R"(found "a\x0ab")",
                         [&] { read(R"([{"role":"a\nb"}])"); }));
}

}  // namespace
}  // namespace fathom::text
