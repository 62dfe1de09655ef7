// Saying things to a person.
#pragma once

#include "precis/log.h"

namespace precis {

inline void log(const LogSink& sink, LogLevel level, const std::string& message) {
  if (sink) sink(level, message);
}

}  // namespace precis
