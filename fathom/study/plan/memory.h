// What a model takes in memory, part by part, and where it fits. Formulas: docs/planning.md.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fathom/model/config/footprint.h"
#include "fathom/study/plan/machine.h"
#include "fathom/study/plan/model_work.h"

namespace fathom::plan {

// Tokens that a step of a prompt computes at a time (ModelOptions::step_tokens).
inline constexpr Index kStepTokens = 512;
// Raw rows are kept for so many tokens (ModelOptions::raw_tokens).
inline constexpr Index kRawTokens = 8192;

// Bytes of what a step of so many tokens computes in between, behind `context` tokens: the largest
// that lies in the arena at a time, and cache rows of its tokens that are dropped at its end.
Index step_bytes(const config::ModelConfig& config, Index num_tokens, Index context);
// What huge pages take beyond what is needed: of the file around weights that are no panels, and
// behind the last row of the cache.
Index rounding_bytes(const config::ModelConfig& config, const Storage& storage);

struct MemoryDemand {
  Index num_sequences = 1;
  Index context = 4096;
  Index raw_tokens = kRawTokens;
  Index step_tokens = kStepTokens;
};
struct MemoryParts {
  Index weights_bytes = 0;
  Index cache_bytes = 0;     // rows kept for the whole context, of all sequences
  Index raw_rows_bytes = 0;  // rows of the last tokens, for going back
  Index step_bytes = 0;
  Index rounding_bytes = 0;
  Index process_bytes = 0;  // the program itself
  Index total() const;
};
MemoryParts memory_parts(const config::ModelConfig& config,
                         const Storage& storage,
                         const MemoryDemand& demand);

// Bytes of weights by format, in the order of their names.
std::map<std::string, Index> weights_by_format(const config::ModelConfig& config,
                                               const Storage& storage);
// Bytes of weights that `fast` copies into panels where memory is free: not more than before, as
// the pages of the file are given back.
Index panel_bytes(const config::ModelConfig& config, const Storage& storage);

// A way to store weights that `fathom synth` writes.
struct Quantisation {
  std::string name;  // fp4, gguf-fp4, ...
  std::string title;
  Storage storage;
};
std::vector<Quantisation> quantisations(const config::ModelConfig& config);

struct Fit {
  bool fits = false;
  std::string reason;  // why not, with the numbers; or what is missing for saying it
  bool is_known = true;
};
// All of it in the machine's memory, with a twentieth left to the system.
Fit fits_in_ram(const Machine& machine, const MemoryParts& parts);
// Weights and caches in the memory of all accelerators together.
Fit fits_in_accelerators(const Machine& machine, const MemoryParts& parts);
// In memory what every token reads and the caches, the experts on the disk.
Fit fits_with_experts_on_disk(const Machine& machine, const MemoryParts& parts, Index expert_bytes);
// What of the routed experts the memory holds beside everything else: 0 to 1.
double resident_share_of_experts(const Machine& machine,
                                 const MemoryParts& parts,
                                 Index expert_bytes);

}  // namespace fathom::plan
