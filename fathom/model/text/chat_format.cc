#include "fathom/model/text/chat_format.h"

#include <array>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/chat_encoder.h"
#include "fathom/model/text/chat_template.h"

namespace fathom::text {
namespace {

class V4Format final : public ChatFormat {
 public:
  explicit V4Format(const Dialect& dialect) : dialect_(dialect) {
    for (const std::string_view text : v4_stop_texts()) {
      stop_texts_.emplace_back(text);
    }
  }

  std::string_view name() const override { return dialect_.name; }
  Prompt render(const Conversation& conversation, const RenderOptions& options) const override {
    return encode_v4(conversation, options, dialect_);
  }
  const std::vector<std::string>& stop_texts() const override { return stop_texts_; }
  ReplyStyle reply_style() const override { return ReplyStyle::Dsml; }
  Prompt call_opening(std::string_view tool) const override {
    return v4_call_opening(tool, dialect_);
  }
  CallTags call_tags() const override {
    return {dialect_.calls_tag, dialect_.invoke_tag, dialect_.parameter_tag};
  }
  std::string_view raw_text_bos() const override { return kV4BeginOfText; }

 private:
  const Dialect& dialect_;
  std::vector<std::string> stop_texts_;
};

class TemplateFormat final : public ChatFormat {
 public:
  TemplateFormat(RecognisedTemplate recognised, TemplateTokens tokens)
      : recognised_(std::move(recognised)), tokens_(std::move(tokens)) {
    for (const std::string_view text : recognised_.style->stop_texts) {
      if (!text.empty()) {
        stop_texts_.emplace_back(text);
      }
    }
    if (!tokens_.eos.empty()) {
      stop_texts_.push_back(tokens_.eos);
    }
  }

  std::string_view name() const override { return recognised_.style->name; }
  Prompt render(const Conversation& conversation, const RenderOptions& options) const override {
    return render_template(recognised_, tokens_, conversation, options);
  }
  const std::vector<std::string>& stop_texts() const override { return stop_texts_; }
  ReplyStyle reply_style() const override { return ReplyStyle::Plain; }
  Prompt call_opening(std::string_view /*tool*/) const override { return {}; }
  CallTags call_tags() const override { return {}; }
  std::string_view raw_text_bos() const override { return ""; }

 private:
  RecognisedTemplate recognised_;
  TemplateTokens tokens_;
  std::vector<std::string> stop_texts_;
};

}  // namespace

std::unique_ptr<const ChatFormat> make_v4_format(const Dialect& dialect) {
  return std::make_unique<V4Format>(dialect);
}

std::unique_ptr<const ChatFormat> make_template_format(std::string_view jinja,
                                                       const TemplateTokens& tokens,
                                                       const std::string& source) {
  std::optional<RecognisedTemplate> recognised = recognise_template(jinja);
  if (!recognised) {
    fail(ErrorCode::Unsupported, source, ": chat template: expected one of ", template_names(),
         ", found one that begins with ", formats::quote(jinja));
  }
  return std::make_unique<TemplateFormat>(std::move(*recognised), tokens);
}

bool opens_reasoning(const Prompt& prompt) {
  constexpr std::string_view kOpen = "<think>";
  constexpr std::string_view kClose = "</think>";
  for (auto part = prompt.rbegin(); part != prompt.rend(); ++part) {
    if (!part->is_trusted) {
      continue;
    }
    const std::size_t open = part->text.rfind(kOpen);
    const std::size_t close = part->text.rfind(kClose);
    if (open != std::string::npos || close != std::string::npos) {
      return close == std::string::npos || (open != std::string::npos && open > close);
    }
  }
  return false;
}

}  // namespace fathom::text
