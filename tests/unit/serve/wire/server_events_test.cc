#include "fathom/serve/wire/server_events.h"

#include <gtest/gtest.h>

namespace fathom::wire {
namespace {

TEST(ServerEvents, AreFramedAsTheStandardSays) {
  EXPECT_EQ(data_event("[DONE]"), "data: [DONE]\n\n");
  EXPECT_EQ(named_event("ping", "{}"), "event: ping\ndata: {}\n\n");
  EXPECT_EQ(comment_event("keep-alive"), ": keep-alive\n\n");
}

}  // namespace
}  // namespace fathom::wire
