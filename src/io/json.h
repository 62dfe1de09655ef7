// Strict JSON: duplicate keys, invalid UTF-8, lone surrogates, numbers out of range, trailing text and
// nesting deeper than 200 are errors with line and column.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace precis {

// Keys keep the order of the file.
using Json = nlohmann::ordered_json;

// `where` names the source in errors ("where:line:column"); `kind` is the error's kind (kModel, kData, ...).
Json parse_json(std::string_view text, const std::string& where, ErrorKind kind);
// Reads a whole file first. A missing or unreadable file is an Error of `kind` too.
Json read_json_file(const std::filesystem::path& path, ErrorKind kind);

}  // namespace precis
