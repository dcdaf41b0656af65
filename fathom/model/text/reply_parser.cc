#include "fathom/model/text/reply_parser.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/model/text/utf8.h"

namespace fathom::text {
namespace {

struct FinishName {
  ReplyFinish value;
  std::string_view name;
};
constexpr std::array<FinishName, 3> kFinishNames = {{
    {ReplyFinish::Stop, "stop"},
    {ReplyFinish::Length, "length"},
    {ReplyFinish::ToolCalls, "tool_calls"},
}};

// What is held at the end of a text and begins so was markup, cut short (P1).
constexpr std::string_view kCutShort[] = {"<｜DSML｜", "<DSML｜", "<tool_calls>",
                                          "<invoke name=\""};

bool is_space(Symbol symbol) {
  return symbol == ' ' || symbol == '\t' || symbol == '\n' || symbol == '\r';
}

// The text without any of the tags, also none that deleting another one would join.
std::string without(std::initializer_list<std::string_view> tags, std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char letter : text) {
    result.push_back(letter);
    for (const std::string_view tag : tags) {
      if (result.ends_with(tag)) {
        result.resize(result.size() - tag.size());
      }
    }
  }
  return result;
}

std::string without_dsml(std::string_view text) {
  return without({kDsmlText}, text);
}

}  // namespace

std::string_view to_string(ReplyFinish finish) {
  for (const FinishName& entry : kFinishNames) {
    if (entry.value == finish) {
      return entry.name;
    }
  }
  return "unknown";
}

ReplyStart reply_start_from_name(std::string_view name) {
  if (name == "reasoning") {
    return ReplyStart::Reasoning;
  }
  if (name == "content") {
    return ReplyStart::Content;
  }
  fail(ErrorCode::InvalidArgument, "start of a reply: found ", formats::quote(name),
       ", expected reasoning or content");
}

ReplyEnd reply_end_from_name(std::string_view name) {
  if (name == "stop") {
    return ReplyEnd::Stop;
  }
  if (name == "length") {
    return ReplyEnd::Length;
  }
  fail(ErrorCode::InvalidArgument, "end of a reply: found ", formats::quote(name),
       ", expected stop or length");
}

ReplyParser::ReplyParser(std::shared_ptr<const ReplySyntax> syntax,
                         ReplyStart start,
                         std::string_view forced_tool)
    : syntax_(std::move(syntax)),
      state_(start == ReplyStart::Reasoning ? State::Reasoning : State::Content),
      json_(&syntax_->stops()) {
  if (start == ReplyStart::Reasoning || start == ReplyStart::Content) {
    return;
  }
  if (!syntax_->has_tools()) {
    fail(ErrorCode::InvalidArgument, "a reply that begins inside a tool call needs tools");
  }
  state_ = State::Name;
  if (start == ReplyStart::ToolArguments) {
    begin_call(std::string(forced_tool));
    enter(State::Arguments);
  }
}

void ReplyParser::push_text(std::string_view bytes) {
  FATHOM_CHECK(!is_finished_);
  for (const char letter : bytes) {
    push(static_cast<std::uint8_t>(letter));
  }
}

void ReplyParser::push_control(std::string_view token) {
  FATHOM_CHECK(!is_finished_);
  const bool is_think = token == kThinkCloseText || token == kThinkOpenText;
  const bool is_marker = is_think ? syntax_->think_tags() != ThinkTags::None
                                  : token == kDsmlText && syntax_->has_tools();
  if (!is_think && token != kDsmlText) {
    is_ended_by_token_ = true;
  } else if (!is_marker || syntax_->input() == ReplyInput::Text) {
    push_text(token);
  } else {
    push(token == kThinkCloseText  ? kThinkCloseSymbol
         : token == kThinkOpenText ? kThinkOpenSymbol
                                   : kDsmlSymbol);
  }
}

