// A strict tree built from yaml-cpp's events: its own nodes keep duplicates and guess types.
#include "io/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>
#include <unordered_map>
#include <utility>

#include "io/read_file.h"
#include "io/utf8.h"

namespace precis {

namespace {

constexpr size_t kMaxDepth = 100;
constexpr int64_t kMaxConfiguration = int64_t{1} << 24;

[[noreturn]] void refuse(const std::string& where, std::string what, std::string found = "",
                         std::string hint = "") {
  throw Error(ErrorKind::kConfig,
              {.what = std::move(what), .where = where, .found = std::move(found), .hint = std::move(hint)});
}

class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::string file) : file_(std::make_shared<const std::string>(std::move(file))) {
    root_.file = file_;
  }

  YamlNode take() { return std::move(root_); }
  std::string where(const YAML::Mark& mark) const {
    return *file_ + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1);
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (seen_document_) refuse(where(mark), "a second document; a configuration is one");
    seen_document_ = true;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check(mark, "?", anchor);
    if (expects_key()) refuse(where(mark), "a key that is empty or null");
    place(node(YamlNode::Kind::kNull, mark));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(where(mark), "aliases are not supported");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check(mark, tag, anchor);
    if (value.find('\0') != std::string::npos) refuse(where(mark), "a NUL character");
    if (expects_key()) return start_member(mark, value);
    YamlNode scalar = node(YamlNode::Kind::kScalar, mark);
    scalar.text = value;
    scalar.quoted = tag == "!";
    place(std::move(scalar));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kSequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kMapping, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Level {
    YamlNode* node;
    bool expects_key;
    std::unordered_map<std::string, int> lines;  // of the mapping's keys so far
  };

  YamlNode node(YamlNode::Kind kind, const YAML::Mark& mark) const {
    YamlNode result;
    result.kind = kind;
    result.line = mark.line + 1;
    result.column = mark.column + 1;
    result.file = file_;
    return result;
  }

  // yaml-cpp says "!" for quoted scalars and "?" for everything else without a tag.
  void check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) const {
    if (anchor != YAML::NullAnchor) refuse(where(mark), "anchors are not supported");
    if (!tag.empty() && tag != "?" && tag != "!")
      refuse(where(mark), "tags are not supported", tag.substr(0, 100));
  }

  bool expects_key() const {
    return !open_.empty() && open_.back().node->kind == YamlNode::Kind::kMapping && open_.back().expects_key;
  }

  void start_member(const YAML::Mark& mark, const std::string& key) {
    Level& level = open_.back();
    const auto [earlier, is_new] = level.lines.try_emplace(key, mark.line + 1);
    if (!is_new) {
      refuse(where(mark),
             "duplicate key '" + key.substr(0, 100) + "'; first on line " + std::to_string(earlier->second));
    }
    level.node->members.push_back({key, mark.line + 1, mark.column + 1, {}});
    level.expects_key = false;
  }

  YamlNode* place(YamlNode value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Level& level = open_.back();
    if (level.node->kind == YamlNode::Kind::kSequence) {
      level.node->items.push_back(std::move(value));
      return &level.node->items.back();
    }
    level.expects_key = true;
    level.node->members.back().value = std::move(value);
    return &level.node->members.back().value;
  }

  void open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    check(mark, tag, anchor);
    if (expects_key()) refuse(where(mark), "a key must be a single word or string");
    if (open_.size() == kMaxDepth) refuse(where(mark), "nested too deeply");
    // A container is filled before its parent grows again, so that the pointer stays good.
    YamlNode* const placed = place(node(kind, mark));
    open_.push_back({placed, true, {}});
  }
  void close() { open_.pop_back(); }

  std::shared_ptr<const std::string> file_;
  YamlNode root_;
  std::vector<Level> open_;
  bool seen_document_ = false;
};

// Bytes that YAML, or this reader of it, has no use for.
void check_bytes(std::string_view text, const std::string& file) {
  const auto place = [&](size_t at) {
    const std::string_view before = text.substr(0, at);
    const size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
    return file + ":" + std::to_string(1 + std::count(before.begin(), before.end(), '\n')) + ":" +
           std::to_string(at - line_start + 1);
  };
  const size_t invalid = find_invalid_utf8(text);
  if (invalid != std::string_view::npos) {
    refuse(place(invalid), "invalid UTF-8", describe_invalid_utf8(text, invalid));
  }
  const auto control = std::find_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\r') || c == 0x7F;
  });
  if (control == text.end()) return;
  const size_t at = static_cast<size_t>(control - text.begin());
  if (*control == '\t') refuse(place(at), "a tab", "", "indent with spaces; in a quoted string write \\t");
  refuse(place(at), *control == '\0' ? "a NUL byte" : "a control character", describe_invalid_utf8(text, at));
}

bool is_plain(const YamlNode& node) { return node.kind == YamlNode::Kind::kScalar && !node.quoted; }

size_t count_digits(std::string_view text) {
  return std::min(text.find_first_not_of("0123456789"), text.size());
}

// Whether `text` is -? digits without a leading zero; what follows the digits is left in `rest`.
bool take_whole_part(std::string_view text, std::string_view& rest) {
  if (!text.empty() && text[0] == '-') text.remove_prefix(1);
  const size_t digits = count_digits(text);
  rest = text.substr(digits);
  return digits == 1 || (digits > 1 && text[0] != '0');
}

