// The one exception type of the library and the closed list of what can go wrong.
#pragma once

#include <exception>
#include <string>

namespace precis {

// Every kind maps to one exit code of the program, and to a sentence about it (base/error.cpp).
enum class ErrorKind {
  kInternal,     // a bug in this program
  kUsage,        // unknown or bad option
  kConfig,       // missing or bad configuration
  kBudget,       // a memory budget that can't be met
  kUnsupported,  // a feature that is not built
  kData,         // missing, unreadable or malformed data file
  kModel,        // missing or malformed model, tokenizer or checkpoint
  kIo,           // output not writable, disk full, read error on an open file
  kOutOfMemory,
  kRankLost,     // another rank of the run that has ended or does not answer
  kNonFinite,    // non-finite or diverged
  kInterrupted,  // SIGINT, state saved
  kTerminated,   // SIGTERM, state saved
};

// All of them, in the order of their exit codes.
inline constexpr ErrorKind kErrorKinds[] = {
    ErrorKind::kInternal,    ErrorKind::kUsage,    ErrorKind::kConfig,    ErrorKind::kBudget,
    ErrorKind::kUnsupported, ErrorKind::kData,     ErrorKind::kModel,     ErrorKind::kIo,
    ErrorKind::kOutOfMemory, ErrorKind::kRankLost, ErrorKind::kNonFinite, ErrorKind::kInterrupted,
    ErrorKind::kTerminated};

// 0 is never returned.
int exit_code(ErrorKind kind);
// "out_of_memory"
const char* name(ErrorKind kind);
// For people: "memory is used up".
const char* description(ErrorKind kind);

// What a person needs to mend a mistake. Only `what` is required; empty parts are not shown.
struct ErrorDetails {
  std::string what;   // one clause: what went wrong
  std::string where;  // file, file:line:column, key or option
  std::string expected;
  std::string found;
  std::string hint;  // what to do about it
};

class Error : public std::exception {
 public:
  Error(ErrorKind kind, ErrorDetails details);

  ErrorKind kind() const { return kind_; }
  const ErrorDetails& details() const { return details_; }
  // "where: what; expected E, found F (hint)"
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorKind kind_;
  ErrorDetails details_;
  std::string message_;
};

}  // namespace precis
