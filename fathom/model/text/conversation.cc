#include "fathom/model/text/conversation.h"

#include <array>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::text {
namespace {

template <typename Value>
struct Named {
  Value value;
  std::string_view name;
};

constexpr auto kRoles = std::to_array<Named<Role>>({
    {Role::System, "system"},
    {Role::User, "user"},
    {Role::Assistant, "assistant"},
    {Role::Tool, "tool"},
    {Role::Developer, "developer"},
    {Role::LatestReminder, "latest_reminder"},
});

constexpr auto kTasks = std::to_array<Named<Task>>({
    {Task::Action, "action"},
    {Task::Query, "query"},
    {Task::Authority, "authority"},
    {Task::Domain, "domain"},
    {Task::Title, "title"},
    {Task::ReadUrl, "read_url"},
});

template <typename Table, typename Value>
std::string_view name_of(const Table& table, Value value) {
  for (const auto& row : table) {
    if (row.value == value) {
      return row.name;
    }
  }
  fail(ErrorCode::Internal, "an enumerator without a name");
}

template <typename Value, std::size_t kNumRows>
std::optional<Value> find_by_name(const std::array<Named<Value>, kNumRows>& table,
                                  std::string_view name) {
  for (const auto& row : table) {
    if (row.name == name) {
      return row.value;
    }
  }
  return std::nullopt;
}

template <typename Table>
std::string names_of(const Table& table) {
  std::string names;
  for (const auto& row : table) {
    names += names.empty() ? "\"" : ", \"";
    names += row.name;
    names += '"';
  }
  return names;
}

constexpr std::string_view kGap = "\n\n";

void move_to_joined_head(std::vector<Message>& messages) {
  Message& head = messages.front();
  std::string text = text_of(head);
  std::size_t num_leading = 1;
  for (; num_leading < messages.size() && messages[num_leading].role == Role::System;
       ++num_leading) {
    Message& next = messages[num_leading];
    const std::string next_text = text_of(next);
    text += text.empty() || next_text.empty() ? "" : kGap;
    text += next_text;
    head.tools.insert(head.tools.end(), next.tools.begin(), next.tools.end());
    if (!next.response_format.empty()) {
      head.response_format = std::move(next.response_format);
    }
  }
  head.content = {{.type = "text", .text = std::move(text)}};
  messages.erase(messages.begin() + 1, messages.begin() + static_cast<std::ptrdiff_t>(num_leading));
}

}  // namespace

std::string_view to_string(Role role) {
  return name_of(kRoles, role);
}

std::optional<Role> role_from_name(std::string_view name) {
  return find_by_name(kRoles, name);
}

std::string role_names() {
  return names_of(kRoles);
}

std::string_view to_string(Task task) {
  return name_of(kTasks, task);
}

std::optional<Task> task_from_name(std::string_view name) {
  return find_by_name(kTasks, name);
}

std::string task_names() {
  return names_of(kTasks);
}

std::string text_of(const Message& message) {
  std::string text;
  bool is_first = true;
  for (const ContentPart& part : message.content) {
    text += is_first ? "" : kGap;
    text += part.type == "text" ? part.text : "[Unsupported " + part.type + "]";
    is_first = false;
  }
  return text;
}

void fold_system_messages(std::vector<Message>& messages) {
  if (messages.empty()) {
    return;
  }
  if (messages.front().role == Role::System) {
    move_to_joined_head(messages);
  }
  for (std::size_t i = 1; i < messages.size(); ++i) {
    if (messages[i].role == Role::System) {
      messages[i].role = Role::User;
    }
  }
}

}  // namespace fathom::text
