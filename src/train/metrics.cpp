// Appending events.
#include "train/metrics.h"

#include <fstream>

namespace precis::train {

namespace {

// A process that was killed may have left half a line.
bool ends_inside_a_line(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file || file.tellg() <= 0) return false;
  file.seekg(-1, std::ios::end);
  return file.get() != '\n';
}

}  // namespace

// Opened first: that refuses a pipe, whose end could not be looked at.
MetricsLog::MetricsLog(FileSystem& files, const std::filesystem::path& path) : file_(files.append(path)) {
  if (ends_inside_a_line(path)) file_->write("\n");
}

void MetricsLog::write(const Json& event) { file_->write(dump_json(event) + "\n"); }

void MetricsLog::sync() { file_->sync(); }

}  // namespace precis::train
