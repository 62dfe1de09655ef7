// Whole small files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/stop.h"

namespace precis {

// Configurations and tokenizers are megabytes; whatever is larger than this was named by mistake.
inline constexpr int64_t kMaxWholeFile = int64_t{1} << 30;

// Whether the folder has an entry of this name, be it one that can't be read: a link that leads nowhere is
// damage, and no missing file.
bool has_entry(const std::filesystem::path& path);

// All bytes of a file. A missing file, a directory, a read error and a file above `limit` are Errors of
// `kind`. With `stop`, waiting for a pipe ends when a stop is requested.
std::string read_file(const std::filesystem::path& path, ErrorKind kind, int64_t limit = kMaxWholeFile,
                      const StopToken* stop = nullptr);

}  // namespace precis