const Reply& ReplyParser::finish(ReplyEnd end) {
  FATHOM_CHECK(!is_finished_);
  if (is_ended_by_token_) {
    end = ReplyEnd::Stop;
  }
  if (deferred_) {
    is_ended_by_token_ = false;  // what follows the opener came before that token
    commit_block(DeferredOpener(*deferred_));
  }
  if (state_ == State::Reasoning || state_ == State::Content) {
    finish_text();
  } else if (state_ != State::Done) {
    finish_block(end);
  }
  is_finished_ = true;
  reply_.finish = end == ReplyEnd::Length   ? ReplyFinish::Length
                  : num_complete_calls_ > 0 ? ReplyFinish::ToolCalls
                                            : ReplyFinish::Stop;
  return reply_;
}

std::vector<ReplyEvent> ReplyParser::take_events() {
  return std::exchange(events_, {});
}

void ReplyParser::push(Symbol symbol) {
  if (state_ == State::Done || is_ended_by_token_) {
    std::string text;
    append_text(symbol, text);
    reply_.num_bytes_after_end += to_index(text.size());
  } else if (state_ == State::Reasoning) {
    push_reasoning(symbol);
  } else if (state_ == State::Content) {
    push_content(symbol);
  } else {
    push_block(symbol);
  }
}

bool ReplyParser::is_leading_newline(Symbol symbol) const {
  return symbol == '\n' && !has_text_ && held_.is_empty() && syntax_->drops_leading_newlines();
}

const MarkerSet& ReplyParser::markers() const {
  switch (state_) {
    case State::Reasoning:
      return syntax_->reasoning();
    case State::Content:
      return syntax_->content();
    case State::Block:
      return syntax_->block(form_);
    case State::Arguments:
      return syntax_->arguments(form_);
    case State::Value:
      return syntax_->value(form_);
    case State::Type:
      return syntax_->type();
    case State::Name:
    case State::Key:
    case State::Done:
      break;
  }
  return syntax_->quote();
}

std::optional<MarkerSet::Match> ReplyParser::advance(Symbol symbol) {
  const MarkerSet& set = markers();
  const Index old_depth = set.depth(node_);
  held_.push(symbol);
  node_ = set.next(node_, symbol);
  const Index depth = set.depth(node_);
  if (depth == 0) {
    num_newlines_ = symbol != '\n' ? 0 : old_depth == 0 ? num_newlines_ + 1 : 1;
  } else if (depth != old_depth + 1) {
    num_newlines_ = 0;  // the marker begins inside what was held for another
  }
  return set.match(node_);
}

void ReplyParser::push_reasoning(Symbol symbol) {
  if (is_leading_newline(symbol)) {
    return;
  }
  const std::optional<MarkerSet::Match> match = advance(symbol);
  if (!match) {
    release(held_.size() - syntax_->reasoning().depth(node_) - num_newlines_);
    return;
  }
  const MarkerMeaning& meaning = syntax_->meaning(match->id);
  const Index begin = held_.size() - match->length;
  switch (meaning.kind) {
    case MarkerKind::ThinkOpen:
      drop_tag(meaning, match->length);
      break;
    case MarkerKind::ThinkClose:
      release(begin - num_newlines_);
      held_.clear();
      close_channel();
      enter(State::Content);
      break;
    default:
      commit_block({meaning, begin, num_newlines_, held_.size()});
  }
}

void ReplyParser::push_content(Symbol symbol) {
  if (is_leading_newline(symbol)) {
    return;
  }
  if (deferred_) {
    push_deferred(symbol);
    return;
  }
  const std::optional<MarkerSet::Match> match = advance(symbol);
  if (match_stop(symbol)) {
    return;
  }
  if (match) {
    match_content(syntax_->meaning(match->id), match->length);
  } else {
    update_wrapper(symbol);
  }
  if (state_ != State::Content || deferred_) {
    return;
  }
  Index num_kept =
      std::max(syntax_->content().depth(node_) + num_newlines_, syntax_->stops().depth(stop_node_));
  if (wrapper_) {
    num_kept = std::max(num_kept, held_.size() - (wrapper_->begin - wrapper_->num_newlines));
  }
  release(held_.size() - num_kept);
}

