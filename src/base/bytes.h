// Amounts of memory as people write them.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace precis {

// "8GiB", "512MiB", "6e9", "1000" -> bytes. Throws Error of `kind` naming `where`.
int64_t parse_bytes(const std::string& text, const std::string& where, ErrorKind kind);
// "1.5 GiB"
std::string format_bytes(int64_t bytes);

}  // namespace precis
