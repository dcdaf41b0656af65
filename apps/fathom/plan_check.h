// fathom plan --check: predictions beside what `fathom bench --json` measured.
#pragma once

#include <string>
#include <vector>

namespace fathom::app {

struct PlanCheck {
  std::vector<std::string> records;
  std::string machine;
  bool json = false;
  bool markdown = false;
};
void check_plan(const PlanCheck& options);

}  // namespace fathom::app
