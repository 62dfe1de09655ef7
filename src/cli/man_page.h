// The manual page precis(1), made from the commands' own tables.
#pragma once

#include <string>
#include <vector>

#include "cli/command_table.h"

namespace precis::cli {

// The group of the options that every command has; the page tells them once.
inline constexpr const char* kCommonGroup = "Common";

// In roff, for the `man` macros. The first row is the program.
std::string man_page(const std::vector<CommandRow>& commands, const std::string& version);

}  // namespace precis::cli
