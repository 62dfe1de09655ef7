// A strict reader on nlohmann's SAX interface, whose parser does not recurse.
#include "io/json.h"

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <utility>
#include <vector>

#include "io/read_file.h"
#include "io/utf8.h"

namespace precis {

namespace {

constexpr size_t kNone = std::string_view::npos;

// Tells how far the lexer has read: the SAX interface itself names no positions.
class TrackedIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackedIterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  const char& operator*() const { return *at_; }
  TrackedIterator& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  TrackedIterator operator++(int) {
    TrackedIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const TrackedIterator& other) const { return at_ == other.at_; }
  bool operator!=(const TrackedIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

struct Problem {
  size_t offset = 0;
  std::string what;
  std::string found;
};

// The code unit of a \uXXXX escape at `at`, or -1.
int escaped_unit(std::string_view text, size_t at) {
  if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return -1;
  int unit = 0;
  for (size_t i = at + 2; i < at + 6; ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    unit = unit * 16 + digit;
  }
  return unit;
}

// Offset of the first escape at or after `from` that is half of a surrogate pair without its other half.
size_t find_lone_surrogate(std::string_view text, size_t from) {
  size_t i = from;
  while ((i = text.find('\\', i)) != kNone) {
    const int unit = escaped_unit(text, i);
    if (unit < 0xD800 || unit > 0xDFFF) {
      i += 2;
      if (i > text.size()) break;
      continue;
    }
    const int low = unit < 0xDC00 ? escaped_unit(text, i + 6) : -1;
    if (low < 0xDC00 || low > 0xDFFF) return i;
    i += 12;
  }
  return kNone;
}

class TreeBuilder : public nlohmann::json_sax<Json> {
 public:
  TreeBuilder(std::string_view text, const char** furthest) : text_(text), furthest_(furthest) {}

  Json take() { return std::move(root_); }
  const Problem& problem() const { return problem_; }

  bool null() override { return add(Json(nullptr)); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(number_integer_t value) override { return add(Json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return add(Json(value)); }
  bool string(string_t& value) override { return add(Json(std::move(value))); }
  bool binary(binary_t&) override { return fail(offset(), "bad JSON", "binary data"); }

  // An integer beyond 64 bits arrives here as the nearest double (tokenizer_config.json's model_max_length
  // is 1e30 written out); it is then no integer to whoever asks for one.
  bool number_float(number_float_t value, const string_t&) override { return add(Json(value)); }

  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& value) override {
    Level& level = open_.back();
    // A look-up in an ordered object walks it; large ones (vocabularies) get an index.
    constexpr size_t kWalked = 16;
    Members& members = *level.container->get_ptr<Json::object_t*>();
    bool is_new;
    if (members.size() < kWalked) {
      is_new = std::none_of(members.begin(), members.end(), [&](const auto& m) { return m.first == value; });
    } else {
      if (level.keys.empty()) {
        for (const auto& member : members) level.keys.insert(member.first);
      }
      is_new = level.keys.insert(value).second;
    }
    if (!is_new) return fail(key_start(), "duplicate key", '\'' + value.substr(0, 100) + '\'');
    members.emplace_back(std::move(value), Json());
    return true;
  }

  bool parse_error(std::size_t position, const std::string& token,
                   const nlohmann::detail::exception& error) override {
    constexpr int kNumberOverflow = 406;
    if (error.id == kNumberOverflow) {
      return fail(text_.rfind(token, offset()), "number out of range", token.substr(0, 40));
    }
    // "[json.exception...] parse error at line 1, column 2: syntax error while parsing value - <why>; last
    // read: ..."
    std::string why = error.what();
    const size_t dash = why.find(" - ");
    if (dash != kNone) why.erase(0, dash + 3);
    const size_t last_read = why.find("; last read: ");
    if (last_read != kNone) {
      const size_t expected = why.find("; expected ", last_read);
      why = why.substr(0, last_read) + (expected == kNone ? "" : why.substr(expected));
    }
    return fail(std::min(position == 0 ? 0 : position - 1, text_.size()), "bad JSON: " + why.substr(0, 200),
                "");
  }

 private:
  using Members = std::vector<std::pair<const std::string, Json>>;
  struct Level {
    Json* container;
    std::unordered_set<std::string> keys;  // only of objects too large to walk
  };

  size_t offset() const { return static_cast<size_t>(*furthest_ - text_.data()); }

  // The lexer stands behind the key's closing quote.
  size_t key_start() const {
    size_t at = offset() - 1;
    while (at > 0) {
      at = text_.rfind('"', at - 1);
      size_t slashes = 0;
      while (slashes < at && text_[at - 1 - slashes] == '\\') ++slashes;
      if (slashes % 2 == 0) break;
    }
    return at;
  }

  bool fail(size_t at, std::string what, std::string found) {
    problem_ = {at, std::move(what), std::move(found)};
    return false;
  }

  Json* place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json* const container = open_.back().container;
    if (container->is_array()) {
      container->push_back(std::move(value));
      return &container->back();
    }
    Json& member = static_cast<Members&>(*container->get_ptr<Json::object_t*>()).back().second;
    member = std::move(value);
    return &member;
  }
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    if (open_.size() == kMaxJsonDepth) {
      return fail(offset() - 1, "JSON nested too deeply",
                  "more than " + std::to_string(kMaxJsonDepth) + " levels");
    }
    // A container is filled before its parent grows again, so that the pointer stays good.
    open_.push_back({place(std::move(value)), {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  const char** furthest_;
  Json root_;
  std::vector<Level> open_;
  Problem problem_;
};

[[noreturn]] void raise(std::string_view text, const Problem& problem, const std::string& where,
                        ErrorKind kind, TextOrigin origin) {
  const std::string_view before = text.substr(0, problem.offset);
  const int64_t line = origin.line + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') == kNone ? 0 : before.rfind('\n') + 1;
  const int64_t column = 1 + std::count_if(before.begin() + static_cast<std::ptrdiff_t>(line_start),
                                           before.end(), [](char c) { return (c & 0xC0) != 0x80; });
  throw Error(kind, {.what = problem.what,
                     .where = where + ":" + std::to_string(line) + ":" + std::to_string(column),
                     .found = problem.found});
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where, ErrorKind kind, TextOrigin origin) {
  const size_t invalid = find_invalid_utf8(text);
  if (invalid != kNone) {
    raise(text, {invalid, "invalid UTF-8", describe_invalid_utf8(text, invalid, origin.byte)}, where, kind,
          origin);
  }
  // The lexer skips a byte order mark and takes a NUL for the end of the text.
  if (text.substr(0, 3) == "\xEF\xBB\xBF") {
    raise(text, {0, "bad JSON: a byte order mark", ""}, where, kind, origin);
  }
  const size_t nul = text.find('\0');
  if (nul != kNone) raise(text, {nul, "bad JSON: a NUL byte", ""}, where, kind, origin);

  const char* furthest = text.data();
  TreeBuilder builder(text, &furthest);
  const bool parsed = Json::sax_parse(TrackedIterator(text.data(), &furthest),
                                      TrackedIterator(text.data() + text.size(), &furthest), &builder);
  if (parsed) return builder.take();

  Problem problem = builder.problem();
  const size_t surrogate = find_lone_surrogate(text, 0);
  if (surrogate <= problem.offset) {
    problem = {surrogate, "lone surrogate in a JSON string",
               std::string(text.substr(surrogate, 6)) + " at byte offset " +
                   std::to_string(origin.byte + static_cast<int64_t>(surrogate))};
  }
  raise(text, problem, where, kind, origin);
}

Json read_json_file(const std::filesystem::path& path, ErrorKind kind) {
  return parse_json(read_file(path, kind), path.string(), kind);
}

std::string dump_json(const Json& value, int indent) {
  return value.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

std::string pretty_json(const Json& value) { return dump_json(value, 2) + "\n"; }

std::string shown(const Json& value) {
  constexpr size_t kLongest = 80;
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  if (text.size() > kLongest) text.replace(kLongest, std::string::npos, "...");
  return text;
}

std::string replace_invalid_unicode_in_json(std::string_view text, int64_t& replaced) {
  std::string valid = replace_invalid_utf8(text, replaced);
  for (size_t at = 0; (at = find_lone_surrogate(valid, at)) != kNone; at += 6) {
    valid.replace(at + 2, 4, "FFFD");
    ++replaced;
  }
  return valid;
}

}  // namespace precis
