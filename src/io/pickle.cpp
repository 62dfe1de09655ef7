// The pickle machine: a stack, marks on it and a memo, as in CPython's Lib/pickle.py, over a table of values.
#include "io/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "io/json.h"

namespace precis {

namespace {

using Kind = PickleValue::Kind;

// A state dict of a thousand tensors takes some 30,000.
constexpr size_t kMost = size_t{1} << 21;
constexpr size_t kLongestName = 200;  // of a module or a class
constexpr const char* kOrderedDict = "collections.OrderedDict";

class Machine {
 public:
  Machine(std::string_view bytes, const std::string& where, std::span<const char* const> allowed)
      : bytes_(bytes), where_(where), allowed_(allowed) {}

  Pickle run() {
    for (;;) {
      start_ = position_;
      const auto opcode = static_cast<unsigned char>(take(1)[0]);
      if (opcode == '.') {  // STOP
        result_.root = pop();
        result_.size = position_;
        return std::move(result_);
      }
      if (!literal(opcode) && !container(opcode) && !memory(opcode) && !object(opcode)) {
        refuse("an opcode that plain data does not need", "", std::to_string(opcode));
      }
    }
  }

 private:
  [[noreturn]] void refuse(std::string what, std::string expected = "", std::string found = "",
                           std::string hint = "") const {
    throw Error(ErrorKind::kModel, {.what = std::move(what),
                                    .where = where_ + ": byte " + std::to_string(start_) + " of the pickle",
                                    .expected = std::move(expected),
                                    .found = std::move(found),
                                    .hint = std::move(hint)});
  }

  // --- bytes

  std::string_view take(size_t size) {
    if (size > bytes_.size() - position_) refuse("the pickle is cut short");
    position_ += size;
    return bytes_.substr(position_ - size, size);
  }
  // `size` bytes, the lowest first; at most 8.
  uint64_t natural(size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, take(size).data(), size);
    return value;
  }
  // What an operation with a length of `size` bytes is followed by.
  std::string_view counted(size_t size) { return take(natural(size)); }
  std::string_view text_line() {
    const size_t end = bytes_.substr(position_, kLongestName + 1).find('\n');
    if (end == std::string_view::npos) refuse("a name without an end");
    const std::string_view line = take(end);
    take(1);
    return line;
  }

  // --- the stack

  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  void push(PickleIndex index) {
    if (stack_.size() == kMost) refuse("the pickle holds too many values");
    stack_.push_back(index);
  }
  PickleValue& make(Kind kind) {
    if (result_.values.size() == kMost) refuse("the pickle holds too many values");
    push(static_cast<PickleIndex>(result_.values.size()));
    PickleValue& value = result_.values.emplace_back();
    value.kind = kind;
    return value;
  }
  PickleIndex top() const {
    if (stack_.size() <= floor()) refuse("the pickle takes more values than it has given");
    return stack_.back();
  }
  PickleIndex pop() {
    const PickleIndex index = top();
    stack_.pop_back();
    return index;
  }
  std::vector<PickleIndex> pop(size_t count) {
    if (stack_.size() - floor() < count) refuse("the pickle takes more values than it has given");
    const auto first = stack_.end() - static_cast<std::ptrdiff_t>(count);
    std::vector<PickleIndex> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    return items;
  }
  std::vector<PickleIndex> pop_to_mark() {
    if (marks_.empty()) refuse("the pickle has no mark here");
    std::vector<PickleIndex> items = pop(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }
  PickleValue& value(PickleIndex index, Kind kind, const char* expected) {
    PickleValue& found = result_.values[index];
    if (found.kind != kind) refuse("a value of another kind than the pickle needs here", expected);
    return found;
  }

  // --- operations: each says whether the opcode was one of its own

  bool literal(unsigned char opcode) {
    switch (opcode) {
      case 'N':  // NONE
        make(Kind::kNone);
        return true;
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
        make(Kind::kBool).integer = opcode == 0x88 ? 1 : 0;
        return true;
      case 'J':  // BININT
        make(Kind::kInteger).integer = static_cast<int32_t>(natural(4));
        return true;
      case 'K':  // BININT1
        make(Kind::kInteger).integer = static_cast<int64_t>(natural(1));
        return true;
      case 'M':  // BININT2
        make(Kind::kInteger).integer = static_cast<int64_t>(natural(2));
        return true;
      case 0x8A:  // LONG1
        make_long(counted(1));
        return true;
      case 'G': {  // BINFLOAT, the highest byte first
        const std::string_view written = take(8);
        char turned[8];
        std::reverse_copy(written.begin(), written.end(), turned);
        std::memcpy(&make(Kind::kReal).real, turned, sizeof turned);
        return true;
      }
      case 'X':  // BINUNICODE
      case 'T':  // BINSTRING, a text of Python 2
        make(Kind::kText).text = counted(4);
        return true;
      case 0x8C:  // SHORT_BINUNICODE
      case 'U':   // SHORT_BINSTRING
        make(Kind::kText).text = counted(1);
        return true;
      default:
        return false;
    }
  }

  void make_long(std::string_view written) {
    if (written.size() > sizeof(int64_t)) {
      make(Kind::kLong).text = written;
      return;
    }
    const bool negative = !written.empty() && static_cast<signed char>(written.back()) < 0;
    int64_t number = negative ? -1 : 0;
    std::memcpy(&number, written.data(), written.size());
    make(Kind::kInteger).integer = number;
  }

  bool container(unsigned char opcode) {
    switch (opcode) {
      case ')':  // EMPTY_TUPLE
      case ']':  // EMPTY_LIST
      case '}':  // EMPTY_DICT
        make(opcode == ')' ? Kind::kTuple : opcode == ']' ? Kind::kList : Kind::kDict);
        return true;
      case 0x85:  // TUPLE1
      case 0x86:  // TUPLE2
      case 0x87:  // TUPLE3
        make_of(Kind::kTuple, pop(opcode - 0x84u));
        return true;
      case 't':  // TUPLE
        make_of(Kind::kTuple, pop_to_mark());
        return true;
      case 'a':  // APPEND
        append(pop(1));
        return true;
      case 'e':  // APPENDS
        append(pop_to_mark());
        return true;
      case 's':  // SETITEM
        set_items(pop(2));
        return true;
      case 'u':  // SETITEMS
        set_items(pop_to_mark());
        return true;
      default:
        return false;
    }
  }

  void make_of(Kind kind, std::vector<PickleIndex> items) { make(kind).items = std::move(items); }
  void append(const std::vector<PickleIndex>& items) {
    std::vector<PickleIndex>& list = value(top(), Kind::kList, "a list").items;
    list.insert(list.end(), items.begin(), items.end());
  }
  void set_items(const std::vector<PickleIndex>& items) {
    if (items.size() % 2 != 0) refuse("a key without its value");
    std::vector<PickleIndex>& dict = value(top(), Kind::kDict, "a dict").items;
    dict.insert(dict.end(), items.begin(), items.end());
  }

  bool memory(unsigned char opcode) {
    switch (opcode) {
      case 0x80:  // PROTO
        if (const uint64_t protocol = natural(1); protocol < 2 || protocol > 5) {
          refuse("a pickle of another protocol", "2 to 5", std::to_string(protocol));
        }
        return true;
      case 0x95:  // FRAME: so many bytes may be read at once
        natural(8);
        return true;
      case '(':  // MARK
        if (marks_.size() == kMost) refuse("the pickle holds too many marks");
        marks_.push_back(stack_.size());
        return true;
      case '0':  // POP: of a mark, where nothing stands above it
        if (!marks_.empty() && stack_.size() == marks_.back()) {
          marks_.pop_back();
        } else {
          pop();
        }
        return true;
      case '1':  // POP_MARK
        pop_to_mark();
        return true;
      case 'q':  // BINPUT
        put(natural(1));
        return true;
      case 'r':  // LONG_BINPUT
        put(natural(4));
        return true;
      case 0x94:  // MEMOIZE
        put(memo_.size());
        return true;
      case 'h':  // BINGET
        get(natural(1));
        return true;
      case 'j':  // LONG_BINGET
        get(natural(4));
        return true;
      default:
        return false;
    }
  }

  void put(uint64_t key) {
    if (memo_.size() == kMost) refuse("the pickle remembers too many values");
    memo_.insert_or_assign(key, top());
  }
  void get(uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) refuse("the pickle recalls what it did not remember");
    push(found->second);
  }

