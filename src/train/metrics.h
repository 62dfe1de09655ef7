// metrics.jsonl: the record of a run, one event a line.
#pragma once

#include <filesystem>
#include <memory>

#include "base/file_system.h"
#include "io/json.h"

namespace precis::train {

// Appends: what earlier sessions wrote stays, and each session begins with an event `start` that names the
// step it goes on from.
class MetricsLog {
 public:
  // Error{kIo} where the file can't be opened.
  MetricsLog(FileSystem& files, const std::filesystem::path& path);
  void write(const Json& event);
  // The events so far are on the disk when this returns.
  void sync();

 private:
  std::unique_ptr<OutputFile> file_;
};

}  // namespace precis::train
