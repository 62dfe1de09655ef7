// The manual page precis(1), made from the commands' own tables.
#pragma once

#include <string>
#include <vector>

#include "cli/command_table.h"

namespace precis::cli {

// In roff, for the `man` macros. The first row is the program. The common options are told once.
std::string man_page(const std::vector<CommandRow>& commands, const std::string& version);

}  // namespace precis::cli
