// The prompt dialects of DeepSeek-V4 checkpoints, as one table (text specification 0).
//
// Checkpoints of one architecture were trained on different prompts. What differs is data: the
// texts of the effort levels, the names of the tool tags, the token in front of system messages.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>

namespace fathom::text {

// A name that clients use for an effort, and what stands in front of everything because of it.
struct EffortLevel {
  std::string_view name;
  std::string_view text;
};

struct Dialect {
  std::string_view name;
  std::string_view encoder_symbol;  // what the checkpoint's own encoder defines in this dialect
  std::span<const EffortLevel> efforts;
  std::string_view default_effort;  // the published encoder's
  // Tool section: text around the schemas, and the names inside <｜DSML｜...> tags.
  std::string_view tools_head;
  std::string_view tools_tail;
  std::string_view calls_tag;
  std::string_view invoke_tag;
  std::string_view parameter_tag;
  // In front of the first system message or effort text and of every later system message, which
  // counts as a user's turn then. Empty: system messages have no marker.
  std::string_view system_token;
};

std::span<const Dialect> dialects();

// Throws InvalidArgument naming the ones there are.
const Dialect& dialect_from_name(std::string_view name);

// The prompt encoder that official checkpoints bring along, relative to their folder.
inline constexpr std::string_view kBundledEncoder = "encoding/encoding_dsv4.py";

// The dialect of a checkpoint folder, by the encoder bundled with it. Without one, or for a single
// file: `preview`, which renders the default effort as every dialect before V4.1 does.
const Dialect& detect_dialect(const std::filesystem::path& checkpoint);

// The text of an effort. Throws InvalidArgument naming the levels of the dialect.
std::string_view effort_text(const Dialect& dialect, std::string_view effort);

// Appended to a system message with a response format, before the schema.
extern const std::string_view kResponseFormatHead;

}  // namespace fathom::text
