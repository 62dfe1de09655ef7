// Whole small files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.h"

namespace precis {

// Configurations and tokenizers are megabytes; whatever is larger than this was named by mistake.
inline constexpr int64_t kMaxWholeFile = int64_t{1} << 30;

// All bytes of a file. A missing file, a directory, a read error and a file above `limit` are Errors of
// `kind`.
std::string read_file(const std::filesystem::path& path, ErrorKind kind, int64_t limit = kMaxWholeFile);

}  // namespace precis