bool ReplyParser::match_stop(Symbol symbol) {
  if (syntax_->finds_json()) {  // there they count inside the JSON only
    return false;
  }
  stop_node_ = syntax_->stops().next(stop_node_, symbol);
  const std::optional<MarkerSet::Match> match = syntax_->stops().match(stop_node_);
  if (!match || (deferred_ && held_.size() - match->length > deferred_->begin)) {
    return false;
  }
  release(held_.size() - match->length);
  reply_.stop_string_idx = match->id;
  end_reply();
  return true;
}

void ReplyParser::push_deferred(Symbol symbol) {
  held_.push(symbol);
  if (match_stop(symbol)) {
    return;
  }
  if (held_.size() - syntax_->stops().depth(stop_node_) > deferred_->begin) {
    commit_block(DeferredOpener(*deferred_));
  }
}

void ReplyParser::match_content(const MarkerMeaning& meaning, Index length) {
  const Index begin = held_.size() - length;
  DeferredOpener opener{meaning, begin, num_newlines_, held_.size()};
  switch (meaning.kind) {
    case MarkerKind::Wrapper:
      wrapper_ = {begin, num_newlines_, held_.size(), meaning.form};
      node_ = 0;
      num_newlines_ = 0;
      break;
    case MarkerKind::DeclaredInvoke:
      if (wrapper_ && wrapper_->form == meaning.form) {  // nothing but space is between them
        opener.begin = wrapper_->begin;
        opener.num_newlines = wrapper_->num_newlines;
      }
      open_block(opener);
      break;
    case MarkerKind::BlockOpen:
      open_block(opener);
      break;
    default:
      drop_tag(meaning, length);
  }
}

// White space, or what may become a call, keeps the wrapper waiting; anything else makes it text.
void ReplyParser::update_wrapper(Symbol symbol) {
  if (!wrapper_) {
    return;
  }
  const Index depth = syntax_->content().depth(node_);
  if (depth == 0 && is_space(symbol) && wrapper_->end == held_.size() - 1) {
    wrapper_->end = held_.size();
  } else if (depth == 0 || wrapper_->end != held_.size() - depth) {
    wrapper_.reset();
  }
}

void ReplyParser::drop_tag(const MarkerMeaning& meaning, Index length) {
  release(held_.size() - length);
  held_.clear();
  wrapper_.reset();
  node_ = 0;
  num_newlines_ = 0;
  stop_node_ = 0;
  const bool is_leading = state_ == State::Content && !has_text_ && reply_.reasoning.empty();
  if (is_leading && meaning.kind == MarkerKind::ThinkOpen &&
      syntax_->think_tags() == ThinkTags::Leading) {
    enter(State::Reasoning);
  }
}

// A stop string that begins where the block or before it wins; whether it comes may still be open.
void ReplyParser::open_block(const DeferredOpener& opener) {
  const Index stop_depth = syntax_->stops().depth(stop_node_);
  if (stop_depth > 0 && held_.size() - stop_depth <= opener.begin) {
    deferred_ = opener;
  } else {
    commit_block(opener);
  }
}

void ReplyParser::commit_block(const DeferredOpener& opener) {
  std::string opening;
  for (Index i = opener.begin; i < opener.end; ++i) {
    append_text(held_[i], opening);
  }
  Symbols rest;
  for (Index i = opener.end; i < held_.size(); ++i) {
    rest.push_back(held_[i]);
  }
  wrapper_.reset();
  deferred_.reset();
  release(opener.begin - opener.num_newlines);
  held_.clear();
  close_channel();
  if (state_ != State::Done) {  // a stop string inside JSON may have ended the reply
    form_ = opener.meaning.form;
    block_text_ = opening;
    enter(State::Block);
    if (opener.meaning.tool != nullptr) {
      begin_call(opener.meaning.tool->name());
      enter(State::Arguments);
    }
  }
  for (const Symbol symbol : rest) {
    push(symbol);
  }
}

