// The generation options of the command line, under transformers' names with dashes.
#pragma once

#include <CLI/CLI.hpp>

#include "io/json.h"

namespace precis::cli {

// Adds --num-beams and the others; what the user gives lands in `values` under transformers' names, ready for
// generate::resolve_generation_config. `values` must outlive the parse.
void add_generation_options(CLI::App& command, Json& values);

}  // namespace precis::cli
