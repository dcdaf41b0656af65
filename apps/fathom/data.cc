// fathom data: the group of commands about training data.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "apps/fathom/data_build.h"
#include "apps/fathom/options.h"

namespace fathom::app {

Command add_data(CLI::App& program) {
  CLI::App* group = program.add_subcommand("data", "Make and look at training data");
  group->require_subcommand(1);
  const Command build = add_data_build(*group);
  const Command inspect = add_data_inspect(*group);
  return {group, [build, inspect](InterruptWatch& interrupts) {
            for (const Command& command : {build, inspect}) {
              if (command.options->parsed()) {
                command.run(interrupts);
              }
            }
          }};
}

}  // namespace fathom::app
