// Where the library says things to a person: it never prints by itself.
#pragma once

#include <functional>
#include <string>

namespace precis {

enum class LogLevel { kInfo, kWarning };

// Called from the thread that works. An empty sink drops the message.
using LogSink = std::function<void(LogLevel, const std::string&)>;

}  // namespace precis
