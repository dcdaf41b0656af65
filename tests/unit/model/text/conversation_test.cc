#include "fathom/model/text/conversation.h"

#include <gtest/gtest.h>

namespace fathom::text {
namespace {

Message message(Role role, const std::string& text) {
  return {.role = role, .content = {{.type = "text", .text = text}}};
}

TEST(ConversationNames, GoThereAndBack) {
  for (const Role role : {Role::System, Role::User, Role::Assistant, Role::Tool, Role::Developer,
                          Role::LatestReminder}) {
    EXPECT_EQ(role_from_name(to_string(role)), role);
  }
  for (const Task task :
       {Task::Action, Task::Query, Task::Authority, Task::Domain, Task::Title, Task::ReadUrl}) {
    EXPECT_EQ(task_from_name(to_string(task)), task);
  }
  EXPECT_FALSE(role_from_name("direct_search_results"));
  EXPECT_FALSE(task_from_name(""));
  EXPECT_NE(role_names().find("\"latest_reminder\""), std::string::npos);
  EXPECT_NE(task_names().find("\"read_url\""), std::string::npos);
}

TEST(MessageText, JoinsPartsAndNamesWhatIsNoText) {
  EXPECT_EQ(text_of(Message{}), "");
  const Message parts{.content = {{.type = "text", .text = "a"},
                                  {.type = "image_url", .text = {}},
                                  {.type = "text", .text = ""}}};
  EXPECT_EQ(text_of(parts), "a\n\n[Unsupported image_url]\n\n");
}

TEST(FoldSystemMessages, LeadingOnesAreJoinedAndLaterOnesAreTheUsers) {
  std::vector<Message> messages = {message(Role::System, "one"), message(Role::System, ""),
                                   message(Role::System, "two"), message(Role::User, "A"),
                                   message(Role::System, "late")};
  messages[1].tools = {{.name = "f", .function_json = "{}"}};
  messages[2].response_format = "{}";
  fold_system_messages(messages);
  ASSERT_EQ(messages.size(), 3U);
  EXPECT_EQ(text_of(messages[0]), "one\n\ntwo");
  EXPECT_EQ(messages[0].tools.size(), 1U);
  EXPECT_EQ(messages[0].response_format, "{}");
  EXPECT_EQ(messages[2].role, Role::User);

  std::vector<Message> none;
  fold_system_messages(none);
  EXPECT_TRUE(none.empty());
}

}  // namespace
}  // namespace fathom::text
