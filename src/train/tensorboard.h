// TensorBoard event files: the numbers of metrics.jsonl once more, as scalars (TensorFlow, event.proto and
// summary.proto).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/file_system.h"
#include "io/json.h"

namespace precis::train {

// A session writes a file of its own, `events.out.tfevents.*`, whose name sorts behind those in the folder.
// It begins with the restart at `first_step`, at which TensorBoard forgets what earlier sessions had for that
// step and later ones: so what was done twice is shown once.
class TensorBoardLog {
 public:
  // Error{kIo} where the file can't be made.
  TensorBoardLog(FileSystem& files, const std::filesystem::path& folder, int64_t first_step);
  // `event` is a line of metrics.jsonl. Of `step` and `validation` the scalars are written, under `train/`
  // and `validation/`; other events have none.
  void write(const Json& event);
  // The events so far are on the disk when this returns.
  void sync();

 private:
  std::unique_ptr<OutputFile> file_;
};

}  // namespace precis::train
