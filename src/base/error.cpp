// The table of error kinds.
#include "base/error.h"

#include <cstring>
#include <filesystem>
#include <new>
#include <utility>

namespace precis {

namespace {

struct KindRow {
  ErrorKind kind;
  const char* name;
  int exit_code;
  const char* description;
};

constexpr KindRow kKinds[] = {
    {ErrorKind::kInternal, "internal", 1, "internal: a bug"},
    {ErrorKind::kUsage, "usage", 2, "an option, an argument or a setting that is unknown or out of range"},
    {ErrorKind::kConfig, "config", 2, "a configuration that is missing or wrong"},
    {ErrorKind::kBudget, "budget", 2, "a memory budget that can't be met"},
    {ErrorKind::kUnsupported, "unsupported", 2, "something that is not built"},
    {ErrorKind::kData, "data", 3,
     "data that is missing, unreadable or malformed, or a row without what it needs"},
    {ErrorKind::kModel, "model", 4, "a model, tokenizer or checkpoint that is missing or malformed"},
    {ErrorKind::kIo, "io", 5, "an output that can't be written, a full disk, a read error"},
    {ErrorKind::kOutOfMemory, "out_of_memory", 5, "memory that is used up"},
    {ErrorKind::kRankLost, "rank_lost", 5, "another rank of a run that has ended or does not answer"},
    {ErrorKind::kNonFinite, "non_finite", 6,
     "a loss, a weight or a score of a next token that is not finite"},
    {ErrorKind::kInterrupted, "interrupted", 130, "after SIGINT, with the state saved"},
    {ErrorKind::kTerminated, "terminated", 143, "after SIGTERM or SIGHUP, with the state saved"},
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
  // what() ends at one.
  for (size_t at = message.find('\0'); at != std::string::npos; at = message.find('\0', at)) {
    message.replace(at, 1, "\\x00");
  }
  return message;
}

// By what libtorch's allocator, CUDA and cuBLAS say: this layer does without their types.
bool is_out_of_gpu_memory(const std::exception& exception) {
  for (const char* told : {"CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"}) {
    if (std::strstr(exception.what(), told) != nullptr) return true;
  }
  return false;
}

}  // namespace

int exit_code(ErrorKind kind) { return row(kind).exit_code; }

const char* name(ErrorKind kind) { return row(kind).name; }

const char* description(ErrorKind kind) { return row(kind).description; }

Error::Error(ErrorKind kind, ErrorDetails details)
    : kind_(kind), details_(std::move(details)), message_(compose(details_)) {}

ErrorKind kind_of(const std::exception& exception) {
  if (const auto* error = dynamic_cast<const Error*>(&exception)) return error->kind();
  if (dynamic_cast<const std::bad_alloc*>(&exception) != nullptr) return ErrorKind::kOutOfMemory;
  // Of a path that can't be looked at: too long, a loop of links, a folder that may not be searched.
  if (dynamic_cast<const std::filesystem::filesystem_error*>(&exception) != nullptr) return ErrorKind::kIo;
  // libtorch's CPU allocator has no exception type of its own.
  const bool out_of_memory = std::strstr(exception.what(), "can't allocate memory") != nullptr;
  return out_of_memory || is_out_of_gpu_memory(exception) ? ErrorKind::kOutOfMemory : ErrorKind::kInternal;
}

Error as_error(const std::exception& exception) {
  if (const auto* error = dynamic_cast<const Error*>(&exception)) return *error;
  if (const auto* failure = dynamic_cast<const std::filesystem::filesystem_error*>(&exception)) {
    return Error(ErrorKind::kIo, {.what = failure->code().message(), .where = failure->path1().string()});
  }
  const ErrorKind kind = kind_of(exception);
  if (is_out_of_gpu_memory(exception)) {
    return Error(kind,
                 {.what = "out of GPU memory",
                  .hint = "other programs may hold a part of it; a memory budget below what is free keeps "
                          "training and decoding within it, and --device cpu does without"});
  }
  return Error(
      kind, {.what = kind == ErrorKind::kOutOfMemory ? "out of memory"
                                                     : std::string("internal error: ") + exception.what()});
}

}  // namespace precis
