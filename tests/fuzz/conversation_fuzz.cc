// The reader of conversations and both kinds of prompts on any bytes: a prompt, or one of the two
// errors that a bad conversation may cause, on one line.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/chat_format.h"
#include "fathom/model/text/conversation_json.h"

namespace {

using fathom::Error;
using fathom::ErrorCode;
using fathom::text::ChatFormat;

constexpr std::string_view kChatMl =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}";

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

const std::vector<std::unique_ptr<const ChatFormat>>& all_formats() {
  static const auto kFormats = [] {
    std::vector<std::unique_ptr<const ChatFormat>> formats;
    for (const fathom::text::Dialect& dialect : fathom::text::dialects()) {
      formats.push_back(make_v4_format(dialect));
    }
    formats.push_back(fathom::text::make_template_format(kChatMl, {}, "fuzz"));
    return formats;
  }();
  return kFormats;
}

template <typename Action>
void run(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    require(error.code() == ErrorCode::InvalidArgument || error.code() == ErrorCode::Unsupported);
    require(std::string_view(error.what()).find('\n') == std::string_view::npos);
  }
}

// What is printed reads back to the same text.
void check_json(std::string_view json) {
  const auto value = fathom::text::try_parse_json(json);
  if (value) {
    const std::string printed = print_json(*value);
    const auto again = fathom::text::try_parse_json(printed);
    require(again && print_json(*again) == printed);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  check_json(json);
  run([json] {
    const fathom::text::ConversationFile file = fathom::text::read_conversation(json, "fuzz");
    for (const auto& format : all_formats()) {
      run([&] {
        const fathom::text::Prompt prompt = format->render(file.conversation, file.options);
        require(fathom::formats::is_utf8(text_of(prompt)));
        for (std::size_t i = 1; i < prompt.size(); ++i) {
          require(prompt[i].is_trusted != prompt[i - 1].is_trusted && !prompt[i].text.empty());
        }
      });
    }
  });
  return 0;
}
