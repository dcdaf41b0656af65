// A line of input from a person: editing keys, history, paste of many lines, all by libedit.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace fathom::app {

class LineEditor {
 public:
  enum class Outcome {
    Line,      // Enter
    Dropped,   // Ctrl-C: the line is thrown away
    EndInput,  // Ctrl-D on an empty line, or the terminal went away
  };
  struct Input {
    Outcome outcome;
    std::string text;  // UTF-8, without the final newline; may hold newlines inside
  };

  // `history_file` may be empty: no history is kept then. What cannot be read or written of it is
  // ignored: a chat must not end for its history.
  explicit LineEditor(std::filesystem::path history_file);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // Edits one line; Alt-Enter puts a newline into it, a long paste shows as one short mark.
  Input read(const std::string& prompt);

  // Puts the terminal back as it was before the editor; callable from any thread.
  void restore_terminal() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fathom::app
