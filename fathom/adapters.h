// Low-rank adapters (LoRA) of opened models: reading them, and telling weights apart.
//
// Part of the door and not installed.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "fathom/families.h"
#include "fathom/model/weights/adapter_file.h"

namespace fathom {

// Names, shapes and places of all tensors, and bytes of some: what is replaced by other weights is
// told apart without reading all of them.
std::string weights_identity(const weights::Checkpoint& checkpoint);

// What an adapter's files say of the model they were made over.
weights::AdapterBase adapter_base(const OpenedModel& opened);

using Warn = std::function<void(const std::string& warning)>;
// Throws what read_adapter throws, and InvalidArgument for an adapter of a model of another shape.
// `warn`, unless it is empty, is told of one that says it was made over other weights than these.
std::shared_ptr<const weights::Adapter> open_adapter(const std::string& path,
                                                     const OpenedModel& opened,
                                                     const Warn& warn);

// Every number of it, and where it belongs: equal only if it changes a model alike.
std::string adapter_identity(const weights::Adapter& adapter);

// The same opened model with an adapter beside its weights; mapped files are shared.
OpenedModel adapted(const OpenedModel& opened, std::shared_ptr<const weights::Adapter> adapter);

}  // namespace fathom
