// The library's one exception type, and what exceptions of other types mean.
#pragma once

#include "precis/error.h"

namespace precis {

// What any exception means: an Error's own kind, memory that is used up, or else a bug.
ErrorKind kind_of(const std::exception& exception);
// The same as an Error: a copy of one, or one of that kind which says so.
Error as_error(const std::exception& exception);

}  // namespace precis
