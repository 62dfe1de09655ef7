// Pickles (the format of Python's pickle module, protocols 2 to 5) as plain data. Nothing a pickle names is
// looked up or run: a global is a name, a call is a name with its arguments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace precis {

// A place in Pickle::values. Indices, not pointers: depth, sharing and cycles cost nothing.
using PickleIndex = uint32_t;

struct PickleValue {
  enum class Kind {
    kNone,
    kBool,        // integer: 0 or 1
    kInteger,     // integer
    kLong,        // text: an integer of more than 8 bytes, two's complement, little-endian
    kReal,        // real
    kText,        // text: UTF-8 where Python 3 wrote it, unchecked
    kTuple,       // items
    kList,        // items
    kDict,        // items: key, value, key, value, ...; a key may come twice
    kGlobal,      // text: "module.name"
    kCall,        // items: a kGlobal and its arguments, a kTuple
    kPersistent,  // items: the one value that names something outside of the pickle
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  double real = 0.0;
  std::string text;
  std::vector<PickleIndex> items;
};

struct Pickle {
  std::vector<PickleValue> values;
  PickleIndex root = 0;
  size_t size = 0;  // bytes of the pickle: others may follow it

  const PickleValue& at(PickleIndex index) const { return values[index]; }
};

// Reads the pickle that `bytes` begins with. What plain data and torch.save() need is understood; a call of
// collections.OrderedDict is a dict, and the attributes that BUILD gives it are left out. Error{kModel} for
// everything else: a global that `allowed` ("module.name") does not hold, any other opcode, a pickle that is
// damaged, cut, or of more than 2^21 values. `where` names the source in errors.
Pickle parse_pickle(std::string_view bytes, const std::string& where, std::span<const char* const> allowed);

}  // namespace precis
