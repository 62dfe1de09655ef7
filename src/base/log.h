// Where the library says things to a person: it never prints by itself.
#pragma once

#include <functional>
#include <string>

namespace precis {

enum class LogLevel { kInfo, kWarning };

// Called from the thread that works. An empty sink drops the message.
using LogSink = std::function<void(LogLevel, const std::string&)>;

inline void log(const LogSink& sink, LogLevel level, const std::string& message) {
  if (sink) sink(level, message);
}

}  // namespace precis
