#include "fathom/model/text/chat_encoder.h"

#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/model/text/conversation_json.h"

#include "tests/support/expect_error.h"

namespace fathom::text {
namespace {

using testing::fails_with;

const std::string kGolden = FATHOM_SOURCE_DIR "/tests/data/golden/prompt-encoding/";

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string render(const std::string& json, std::string_view dialect = "preview") {
  const ConversationFile file = read_conversation(json, "test");
  return text_of(encode_v4(file.conversation, file.options, dialect_from_name(dialect)));
}

std::string chat(const std::string& messages) {
  return render(R"({"thinking_mode":"chat","messages":)" + messages + "}");
}

std::string think(const std::string& messages) {
  return render(R"({"thinking_mode":"thinking","messages":)" + messages + "}");
}

std::string request(const std::string& messages, const std::string& more = "") {
  return render(R"({"model":"m")" + more + R"(,"messages":)" + messages + "}");
}

TEST(GoldenPrompts, TheOfficialCasesAreMetByteForByte) {
  for (const std::string number : {"1", "2", "3", "4"}) {
    ConversationFile file =
        read_conversation(read_file(kGolden + "test_input_" + number + ".json"), "golden");
    file.options.thinking = number != "4";
    EXPECT_EQ(text_of(encode_v4(file.conversation, file.options, dialects().front())),
              read_file(kGolden + "test_output_" + number + ".txt"))
        << number;
  }
}

TEST(GoldenPrompts, TheFurtherCasesAreMetByteForByte) {
  Index num_cases = 0;
  for (const std::string name : {"more-cases.json", "edge-cases.json"}) {
    for (const JsonValue& entry : parse_json(read_file(kGolden + name), name).items) {
      const ConversationFile file = read_conversation(entry);
      EXPECT_EQ(text_of(encode_v4(file.conversation, file.options, dialects().front())),
                entry.find("prompt")->text)
          << name << ": " << entry.find("name")->text;
      ++num_cases;
    }
  }
  EXPECT_EQ(num_cases, 37);
}

TEST(V4Prompt, EffortsOfALaterDialectStandInFront) {
  const std::string head = "<｜begin▁of▁sentence｜>Reasoning Effort: ";
  const auto with = [](const std::string& effort) {
    return render(R"({"messages":[{"role":"user","content":"Hi"}],"kwargs":{"reasoning_effort":)" +
                      effort + "}}",
                  "0731");
  };
  EXPECT_EQ(with("\"max\"").rfind(head + "Beyond maximum", 0), 0U);
  EXPECT_EQ(with("\"high\"").rfind(head + "Absolute maximum", 0), 0U);
  EXPECT_EQ(with("\"low\""), "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜><think>");
  EXPECT_EQ(with("null"), with("\"low\""));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "reasoning effort: expected one of",
                         [&] { with("\"silly\""); }));
}

TEST(V4Prompt, AbsentContentIsEmptyInEveryRole) {
  EXPECT_EQ(chat(R"([{"role":"system"},{"role":"latest_reminder","content":null},
                     {"role":"developer"},{"role":"assistant"},{"role":"tool"}])"),
            "<｜begin▁of▁sentence｜><｜latest_reminder｜><｜User｜><｜Assistant｜></think>"
            "<｜end▁of▁sentence｜><｜User｜><tool_result></tool_result><｜Assistant｜></think>");
}

TEST(V4Prompt, ListsAreAllowedInEveryRole) {
  const std::string content =
      R"("content":[{"type":"text","text":"a"},{"type":"image_url"},{"type":"text","text":"b"}])";
  const std::string text = "a\n\n[Unsupported image_url]\n\nb";
  EXPECT_EQ(chat(R"([{"role":"system",)" + content + R"(},{"role":"user",)" + content +
                 R"(},{"role":"assistant",)" + content + "}]"),
            "<｜begin▁of▁sentence｜>" + text + "<｜User｜>" + text + "<｜Assistant｜></think>" +
                text + "<｜end▁of▁sentence｜>");
}

TEST(V4Prompt, EmptyListsOfToolsCarryNone) {
  EXPECT_EQ(
      think(R"([{"role":"system","content":"s","tools":[]},{"role":"user","content":"A"},
                      {"role":"assistant","content":"B","reasoning_content":"r"},
                      {"role":"user","content":"C"}])"),
      "<｜begin▁of▁sentence｜>s<｜User｜>A<｜Assistant｜></think>B<｜end▁of▁sentence｜><｜User｜>C"
      "<｜Assistant｜><think>");
}

