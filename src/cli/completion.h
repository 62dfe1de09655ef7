// Shell completion, made from the commands' own tables.
#pragma once

#include <string>
#include <vector>

#include "cli/command_table.h"

namespace precis::cli {

// A script that bash reads: commands, options and the values that are listed are completed, and file names
// everywhere else.
std::string bash_completion(const std::vector<CommandRow>& commands);

}  // namespace precis::cli
