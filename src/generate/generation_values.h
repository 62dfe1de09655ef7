// Look-up of generation settings over their two sources, the caller's options and the model's file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "io/json.h"

namespace precis::generate {

class GenerationValues {
 public:
  // Both are objects and must outlive this. `where` names the model's file in errors.
  GenerationValues(const Json& options, const Json& model, std::string where)
      : options_(options), model_(model), where_(std::move(where)) {}

  struct Value {
    const Json* json = nullptr;  // null: set nowhere
    bool from_option = false;
  };
  // An option wins; null counts as not set.
  Value find(const char* key) const;

  // Throw where a value has the wrong type or lies outside [least, most].
  std::optional<int64_t> integer(const char* key, int64_t least, int64_t most) const;
  std::optional<double> real(const char* key) const;
  std::optional<bool> boolean(const char* key) const;
  // One integer or a list of at least one.
  std::vector<int64_t> integers(const char* key, int64_t least, int64_t most) const;
  // A list of integers that may be empty.
  std::vector<int64_t> list(const char* key, int64_t least, int64_t most) const;
  // A list of at least one list of at least one id from 0 to `last`.
  std::vector<std::vector<int32_t>> sequences(const char* key, int64_t last) const;
  // The ids of a list like those, which is a part of the setting `key`.
  std::vector<int32_t> sequence(const char* key, const Value& setting, const Json& ids, int64_t last) const;

  [[noreturn]] void fail(const char* key, const Value& value, const std::string& expected,
                         const std::string& hint = {}) const;
  // Throws kUnsupported for the first key that transformers would honour and that is not built.
  // `beams`: beam search, where some keys mean nothing.
  void refuse_unsupported(bool beams) const;

 private:
  std::string where_of(const char* key, const Value& value) const;

  const Json& options_;
  const Json& model_;
  std::string where_;
};

}  // namespace precis::generate