void ReplyParser::push_block(Symbol symbol) {
  // Should it all become content, think tags are dropped there (P10).
  const bool is_think_tag = symbol == kThinkCloseSymbol || symbol == kThinkOpenSymbol;
  if (reply_.calls.empty() && !is_think_tag) {
    append_text(symbol, block_text_);
  }
  const std::optional<MarkerSet::Match> match = advance(symbol);
  if (!match) {
    release(held_.size() - markers().depth(node_));
    return;
  }
  release(held_.size() - match->length);
  held_.clear();
  match_in_block(syntax_->meaning(match->id));
}

void ReplyParser::match_in_block(const MarkerMeaning& meaning) {
  switch (meaning.kind) {
    case MarkerKind::Invoke:
      if (state_ == State::Arguments) {
        end_call();
      }
      name_.clear();
      enter(State::Name);
      break;
    case MarkerKind::Parameter:
      name_.clear();
      enter(State::Key);
      break;
    case MarkerKind::Quote:
      if (state_ == State::Name) {
        begin_call(name_);
        enter(State::Arguments);
      } else {
        enter(State::Type);
      }
      break;
    case MarkerKind::StringType:
    case MarkerKind::JsonType:
    case MarkerKind::UnknownType: {
      std::string json;
      arguments_.begin_parameter(without_dsml(name_), meaning.kind != MarkerKind::JsonType, json);
      emit_arguments(json);
      enter(State::Value);
      break;
    }
    case MarkerKind::Closer:
      if (state_ == State::Value) {
        end_value();
        enter(State::Arguments);
      } else {
        end_call();
        enter(State::Block);
      }
      break;
    default:  // BlockClose
      if (reply_.calls.empty()) {
        return_broken_block();
      }
      end_reply();
  }
}

void ReplyParser::enter(State state) {
  if (state == State::Content || state == State::Reasoning) {
    has_text_ = false;
  }
  state_ = state;
  node_ = 0;
  num_newlines_ = 0;
  stop_node_ = 0;
}

void ReplyParser::end_reply() {
  close_channel();
  held_.clear();
  wrapper_.reset();
  deferred_.reset();
  enter(State::Done);
}

void ReplyParser::begin_call(const std::string& name) {
  const std::string clean_name = repair_utf8(without_dsml(name));
  reply_.calls.push_back({.id = {}, .name = clean_name, .arguments = {}});
  emit(ReplyEvent::Kind::CallBegin, clean_name);
  // What was held to the schema says what it means: nothing is to be repaired.
  const ToolSchema* const schema = syntax_->find_tool(clean_name);
  arguments_ = CallArguments(schema != nullptr && schema->is_strict() ? nullptr : schema);
  block_text_.clear();
}

void ReplyParser::end_value() {
  std::string json;
  arguments_.end_parameter(json);
  emit_arguments(json);
}

void ReplyParser::end_call() {
  std::string json;
  arguments_.finish(json);
  emit_arguments(json);
  emit(ReplyEvent::Kind::CallEnd, {});
  ++num_complete_calls_;
}

void ReplyParser::return_broken_block() {
  const bool spells_tags =
      syntax_->input() == ReplyInput::Text && syntax_->think_tags() != ThinkTags::None;
  const std::string sampled = std::exchange(block_text_, {});
  std::string text = spells_tags ? without({kDsmlText, kThinkCloseText, kThinkOpenText}, sampled)
                                 : without_dsml(sampled);
  if (reply_.content.empty()) {
    text.erase(0, text.find_first_not_of('\n'));
  }
  reply_.has_broken_block = true;
  emit_content(text);
  flush_content();
}

