// Finds the model beside the executable.
#include "cli/default_model.h"

#include <system_error>

#include "base/error.h"

namespace precis::cli {

namespace fs = std::filesystem;

fs::path default_model() {
  std::error_code problem;
  const fs::path program = fs::read_symlink("/proc/self/exe", problem);
  const fs::path model = program.parent_path().parent_path() / "share/precis/models/describe";
  const fs::path found = problem ? fs::path() : fs::canonical(model, problem);
  if (problem) {
    throw Error(ErrorKind::kModel,
                {.what = "no model is named, and the one that comes with precis is missing",
                 .where = model.string(),
                 .found = problem.message(),
                 .hint = "name a model's directory as the first argument, or with --model"});
  }
  return found;
}

}  // namespace precis::cli
