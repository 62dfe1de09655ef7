// Reading and writing amounts of memory.
#include "base/bytes.h"

#include <charconv>
#include <cstdio>

namespace precis {

int64_t parse_bytes(const std::string& text, const std::string& where, ErrorKind kind) {
  struct Unit {
    const char* suffix;
    double bytes;
  };
  constexpr double kKi = 1024.0;
  static constexpr Unit kUnits[] = {{"", 1},
                                    {"B", 1},
                                    {"kB", 1e3},
                                    {"KB", 1e3},
                                    {"MB", 1e6},
                                    {"GB", 1e9},
                                    {"TB", 1e12},
                                    {"KiB", kKi},
                                    {"MiB", kKi * kKi},
                                    {"GiB", kKi * kKi * kKi},
                                    {"TiB", kKi * kKi * kKi * kKi}};
  double number = 0;
  const char* const text_end = text.data() + text.size();
  const auto [end, problem] = std::from_chars(text.data(), text_end, number);
  const std::string rest(end, text_end);
  const size_t start = rest.find_first_not_of(' ');
  const std::string suffix = start == std::string::npos ? "" : rest.substr(start);
  for (const Unit& unit : kUnits) {
    if (problem == std::errc() && suffix == unit.suffix && number > 0 && number * unit.bytes < 9e18) {
      return static_cast<int64_t>(number * unit.bytes);
    }
  }
  throw Error(kind, {.what = "not an amount of memory",
                     .where = where,
                     .expected = "a positive number with a unit, such as 8GiB or 512MiB",
                     .found = "'" + text + "'"});
}

std::string format_bytes(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

}  // namespace precis