std::optional<int64_t> integer_of(const YamlNode& node) {
  std::string_view rest;
  if (!is_plain(node) || !take_whole_part(node.text, rest) || !rest.empty()) return std::nullopt;
  int64_t value = 0;
  const char* const end = node.text.data() + node.text.size();
  if (std::from_chars(node.text.data(), end, value).ec != std::errc()) return std::nullopt;
  return value;
}

std::optional<double> real_of(const YamlNode& node) {
  std::string_view rest;
  if (!is_plain(node) || !take_whole_part(node.text, rest)) return std::nullopt;
  if (!rest.empty() && rest[0] == '.') {
    rest.remove_prefix(1);
    rest.remove_prefix(count_digits(rest));
  }
  if (!rest.empty()) {
    if (rest[0] != 'e' && rest[0] != 'E') return std::nullopt;
    rest.remove_prefix(1);
    if (!rest.empty() && (rest[0] == '+' || rest[0] == '-')) rest.remove_prefix(1);
    if (rest.empty() || count_digits(rest) != rest.size()) return std::nullopt;
  }
  double value = 0;
  const char* const end = node.text.data() + node.text.size();
  if (std::from_chars(node.text.data(), end, value).ec != std::errc()) return std::nullopt;
  return value;
}

[[noreturn]] void wrong_type(const YamlNode& node, const std::string& key, const std::string& expected,
                             const std::string& hint = "") {
  throw Error(ErrorKind::kConfig, {.what = "bad value for '" + key + '\'',
                                   .where = node.where(),
                                   .expected = expected,
                                   .found = describe(node),
                                   .hint = hint});
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const YamlMember& member : members) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

std::string YamlNode::where() const {
  return (file ? *file : std::string()) + ":" + std::to_string(line) + ":" + std::to_string(column);
}

YamlNode parse_yaml(std::string_view text, const std::string& file) {
  check_bytes(text, file);
  TreeBuilder builder(file);
  std::istringstream stream{std::string(text)};
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    refuse(error.mark.is_null() ? file : builder.where(error.mark), "bad YAML: " + error.msg);
  }
  return builder.take();
}

YamlNode read_yaml_file(const std::filesystem::path& path, const StopToken* stop) {
  return parse_yaml(read_file(path, ErrorKind::kConfig, kMaxConfiguration, stop), path.string());
}

std::pair<std::string, std::string> split_override(const std::string& text) {
  const size_t invalid = find_invalid_utf8(text);
  if (invalid != std::string::npos) {
    throw Error(ErrorKind::kUsage, {.what = "an override that is not UTF-8",
                                    .where = kCommandLine,
                                    .found = describe_invalid_utf8(text, invalid)});
  }
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw Error(ErrorKind::kUsage, {.what = "not an override",
                                    .where = kCommandLine,
                                    .expected = "section.key=value",
                                    .found = "'" + text + "'"});
  }
  return {text.substr(0, equals), text.substr(equals + 1)};
}

bool is_yaml_integer(const YamlNode& node) { return integer_of(node).has_value(); }

bool is_yaml_real(const YamlNode& node) { return real_of(node).has_value(); }

bool is_yaml_boolean(const YamlNode& node) {
  return is_plain(node) && (node.text == "true" || node.text == "false");
}

int64_t yaml_integer(const YamlNode& node, const std::string& key) {
  const std::optional<int64_t> value = integer_of(node);
  if (!value) wrong_type(node, key, "an integer");
  return *value;
}

double yaml_real(const YamlNode& node, const std::string& key) {
  const std::optional<double> value = real_of(node);
  if (!value) wrong_type(node, key, "a number");
  return *value;
}

bool yaml_boolean(const YamlNode& node, const std::string& key) {
  if (!is_yaml_boolean(node)) wrong_type(node, key, "true or false");
  return node.text == "true";
}

std::string yaml_string(const YamlNode& node, const std::string& key) {
  const bool is_other = is_yaml_real(node) || is_yaml_boolean(node);
  if (is_other) wrong_type(node, key, "a string", "put it in quotes");
  if (node.kind != YamlNode::Kind::kScalar) wrong_type(node, key, "a string");
  return node.text;
}

Json to_json(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return nullptr;
    case YamlNode::Kind::kSequence: {
      Json list = Json::array();
      for (const YamlNode& item : node.items) list.push_back(to_json(item));
      return list;
    }
    case YamlNode::Kind::kMapping: {
      Json object = Json::object();
      for (const YamlMember& member : node.members) object[member.key] = to_json(member.value);
      return object;
    }
    case YamlNode::Kind::kScalar:
      break;
  }
  if (const auto integer = integer_of(node)) return *integer;
  if (const auto real = real_of(node)) return *real;
  if (is_yaml_boolean(node)) return node.text == "true";
  return node.text;
}

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "null";
    case YamlNode::Kind::kSequence:
      return "a sequence";
    case YamlNode::Kind::kMapping:
      return "a mapping";
    case YamlNode::Kind::kScalar:
      break;
  }
  const std::string shown = node.text.size() > 100 ? node.text.substr(0, 100) + "..." : node.text;
  return node.quoted ? '"' + shown + '"' : '\'' + shown + '\'';
}

}  // namespace precis
