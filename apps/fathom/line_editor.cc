#include "apps/fathom/line_editor.h"

#include <histedit.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <string_view>
#include <system_error>
#include <vector>

namespace fathom::app {
namespace {

constexpr int kHistoryLines = 1000;
// A paste longer than this is shown as a mark, or the screen would be full of it.
constexpr std::size_t kShownPasteBytes = 400;
constexpr std::ptrdiff_t kShownPasteLines = 4;

constexpr std::string_view kPasteEnd = "\x1b[201~";

// UTF-8 of one character, under the locale that the editor has set.
void append_utf8(wchar_t letter, std::string& out) {
  std::array<char, MB_LEN_MAX> bytes{};
  std::mbstate_t state{};
  // NOLINTNEXTLINE(concurrency-mt-unsafe): its state is our own
  const std::size_t count = std::wcrtomb(bytes.data(), letter, &state);
  if (count != static_cast<std::size_t>(-1)) {
    out.append(bytes.data(), count);
  }
}

void write_to_terminal(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace

struct LineEditor::State {
  EditLine* editor = nullptr;
  History* history = nullptr;
  HistEvent event{};
  std::filesystem::path history_file;
  std::string prompt;
  bool is_dropped = false;
  termios before{};
  bool has_terminal = false;
  struct Paste {
    std::string mark;
    std::string text;
  };
  std::vector<Paste> pastes;  // of the line being edited

  static State& of(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return *static_cast<State*>(data);
  }

  static char* show_prompt(EditLine* editor) { return of(editor).prompt.data(); }

  static unsigned char on_newline(EditLine* editor, int /*key*/) {
    return el_insertstr(editor, "\n") == 0 ? CC_REFRESH : CC_ERROR;
  }

  static unsigned char on_drop(EditLine* editor, int /*key*/) {
    write_to_terminal("^C\r\n");
    of(editor).is_dropped = true;
    return CC_NEWLINE;
  }

  static unsigned char on_suspend(EditLine* editor, int /*key*/) {
    el_set(editor, EL_PREP_TERM, 0);
    std::raise(SIGTSTP);
    el_set(editor, EL_PREP_TERM, 1);
    return CC_REDISPLAY;
  }

  // Between ESC[200~ and ESC[201~ every key is text, also Enter.
  static unsigned char on_paste(EditLine* editor, int /*key*/) {
    std::string text;
    wchar_t letter = 0;
    while (!text.ends_with(kPasteEnd)) {
      if (el_wgetc(editor, &letter) != 1) {
        return CC_EOF;
      }
      append_utf8(letter == L'\r' ? L'\n' : letter, text);
    }
    text.resize(text.size() - kPasteEnd.size());
    return of(editor).insert_paste(std::move(text)) ? CC_REFRESH : CC_ERROR;
  }

  bool insert_paste(std::string text) {
    const std::ptrdiff_t num_lines = 1 + std::count(text.begin(), text.end(), '\n');
    if (text.size() <= kShownPasteBytes && num_lines <= kShownPasteLines) {
      return el_insertstr(editor, text.c_str()) == 0;
    }
    std::string mark = "[paste " + std::to_string(pastes.size() + 1) + ": " +
                       std::to_string(num_lines) + " lines, " + std::to_string(text.size()) +
                       " bytes]";
    pastes.push_back({std::move(mark), std::move(text)});
    return el_insertstr(editor, pastes.back().mark.c_str()) == 0;
  }

  // Puts pasted text where its mark still stands.
  std::string expanded(std::string line) const {
    for (const Paste& paste : pastes) {
      const std::size_t at = line.find(paste.mark);
      if (at != std::string::npos) {
        line.replace(at, paste.mark.size(), paste.text);
      }
    }
    return line;
  }

  void bind_keys() const {
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_ADDFN, "fathom-paste", "Take pasted text as it is", &on_paste);
    el_set(editor, EL_ADDFN, "fathom-newline", "Put a newline into the text", &on_newline);
    el_set(editor, EL_ADDFN, "fathom-drop", "Throw the line away", &on_drop);
    el_set(editor, EL_ADDFN, "fathom-suspend", "Stop the program until fg", &on_suspend);
    el_set(editor, EL_BIND, "\\e[200~", "fathom-paste", nullptr);
    el_set(editor, EL_BIND, "\\e^M", "fathom-newline", nullptr);
    el_set(editor, EL_BIND, "\\e^J", "fathom-newline", nullptr);
    el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_set(editor, EL_BIND, "\\e[1;5C", "em-next-word", nullptr);
    el_set(editor, EL_BIND, "\\e[1;5D", "ed-prev-word", nullptr);
    el_set(editor, EL_BIND, "\\e[3~", "ed-delete-next-char", nullptr);
    el_set(editor, EL_BIND, "\\e[H", "ed-move-to-beg", nullptr);
    el_set(editor, EL_BIND, "\\e[F", "ed-move-to-end", nullptr);
    // Ctrl-C and Ctrl-Z are keys here and no signals.
    el_set(editor, EL_SETTY, "-d", "-isig", nullptr);
    el_set(editor, EL_BIND, "^C", "fathom-drop", nullptr);
    el_set(editor, EL_BIND, "^Z", "fathom-suspend", nullptr);
  }

  void load_history() {
    history = history_init();
    ::history(history, &event, H_SETSIZE, kHistoryLines);
    ::history(history, &event, H_SETUNIQUE, 1);
    if (!history_file.empty()) {
      std::error_code ignored;
      std::filesystem::create_directories(history_file.parent_path(), ignored);
      ::history(history, &event, H_LOAD, history_file.c_str());
    }
    el_set(editor, EL_HIST, &::history, history);
  }

  void remember(const std::string& line) {
    if (line.find_first_not_of(" \t\n") == std::string::npos) {
      return;
    }
    ::history(history, &event, H_ENTER, line.c_str());
    if (!history_file.empty()) {
      ::history(history, &event, H_SAVE, history_file.c_str());
    }
  }
};

LineEditor::LineEditor(std::filesystem::path history_file) : state_(std::make_unique<State>()) {
  // Characters of a line are counted in columns: that takes a locale that knows UTF-8.
  // NOLINTBEGIN(concurrency-mt-unsafe): no other thread asks for the locale
  if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1) {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
  // NOLINTEND(concurrency-mt-unsafe)
  State& state = *state_;
  state.has_terminal = tcgetattr(STDIN_FILENO, &state.before) == 0;
  state.history_file = std::move(history_file);
  state.editor = el_init("fathom", stdin, stdout, stderr);
  el_set(state.editor, EL_CLIENTDATA, &state);
  el_set(state.editor, EL_SIGNAL, 1);  // redraws when the window changes its size
  el_set(state.editor, EL_PROMPT_ESC, &State::show_prompt, '\1');
  state.bind_keys();
  state.load_history();
}

LineEditor::~LineEditor() {
  history_end(state_->history);
  el_end(state_->editor);
  restore_terminal();
}

void LineEditor::restore_terminal() const noexcept {
  if (state_->has_terminal) {
    tcsetattr(STDIN_FILENO, TCSADRAIN, &state_->before);
  }
}

LineEditor::Input LineEditor::read(const std::string& prompt) {
  State& state = *state_;
  state.prompt = prompt;
  state.is_dropped = false;
  state.pastes.clear();
  write_to_terminal("\x1b[?2004h");  // marks pasted text
  int num_chars = 0;
  const char* found = el_gets(state.editor, &num_chars);
  const std::string line = found == nullptr || num_chars <= 0 ? "" : found;
  write_to_terminal("\x1b[?2004l");
  if (state.is_dropped) {
    return {Outcome::Dropped, ""};
  }
  if (line.empty()) {
    return {Outcome::EndInput, ""};
  }
  std::string text = state.expanded(line.substr(0, line.size() - (line.back() == '\n' ? 1 : 0)));
  state.remember(text);
  return {Outcome::Line, std::move(text)};
}

}  // namespace fathom::app
