// Progress of long work on stderr: one line redrawn in place on a terminal, a plain line every so often
// elsewhere.
#pragma once

#include <chrono>
#include <string>

#include "base/log.h"

namespace precis::cli {

class Progress {
 public:
  // `sink` takes the plain lines. A bar is drawn where stderr is a terminal, not a dumb one, and
  // `bar_allowed`.
  Progress(LogSink sink, bool bar_allowed);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  // fraction in [0, 1]. Calls may come far more often than anything is shown.
  void update(double fraction, const std::string& text);
  // Shows this state, however long its line, whatever was shown last, and leaves it standing.
  void finish(double fraction, const std::string& text);
  // Takes the bar off the screen, before anything else is written.
  void clear();
  // A sink that clears the bar before each message.
  LogSink wrap(LogSink sink);

 private:
  using Clock = std::chrono::steady_clock;
  bool due(double seconds);
  void draw(double fraction, const std::string& text, bool whole);

  LogSink sink_;
  bool terminal_;
  bool drawn_ = false;
  Clock::time_point last_;
};

}  // namespace precis::cli