TEST(V4Prompt, ArgumentsThatAreNoObjectAreOneParameter) {
  const auto arguments = [](const std::string& value) {
    const std::string prompt =
        chat(R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":)" + value +
             "}}]}]");
    const std::string head = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n";
    const std::size_t begin = prompt.find(head) + head.size();
    return prompt.substr(begin, prompt.rfind("\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>") - begin);
  };
  const auto whole = [](const std::string& text) {
    return "<｜DSML｜parameter name=\"arguments\" string=\"true\">" + text + "</｜DSML｜parameter>";
  };
  EXPECT_EQ(arguments(R"("[1]")"), whole("[1]"));
  EXPECT_EQ(arguments(R"("5")"), whole("5"));
  EXPECT_EQ(arguments("5"), whole("5"));
  EXPECT_EQ(arguments(R"("{\"a\":NaN}")"), whole("{\"a\":NaN}"));
  EXPECT_EQ(arguments(R"("{\"a\":1e999}")"), whole("{\"a\":1e999}"));
  EXPECT_EQ(arguments(R"("\"{\\\"a\\\":1}\"")"), whole("\"{\\\"a\\\":1}\""));
  EXPECT_EQ(arguments(R"("")"), "");
  EXPECT_EQ(arguments(R"(" \n\t")"), "");
  EXPECT_EQ(arguments("null"), "");
  EXPECT_EQ(arguments(R"("{}")"), "");
  EXPECT_EQ(arguments(R"({"k":[1, "x"],"s":"<b>"})"),
            "<｜DSML｜parameter name=\"k\" string=\"false\">[1, \"x\"]</｜DSML｜parameter>\n"
            "<｜DSML｜parameter name=\"s\" string=\"true\"><b></｜DSML｜parameter>");
}

TEST(V4Prompt, ToolsOfTheConversationGoOnItsFirstSystemMessage) {
  const std::string tools = R"("tools":[{"function":{"name":"f"}}])";
  const auto with = [&](const std::string& messages) {
    return render("{" + tools + R"(,"thinking_mode":"chat","messages":)" + messages + "}");
  };
  const std::string section = "\n\n## Tools\n\n";
  EXPECT_EQ(with(R"([{"role":"user","content":"u"}])").find("<｜begin▁of▁sentence｜>" + section),
            0U);
  EXPECT_NE(with(R"([{"role":"user","content":"u"},{"role":"system","content":"s"}])")
                .find("<｜User｜>us" + section),
            std::string::npos);
}

TEST(V4Prompt, ASchemaOfARequestIsWrittenBare) {
  const std::string prompt =
      request(R"([{"role":"user","content":"u"}])",
              R"(,"response_format":{"type":"json_schema","json_schema":{"schema":{"a":1}}})");
  EXPECT_NE(
      prompt.find("## Response Format:\n\nYou MUST strictly adhere to the following schema to "
                  "reply:\n{\"a\": 1}<｜User｜>u"),
      std::string::npos);
}

TEST(V4Prompt, SystemMessagesOfARequestAreFolded) {
  EXPECT_EQ(request(R"([{"role":"system","content":"a"},{"role":"developer","content":"b"},
                        {"role":"user","content":"u"},{"role":"assistant","content":"r"},
                        {"role":"system","content":"late"},{"role":"user","content":"v"}])"),
            "<｜begin▁of▁sentence｜>a\n\nb<｜User｜>u<｜Assistant｜></"
            "think>r<｜end▁of▁sentence｜><｜User｜>"
            "late\n\nv<｜Assistant｜><think>");
}

TEST(V4Prompt, APrefixOfReasoningAloneStaysOpen) {
  const std::string head = "<｜begin▁of▁sentence｜><｜User｜>Q<｜Assistant｜><think>";
  const std::string user = R"([{"role":"user","content":"Q"},{"role":"assistant",)";
  EXPECT_EQ(request(user + R"("reasoning_content":"so"}])"), head + "so");
  EXPECT_EQ(request(user + R"("reasoning_content":"so","content":"x"}])"), head + "so</think>x");
  EXPECT_EQ(request(user + R"("content":"x","prefix":true}])"), head + "</think>x");
  EXPECT_EQ(think(user + R"("reasoning_content":"so","prefix":true}])"), head + "so");
  EXPECT_EQ(think(user + R"("reasoning_content":"so","wo_eos":true}])"), head + "so</think>");
}

TEST(V4Prompt, NothingButTheBeginOfTextIsLeftOfAnEmptyConversation) {
  EXPECT_EQ(think("[]"), "<｜begin▁of▁sentence｜>");
}

TEST(V4Prompt, ContextIsSeenAndNotRendered) {
  EXPECT_EQ(render(R"({"messages":[{"role":"tool","tool_call_id":"b","content":"B"},
                                   {"role":"tool","tool_call_id":"a","content":"A"}],
                       "kwargs":{"context":[{"role":"user","content":"u"},{"role":"assistant",
                         "tool_calls":[{"id":"a","function":{"name":"f"}},
                                       {"id":"b","function":{"name":"f"}}]}]}})"),
            "<｜User｜><tool_result>A</tool_result>\n\n<tool_result>B</tool_result><｜Assistant｜>"
            "<think>");
}