void ReplyParser::finish_text() {
  const Index num_marker = wrapper_ ? held_.size() - (wrapper_->begin - wrapper_->num_newlines)
                                    : markers().depth(node_) + num_newlines_;
  release(held_.size() - num_marker);
  std::string text;
  for (Index i = 0; i < held_.size(); ++i) {
    append_text(held_[i], text);
  }
  text.erase(0, text.find_first_not_of('\n'));
  const bool is_cut_short =
      syntax_->has_tools() &&
      std::any_of(std::begin(kCutShort), std::end(kCutShort),
                  [&](std::string_view begin) { return text.starts_with(begin); });
  if (!is_cut_short) {
    release(held_.size());
  }
  close_channel();
}

void ReplyParser::finish_block(ReplyEnd end) {
  if (end == ReplyEnd::Length) {
    return;
  }
  if (state_ == State::Block || state_ == State::Name) {
    if (reply_.calls.empty()) {
      return_broken_block();
    }
    return;
  }
  if (state_ == State::Value) {
    end_value();
  }
  end_call();
}

void ReplyParser::release(Index count) {
  if (count <= 0) {
    return;
  }
  const std::string text = take_text(count);
  switch (state_) {
    case State::Reasoning: {
      has_text_ = true;
      std::string clean;
      cleaner_.push(text, clean);
      emit(ReplyEvent::Kind::Reasoning, clean);
      break;
    }
    case State::Content:
      has_text_ = true;
      emit_content(text);
      break;
    case State::Name:
    case State::Key:
      name_ += text;
      break;
    case State::Value: {
      std::string json;
      arguments_.add_value(text, json);
      emit_arguments(json);
      break;
    }
    default:
      break;
  }
}

std::string ReplyParser::take_text(Index count) {
  std::string text;
  for (Index i = 0; i < count; ++i) {
    append_text(held_[i], text);
  }
  held_.drop_front(count);
  if (wrapper_) {
    wrapper_->begin -= count;
    wrapper_->end -= count;
  }
  return text;
}

void ReplyParser::emit_content(std::string_view bytes) {
  std::string text;
  cleaner_.push(bytes, text);
  show_content(text);
}

void ReplyParser::show_content(const std::string& text) {
  if (!syntax_->finds_json()) {
    emit(ReplyEvent::Kind::Content, text);
    return;
  }
  std::string json;
  json_.push(text, json);
  emit(ReplyEvent::Kind::Content, json);
  if (json_.stop() && !reply_.stop_string_idx) {
    reply_.stop_string_idx = *json_.stop();
    cleaner_.clear();
    end_reply();
  }
}

void ReplyParser::flush_content() {
  std::string text;
  cleaner_.finish(text);
  show_content(text);
  std::string json;
  json_.finish(json);
  emit(ReplyEvent::Kind::Content, json);
}

void ReplyParser::close_channel() {
  if (state_ == State::Content) {
    flush_content();
  } else if (state_ == State::Reasoning) {
    std::string text;
    cleaner_.finish(text);
    emit(ReplyEvent::Kind::Reasoning, text);
  }
}

void ReplyParser::emit_arguments(std::string_view json) {
  emit(ReplyEvent::Kind::CallArguments, json);
}

void ReplyParser::emit(ReplyEvent::Kind kind, std::string_view text) {
  using Kind = ReplyEvent::Kind;
  const bool is_delta = kind != Kind::CallBegin && kind != Kind::CallEnd;
  if (is_delta && text.empty()) {
    return;
  }
  if (kind == Kind::Reasoning) {
    reply_.reasoning += text;
  } else if (kind == Kind::Content) {
    reply_.content += text;
  } else if (kind == Kind::CallArguments) {
    reply_.calls.back().arguments += text;
  }
  if (is_delta && !events_.empty() && events_.back().kind == kind) {
    events_.back().text += text;
    return;
  }
  const bool is_call = kind != Kind::Reasoning && kind != Kind::Content;
  events_.push_back({kind, std::string(text), is_call ? to_index(reply_.calls.size()) - 1 : 0});
}

}  // namespace fathom::text
