#include "fathom/serve/wire/server_events.h"

namespace fathom::wire {

std::string data_event(std::string_view data) {
  std::string event = "data: ";
  event.append(data).append("\n\n");
  return event;
}

std::string named_event(std::string_view name, std::string_view data) {
  std::string event = "event: ";
  event.append(name).append("\n").append(data_event(data));
  return event;
}

std::string comment_event(std::string_view text) {
  std::string event = ": ";
  event.append(text).append("\n\n");
  return event;
}

}  // namespace fathom::wire
