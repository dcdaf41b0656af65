// A model's reply as it arrives, taken apart into reasoning, content and tool calls.
//
// The states and rulings are those of the text specification, 2.7. The result does not depend on
// how the reply is cut into pieces; time is linear, and what is held back is never more than what
// may still become a marker.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/model/text/call_arguments.h"
#include "fathom/model/text/conversation.h"
#include "fathom/model/text/json_extractor.h"
#include "fathom/model/text/marker_matcher.h"
#include "fathom/model/text/reply_syntax.h"
#include "fathom/model/text/utf8_cleaner.h"

namespace fathom::text {

// Where the prompt left off: inside <think>, after it, or inside the opening of a forced call.
enum class ReplyStart { Reasoning, Content, ToolName, ToolArguments };
enum class ReplyEnd { Stop, Length };
enum class ReplyFinish { Stop, Length, ToolCalls };

std::string_view to_string(ReplyFinish finish);
// Throw InvalidArgument naming the choices: reasoning, content; stop, length.
ReplyStart reply_start_from_name(std::string_view name);
ReplyEnd reply_end_from_name(std::string_view name);

struct ReplyEvent {
  enum class Kind { Reasoning, Content, CallBegin, CallArguments, CallEnd };
  Kind kind = Kind::Content;
  std::string text;    // what is added; the tool's name for CallBegin; well-formed UTF-8
  Index call_idx = 0;  // of the three kinds of calls
};

struct Reply {
  std::string reasoning;
  std::string content;
  std::vector<ToolCall> calls;  // an unfinished one keeps the arguments that were shown
  ReplyFinish finish = ReplyFinish::Stop;
  std::optional<Index> stop_string_idx;  // the stop string that ended it
  Index num_bytes_after_end = 0;         // dropped
  bool has_broken_block = false;         // a block without a call was returned as content
};

class ReplyParser {
 public:
  // `forced_tool` names the tool of the prefilled opening, for ToolArguments only (P12).
  ReplyParser(std::shared_ptr<const ReplySyntax> syntax,
              ReplyStart start,
              std::string_view forced_tool = {});

  // Bytes in any pieces, also inside a character.
  void push_text(std::string_view bytes);
  // A control token by its text. What is no think tag and no ｜DSML｜ ends the reply: a turn header
  // or an end mark.
  void push_control(std::string_view token);
  // Whether all that follows would be dropped, so that sampling may stop.
  bool is_done() const { return state_ == State::Done || is_ended_by_token_; }
  bool is_reasoning() const { return state_ == State::Reasoning; }
  // Ends the reply; nothing may be pushed after it. Its events are there to be taken.
  const Reply& finish(ReplyEnd end);

  // What has come since the last time; neighbours of a kind are one event. All events together
  // are the reply.
  std::vector<ReplyEvent> take_events();

 private:
  enum class State { Reasoning, Content, Block, Name, Arguments, Key, Type, Value, Done };
  // The opening tag of a block in another form, waiting for a call of a declared tool.
  struct PendingWrapper {
    Index begin = 0;         // into held_, the newlines before it excluded
    Index num_newlines = 0;  // before it
    Index end = 0;           // white space after it included
    BlockForm form = BlockForm::Plain;
  };
  // A block's opening that a longer stop string might still beat (P9).
  struct DeferredOpener {
    MarkerMeaning meaning;
    Index begin = 0;  // into held_
    Index num_newlines = 0;
    Index end = 0;
  };

  void push(Symbol symbol);
  void push_reasoning(Symbol symbol);
  void push_content(Symbol symbol);
  void push_deferred(Symbol symbol);
  void push_block(Symbol symbol);
  bool is_leading_newline(Symbol symbol) const;
  // Moves the search of the state's markers on by one symbol, which is held.
  std::optional<MarkerSet::Match> advance(Symbol symbol);
  const MarkerSet& markers() const;

  bool match_stop(Symbol symbol);
  void match_content(const MarkerMeaning& meaning, Index length);
  void update_wrapper(Symbol symbol);
  void drop_tag(const MarkerMeaning& meaning, Index length);
  void open_block(const DeferredOpener& opener);
  void commit_block(const DeferredOpener& opener);
  void match_in_block(const MarkerMeaning& meaning);

  void enter(State state);
  void end_reply();
  void begin_call(const std::string& name);
  void end_value();
  void end_call();
  // What was sampled, as content: the session survives a block that says nothing.
  void return_broken_block();
  void finish_text();
  void finish_block(ReplyEnd end);

  // Takes symbols from the front of held_ as text of the state.
  void release(Index count);
  std::string take_text(Index count);
  void emit_content(std::string_view bytes);
  void show_content(const std::string& text);
  void flush_content();
  void emit_arguments(std::string_view json);
  void close_channel();
  void emit(ReplyEvent::Kind kind, std::string_view text);

  std::shared_ptr<const ReplySyntax> syntax_;
  State state_;
  BlockForm form_ = BlockForm::Dsml;
  HeldSymbols held_;
  MarkerSet::Node node_ = 0;
  Index num_newlines_ = 0;  // right before the marker that may be coming, or last of all
  MarkerSet::Node stop_node_ = 0;
  std::optional<PendingWrapper> wrapper_;
  std::optional<DeferredOpener> deferred_;
  bool has_text_ = false;  // the channel has had other text than leading newlines

  Utf8Cleaner cleaner_;
  JsonExtractor json_;
  std::string block_text_;  // of a block that has no call yet
  std::string name_;        // of a tool or a parameter
  CallArguments arguments_;
  Index num_complete_calls_ = 0;
  bool is_ended_by_token_ = false;
  bool is_finished_ = false;
  Reply reply_;
  std::vector<ReplyEvent> events_;
};

}  // namespace fathom::text
