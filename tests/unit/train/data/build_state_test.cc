#include "fathom/train/data/build_state.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace fathom::data {
namespace {

TEST(BuildState, ComesBackAsItWasSaved) {
  test::TempDir folder;
  EXPECT_EQ(load_state(folder / "state.json"), std::nullopt);
  const BuildState state = {
      .settings = "0\"1",
      .is_selected = true,
      .has_tokenizer = true,
      .num_decided = 1,
      .num_texts = 2,
      .num_signatures = 3,
      .hit_bytes = 4,
      .num_broken_lines = 5,
      .num_sharded = 6,
      .shards = {{.file = "a", .num_documents = 7, .num_tokens = 8, .num_targets = 9}}};
  save_state(state, folder / "state.json");
  EXPECT_EQ(load_state(folder / "state.json"), state);
  save_state({}, folder / "state.json");
  EXPECT_EQ(load_state(folder / "state.json"), BuildState());
}

TEST(BuildState, ADamagedFileIsNamed) {
  test::TempDir folder;
  test::write_file(folder / "state.json", "{\"settings\":\"x\",\"decided\":-1}");
  EXPECT_TRUE(fathom::testing::fails_with(ErrorCode::InvalidArgument, "state.json.decided",
                                          [&] { load_state(folder / "state.json"); }));
}

}  // namespace
}  // namespace fathom::data