  bool object(unsigned char opcode) {
    switch (opcode) {
      case 'c': {  // GLOBAL
        const std::string module(text_line());
        make_global(module + '.' + std::string(text_line()));
        return true;
      }
      case 0x93: {  // STACK_GLOBAL
        const std::vector<PickleIndex> names = pop(2);
        const std::string module = value(names[0], Kind::kText, "a text").text;
        make_global(module + '.' + value(names[1], Kind::kText, "a text").text);
        return true;
      }
      case 'R':  // REDUCE
        call(pop(2));
        return true;
      case 'Q':  // BINPERSID
        make_of(Kind::kPersistent, pop(1));
        return true;
      case 'b':  // BUILD
        pop();
        value(top(), Kind::kDict, "a dict");
        return true;
      default:
        return false;
    }
  }

  void make_global(const std::string& name) {
    if (std::find(allowed_.begin(), allowed_.end(), name) == allowed_.end()) {
      refuse(
          "the pickle names " + shown(name) + ", which no weights need", "", "",
          "to unpickle such a file can run any code: open it only where you trust its source, and save the "
          "state dict alone");
    }
    make(Kind::kGlobal).text = name;
  }

  void call(std::vector<PickleIndex> parts) {
    const std::string& name = value(parts[0], Kind::kGlobal, "a global").text;
    const std::vector<PickleIndex>& arguments = value(parts[1], Kind::kTuple, "a tuple of arguments").items;
    if (name != kOrderedDict) return make_of(Kind::kCall, std::move(parts));
    // Python before 3.5 gives it a list of pairs. The same list may be given again and again.
    std::vector<PickleIndex> items;
    if (arguments.size() > 1) refuse("a call of OrderedDict with more than one argument");
    if (arguments.size() == 1) {
      const std::vector<PickleIndex>& pairs = value(arguments[0], Kind::kList, "a list of pairs").items;
      pairs_ += pairs.size();
      if (pairs_ > kMost) refuse("the pickle holds too many values");
      for (const PickleIndex pair : pairs) {
        const PickleValue& found = result_.values[pair];
        const bool is_pair =
            (found.kind == Kind::kList || found.kind == Kind::kTuple) && found.items.size() == 2;
        if (!is_pair) refuse("a call of OrderedDict with something else than pairs");
        items.insert(items.end(), found.items.begin(), found.items.end());
      }
    }
    make_of(Kind::kDict, std::move(items));
  }

  std::string_view bytes_;
  const std::string& where_;
  std::span<const char* const> allowed_;
  size_t position_ = 0;
  size_t start_ = 0;  // of the operation at hand
  Pickle result_;
  std::vector<PickleIndex> stack_;
  std::vector<size_t> marks_;  // sizes of the stack
  std::unordered_map<uint64_t, PickleIndex> memo_;
  size_t pairs_ = 0;  // that calls of OrderedDict have copied
};

}  // namespace

Pickle parse_pickle(std::string_view bytes, const std::string& where, std::span<const char* const> allowed) {
  return Machine(bytes, where, allowed).run();
}

}  // namespace precis
