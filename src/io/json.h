// Strict JSON: duplicate keys, invalid UTF-8, lone surrogates, numbers out of range, trailing text and
// nesting deeper than 200 are errors with line and column.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace precis {

// Keys keep the order of the file. Note that a look-up by key walks the object: iterate over large ones.
using Json = nlohmann::ordered_json;

inline constexpr int kMaxJsonDepth = 200;

// Where a piece of text stands in its file, so that errors can name the file's own line and byte.
struct TextOrigin {
  int64_t line = 1;  // of the first character, from 1
  int64_t byte = 0;  // offset of the first character
};

// `where` names the source in errors ("where:line:column", columns count code points from 1);
// `kind` is the error's kind (kModel, kData, ...). A leading byte order mark is an error.
Json parse_json(std::string_view text, const std::string& where, ErrorKind kind, TextOrigin origin = {});

// Reads a whole file first. A missing or unreadable file is an Error of `kind` too.
Json read_json_file(const std::filesystem::path& path, ErrorKind kind);

// The text of a value: on one line, or with `indent` spaces a level. Bytes that are no UTF-8, as a path may
// hold them, become U+FFFD.
std::string dump_json(const Json& value, int indent = -1);

// As the Hugging Face libraries write it: two spaces of indent, one newline at the end.
std::string pretty_json(const Json& value);

// A value as an error message shows it: on one line, ASCII, cut to 80 bytes.
std::string shown(const Json& value);

// Puts U+FFFD in place of invalid UTF-8 and of lone surrogate escapes; adds their number to `replaced`.
std::string replace_invalid_unicode_in_json(std::string_view text, int64_t& replaced);

}  // namespace precis
