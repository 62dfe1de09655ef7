// The table of error kinds.
#include "base/error.h"

#include <cstring>
#include <new>
#include <utility>

namespace precis {

namespace {

struct KindRow {
  ErrorKind kind;
  const char* name;
  int exit_code;
};

constexpr KindRow kKinds[] = {
    {ErrorKind::kInternal, "internal", 1},
    {ErrorKind::kUsage, "usage", 2},
    {ErrorKind::kConfig, "config", 2},
    {ErrorKind::kBudget, "budget", 2},
    {ErrorKind::kUnsupported, "unsupported", 2},
    {ErrorKind::kData, "data", 3},
    {ErrorKind::kModel, "model", 4},
    {ErrorKind::kIo, "io", 5},
    {ErrorKind::kOutOfMemory, "out_of_memory", 5},
    {ErrorKind::kNonFinite, "non_finite", 6},
    {ErrorKind::kInterrupted, "interrupted", 130},
    {ErrorKind::kTerminated, "terminated", 143},
};

const KindRow& row(ErrorKind kind) {
  for (const KindRow& candidate : kKinds) {
    if (candidate.kind == kind) return candidate;
  }
  return kKinds[0];
}

std::string compose(const ErrorDetails& details) {
  std::string message;
  if (!details.where.empty()) message += details.where + ": ";
  message += details.what;
  if (!details.expected.empty()) message += "; expected " + details.expected;
  if (!details.found.empty()) message += (details.expected.empty() ? "; found " : ", found ") + details.found;
  if (!details.hint.empty()) message += " (" + details.hint + ")";
  return message;
}

}  // namespace

int exit_code(ErrorKind kind) { return row(kind).exit_code; }

const char* name(ErrorKind kind) { return row(kind).name; }

Error::Error(ErrorKind kind, ErrorDetails details)
    : kind_(kind), details_(std::move(details)), message_(compose(details_)) {}

ErrorKind kind_of(const std::exception& exception) {
  if (const auto* error = dynamic_cast<const Error*>(&exception)) return error->kind();
  if (dynamic_cast<const std::bad_alloc*>(&exception) != nullptr) return ErrorKind::kOutOfMemory;
  // libtorch's CPU allocator has no exception type of its own.
  const bool out_of_memory = std::strstr(exception.what(), "can't allocate memory") != nullptr;
  return out_of_memory ? ErrorKind::kOutOfMemory : ErrorKind::kInternal;
}

}  // namespace precis