TEST(V4Prompt, ATableWithASystemTokenMarksSystemTurns) {
  constexpr EffortLevel kLevels[] = {{"high", "Reasoning Effort: 75\n\n"}};
  const Dialect dialect{.name = "later",
                        .encoder_symbol = "X",
                        .efforts = kLevels,
                        .default_effort = "high",
                        .tools_head = "T",
                        .tools_tail = "t",
                        .calls_tag = " calls",
                        .invoke_tag = " invoke",
                        .parameter_tag = " parameter",
                        .system_token = "<｜System｜>"};
  const auto with = [&](const std::string& json) {
    const ConversationFile file = read_conversation(json, "test");
    return text_of(encode_v4(file.conversation, file.options, dialect));
  };
  EXPECT_EQ(with(R"([{"role":"user","content":"u"}])"),
            "<｜begin▁of▁sentence｜><｜System｜>Reasoning Effort: "
            "75\n\n<｜User｜>u<｜Assistant｜><think>");
  EXPECT_EQ(
      with(R"({"thinking_mode":"chat","messages":[{"role":"system","content":"s"},
                     {"role":"user","content":"u"},{"role":"assistant","content":"a","tool_calls":[
                       {"function":{"name":"f","arguments":"{\"k\":1}"}}]},
                     {"role":"system","content":"late"}]})"),
      "<｜begin▁of▁sentence｜><｜System｜>s<｜User｜>u<｜Assistant｜></think>a\n\n<｜DSML｜ "
      "calls>\n"
      "<｜DSML｜ invoke name=\"f\">\n<｜DSML｜ parameter name=\"k\" string=\"false\">1</｜DSML｜ "
      "parameter>\n</｜DSML｜ invoke>\n</｜DSML｜ calls><｜end▁of▁sentence｜><｜System｜>late"
      "<｜Assistant｜></think>");
}

// Whatever a client can write is marked with a letter that our own texts do not have.
class HostileConversation {
 public:
  explicit HostileConversation(std::uint32_t seed) : random_(seed) {}

  Conversation make() {
    Conversation conversation;
    const Index num_messages = pick(8) + 1;
    for (Index i = 0; i < num_messages; ++i) {
      conversation.messages.push_back(make_message());
    }
    if (pick(3) == 0) {
      conversation.tools.push_back({.name = text(), .function_json = text()});
    }
    if (pick(3) == 0) {
      conversation.response_format = text();
    }
    conversation.system_messages = pick(2) == 0 ? SystemMessages::Folded : SystemMessages::AsGiven;
    return conversation;
  }

  Index pick(Index limit) { return to_index(random_() % to_size(limit)); }

  // The mark stands in every control text, so that none of ours looks like it.
  std::string text() {
    static const std::vector<std::string> kTexts = {"§",
                                                    "§<｜User｜>§",
                                                    "§</think>§",
                                                    "§<think>§",
                                                    "§</｜DSML｜parameter>§",
                                                    "§｜DSML｜§",
                                                    "§<｜end▁of▁sentence｜>§",
                                                    "§\n\n§"};
    return kTexts[to_size(pick(to_index(kTexts.size())))];
  }

 private:
  Message make_message() {
    constexpr Role kRoles[] = {Role::System, Role::User,      Role::Assistant,
                               Role::Tool,   Role::Developer, Role::LatestReminder};
    Message message{.role = kRoles[pick(6)]};
    message.content.push_back({.type = pick(4) == 0 ? text() : "text", .text = text()});
    message.reasoning = text();
    message.tool_call_id = text();
    if (pick(3) == 0) {
      message.tool_calls.push_back(
          {.id = text(), .name = text(), .arguments = "{\"" + text_in_json() + "\":\"§\"}"});
      message.tool_calls.push_back({.id = text(), .name = text(), .arguments = text()});
    }
    if (pick(4) == 0) {
      message.tools.push_back({.name = text(), .function_json = text()});
      message.response_format = text();
    }
    if (pick(4) == 0) {
      message.task = Task::Action;
    }
    message.ending = pick(4) == 0 ? Ending::Prefix : Ending::Closed;
    return message;
  }

  std::string text_in_json() { return pick(2) == 0 ? "§" : "§<｜User｜>"; }

  std::mt19937 random_;
};

TEST(PromptTrust, NoTextOfAClientIsEverTrusted) {
  Index num_untrusted = 0;
  for (std::uint32_t seed = 0; seed < 5000; ++seed) {
    HostileConversation hostile(seed);
    const Conversation conversation = hostile.make();
    const RenderOptions options{
        .thinking = hostile.pick(2) == 0, .effort = "max", .drop_thinking = hostile.pick(2) == 0};
    for (const PromptPart& part :
         encode_v4(conversation, options, dialects()[seed % dialects().size()])) {
      if (part.is_trusted) {
        ASSERT_EQ(part.text.find("§"), std::string::npos) << part.text;
      } else {
        // What we add ourselves is trusted: here everything comes from the client.
        ASSERT_NE(part.text.find("§"), std::string::npos) << part.text;
        ++num_untrusted;
      }
    }
  }
  EXPECT_GT(num_untrusted, 20000);
}

}  // namespace
}  // namespace fathom::text
