// The bar and its plain form.
#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "cli/program.h"
#include "text/printable.h"

namespace precis::cli {

namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr double kPlainSeconds = 15.0;
constexpr int kBarCells = 20;

int terminal_columns() {
  struct winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

Progress::Progress(LogSink sink, bool bar_allowed)
    : sink_(std::move(sink)), terminal_(bar_allowed && takes_control_sequences()), last_(Clock::now()) {}

bool Progress::due(double seconds) {
  const Clock::time_point now = Clock::now();
  if (std::chrono::duration<double>(now - last_).count() < seconds) return false;
  last_ = now;
  return true;
}

void Progress::draw(double fraction, const std::string& text, bool whole) {
  const int filled = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * kBarCells);
  const std::string line =
      "[" + std::string(filled, '#') + std::string(kBarCells - filled, '.') + "] " + printable(text);
  // A line that wraps could not be taken back.
  const std::string_view shown = whole ? line : fitting(line, terminal_columns() - 1);
  std::fprintf(stderr, "\r\033[K%.*s", static_cast<int>(shown.size()), shown.data());
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::update(double fraction, const std::string& text) {
  if (terminal_) {
    if (!drawn_ || due(kRedrawSeconds)) draw(fraction, text, /*whole=*/false);
  } else if (due(kPlainSeconds)) {
    log(sink_, LogLevel::kInfo, text);
  }
}

void Progress::finish(double fraction, const std::string& text) {
  if (terminal_) {
    draw(fraction, text, /*whole=*/true);
    std::fputc('\n', stderr);
    drawn_ = false;
  } else {
    log(sink_, LogLevel::kInfo, text);
  }
}

void Progress::clear() {
  if (!drawn_) return;
  std::fprintf(stderr, "\r\033[K");
  std::fflush(stderr);
  drawn_ = false;
}

LogSink Progress::wrap(LogSink sink) {
  return [this, sink = std::move(sink)](LogLevel level, const std::string& message) {
    clear();
    log(sink, level, message);
  };
}

}  // namespace precis::cli
