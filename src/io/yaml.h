// Strict YAML: one document of mappings, sequences and scalars, each with its line and column. Duplicate
// keys, anchors, aliases, tags, tabs, NUL bytes and further documents are errors. Scalars stay text until
// somebody asks for a type, and then `010`, `yes` and `1e-5` are no integers and no booleans.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/stop.h"
#include "io/json.h"

namespace precis {

struct YamlMember;

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMapping };

  Kind kind = Kind::kNull;
  std::string text;     // of a scalar
  bool quoted = false;  // "x", 'x' or a block scalar: never anything but a string
  std::vector<YamlNode> items;
  std::vector<YamlMember> members;  // in the order of the file
  int line = 1;
  int column = 1;
  std::shared_ptr<const std::string> file;

  // Null where the key is missing.
  const YamlNode* find(std::string_view key) const;
  // "file:line:column"
  std::string where() const;
};

struct YamlMember {
  std::string key;
  int line = 1;
  int column = 1;
  YamlNode value;
};

// Whatever is wrong is Error{kConfig} at "file:line:column". An empty text is a null node.
YamlNode parse_yaml(std::string_view text, const std::string& file);
YamlNode read_yaml_file(const std::filesystem::path& path, const StopToken* stop = nullptr);

// A value given on the command line, `section.key=value`, as its two texts. Error{kUsage} for anything else.
std::pair<std::string, std::string> split_override(const std::string& text);
inline constexpr const char* kCommandLine = "command line";  // the place of such a value

// What a plain scalar can be read as.
bool is_yaml_integer(const YamlNode& node);  // decimal, no leading zero, within 64 bits
bool is_yaml_real(const YamlNode& node);     // also 1e-4 and 1.0e-4; finite
bool is_yaml_boolean(const YamlNode& node);  // true or false

// The value, or Error{kConfig} that names `key`, the place and what was found.
int64_t yaml_integer(const YamlNode& node, const std::string& key);
double yaml_real(const YamlNode& node, const std::string& key);
bool yaml_boolean(const YamlNode& node, const std::string& key);
// Quoted, or plain and nothing else than a string.
std::string yaml_string(const YamlNode& node, const std::string& key);
// Plain scalars become integers, numbers and booleans where they are such; everything else is a string.
Json to_json(const YamlNode& node);
// "null", "a mapping", "'text'": for errors.
std::string describe(const YamlNode& node);

}  // namespace precis
