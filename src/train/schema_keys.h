// How a row of the table of configuration keys is made: for each type of value its check, its words and its
// place in a TrainConfig. schema.cpp alone includes it.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "train/schema.h"

namespace precis::train::schema {

inline constexpr int64_t kMost = int64_t{1} << 53;  // integers that survive any JSON reader
inline constexpr int64_t kMostCounted = 1'000'000;  // factors of numbers of rows and updates

enum Flags : unsigned { kPlain = 0, kRequired = 1, kGuarded = 2 };

// `access` returns a reference to the field of a (const or not) TrainConfig.
template <class Access>
ConfigKey make_key(const char* name, std::string type, unsigned flags, const char* doc, Access access,
                   std::function<bool(TrainConfig&, const Json&)> set) {
  ConfigKey key{.name = name, .type = std::move(type), .doc = doc};
  key.required = (flags & kRequired) != 0;
  key.guarded = (flags & kGuarded) != 0;
  key.set = std::move(set);
  key.get = [access](const TrainConfig& config) { return Json(access(config)); };
  return key;
}

template <class T>
Json json_of(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

template <class Access>
ConfigKey make_optional(ConfigKey key, Access access) {
  key.nullable = true;
  key.type += " or null";
  key.set = [set = key.set, access](TrainConfig& config, const Json& value) {
    if (!value.is_null()) return set(config, value);
    access(config).reset();
    return true;
  };
  key.get = [access](const TrainConfig& config) { return json_of(access(config)); };
  return key;
}

inline std::string number_text(double value) {
  std::string text = Json(value).dump();
  return text.ends_with(".0") ? text.substr(0, text.size() - 2) : text;
}

struct Interval {
  double low = 0.0;
  double high = std::numeric_limits<double>::infinity();
  bool open_low = false;
  bool open_high = false;

  bool holds(double x) const {
    return std::isfinite(x) && (open_low ? x > low : x >= low) && (open_high ? x < high : x <= high);
  }
  std::string text() const {
    std::string result = (open_low ? " > " : " >= ") + number_text(low);
    if (std::isfinite(high)) result += (open_high ? " and < " : " and <= ") + number_text(high);
    return result;
  }
};

template <class Access>
auto set_integer(Access access, int64_t low, int64_t high) {
  return [=](TrainConfig& config, const Json& value) {
    if (!value.is_number_integer()) return false;
    if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(high)) return false;
    const int64_t number = value.get<int64_t>();
    if (number < low || number > high) return false;
    access(config) = number;
    return true;
  };
}

inline std::string integer_type(int64_t low, int64_t high) {
  return "integer >= " + std::to_string(low) + (high == kMost ? "" : " and <= " + std::to_string(high));
}

template <class Access>
ConfigKey integer(const char* name, int64_t low, unsigned flags, const char* doc, Access access,
                  int64_t high = kMost) {
  return make_key(name, integer_type(low, high), flags, doc, access, set_integer(access, low, high));
}

template <class Access>
ConfigKey optional_integer(const char* name, int64_t low, unsigned flags, const char* doc, Access access,
                           int64_t high = kMost) {
  ConfigKey key{
      .name = name, .type = integer_type(low, high), .doc = doc, .guarded = (flags & kGuarded) != 0};
  key.set = set_integer(access, low, high);
  return make_optional(std::move(key), access);
}

template <class Access>
auto set_real(Access access, Interval interval) {
  return [=](TrainConfig& config, const Json& value) {
    if (!value.is_number() || !interval.holds(value.get<double>())) return false;
    access(config) = value.get<double>();
    return true;
  };
}

template <class Access>
ConfigKey real(const char* name, Interval interval, unsigned flags, const char* doc, Access access) {
  return make_key(name, "number" + interval.text(), flags, doc, access, set_real(access, interval));
}

template <class Access>
ConfigKey optional_real(const char* name, Interval interval, unsigned flags, const char* doc, Access access) {
  ConfigKey key{
      .name = name, .type = "number" + interval.text(), .doc = doc, .guarded = (flags & kGuarded) != 0};
  key.set = set_real(access, interval);
  return make_optional(std::move(key), access);
}

template <class Access>
ConfigKey boolean(const char* name, unsigned flags, const char* doc, Access access) {
  return make_key(name, "true or false", flags, doc, access, [=](TrainConfig& config, const Json& value) {
    if (!value.is_boolean()) return false;
    access(config) = value.get<bool>();
    return true;
  });
}

template <class Access>
ConfigKey text(const char* name, const char* type, unsigned flags, const char* doc, Access access) {
  return make_key(name, type, flags, doc, access, [=](TrainConfig& config, const Json& value) {
    if (!value.is_string() || value.get_ref<const std::string&>().empty()) return false;
    access(config) = value.get<std::string>();
    return true;
  });
}

inline std::string one_of(const std::vector<std::string>& choices) {
  std::string type = "one of ";
  for (const std::string& choice : choices) type += (&choice == &choices.front() ? "" : ", ") + choice;
  return type;
}

template <class Access>
auto set_choice(Access access, std::vector<std::string> choices) {
  return [=](TrainConfig& config, const Json& value) {
    for (const std::string& choice : choices) {
      if (value == Json(choice)) {
        access(config) = choice;
        return true;
      }
    }
    return false;
  };
}

template <class Access>
ConfigKey choice(const char* name, std::vector<std::string> choices, unsigned flags, const char* doc,
                 Access access) {
  return make_key(name, one_of(choices), flags, doc, access, set_choice(access, choices));
}

template <class Access>
ConfigKey paths(const char* name, unsigned flags, const char* doc, Access access) {
  return make_key(name, "a list of files, such as [a.jsonl, b.jsonl.zst]", flags, doc, access,
                  [=](TrainConfig& config, const Json& value) {
                    std::vector<std::string> files;
                    if (!value.is_array()) return false;
                    for (const Json& file : value) {
                      if (!file.is_string() || file.get_ref<const std::string&>().empty()) return false;
                      files.push_back(file.get<std::string>());
                    }
                    access(config) = std::move(files);
                    return true;
                  });
}

}  // namespace precis::train::schema
