// Digit groups and times.
#include "cli/numbers.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace precis::cli {

std::string grouped(int64_t number) {
  std::string digits = std::to_string(number);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string counted(int64_t number, const std::string& noun) {
  return std::to_string(number) + " " + noun + (number == 1 ? "" : "s");
}

std::string format_seconds(double seconds) {
  if (seconds < 0 || !std::isfinite(seconds)) return "-";
  const int64_t whole = std::llround(std::min(seconds, 1e9));
  char text[32];
  if (whole >= 3600) {
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%ld:%02ld", whole / 60, whole % 60);
  }
  return text;
}

}  // namespace precis::cli
