// The small model that comes with the program: what `summarize` uses where none is named.
#pragma once

#include <filesystem>

namespace precis::cli {

// ../share/precis/models/describe as seen from the running executable, in a build and in an installed tree
// alike. Throws Error{kModel} where it is not there.
std::filesystem::path default_model();

}  // namespace precis::cli
