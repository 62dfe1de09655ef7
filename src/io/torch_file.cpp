// From the pickle of a state dict to the ranges of its tensors' bytes.
#include "io/torch_file.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "io/json.h"
#include "io/pickle.h"
#include "io/utf8.h"
#include "io/zip.h"

namespace precis {

namespace {

using Kind = PickleValue::Kind;

constexpr int64_t kMaxPickle = int64_t{1} << 26;
constexpr const char* kTensor = "torch._utils._rebuild_tensor_v2";
constexpr const char* kParameter = "torch._utils._rebuild_parameter";
constexpr const char* kAllowed[] = {
    "collections.OrderedDict",
    kTensor,
    kParameter,
    "torch.FloatStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.DoubleStorage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ShortStorage",
    "torch.CharStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
};

struct StorageType {
  std::string_view global;
  WeightType type;
};
constexpr StorageType kStorageTypes[] = {
    {"torch.FloatStorage", WeightType::kF32},     {"torch.HalfStorage", WeightType::kF16},
    {"torch.BFloat16Storage", WeightType::kBF16}, {"torch.DoubleStorage", WeightType::kF64},
    {"torch.LongStorage", WeightType::kI64},      {"torch.IntStorage", WeightType::kI32},
    {"torch.ShortStorage", WeightType::kI16},     {"torch.CharStorage", WeightType::kI8},
    {"torch.ByteStorage", WeightType::kU8},       {"torch.BoolStorage", WeightType::kBool},
};

// What a storage's persistent id says of it.
struct Storage {
  WeightType type = WeightType::kF32;
  int64_t elements = 0;
  int64_t begin = 0;  // in the file, once it is located
  int64_t bytes() const { return elements * element_size(type); }
};

// A weight whose `begin` counts from its storage's.
struct StoredWeight {
  WeightInfo info;
  std::string storage;
};

struct StateDict {
  std::vector<StoredWeight> weights;
  std::map<std::string, Storage> storages;  // by key
};

// The place of an error: a file, and perhaps one of its weights.
struct Place {
  const std::string& file;
  const std::string* weight = nullptr;
};

[[noreturn]] void refuse(const Place& place, std::string what, std::string expected = "",
                         std::string found = "", std::string hint = "") {
  std::string where = place.file;
  if (place.weight != nullptr) where += ": weight '" + place.weight->substr(0, 200) + '\'';
  throw Error(ErrorKind::kModel, {.what = std::move(what),
                                  .where = std::move(where),
                                  .expected = std::move(expected),
                                  .found = std::move(found),
                                  .hint = std::move(hint)});
}

constexpr const char* kAlone = "save the state dict alone: torch.save(model.state_dict(), FILE)";

const PickleValue& item(const Pickle& pickle, const PickleValue& of, size_t index) {
  return pickle.at(of.items[index]);
}

// The arguments of a call of `function`; null for any other value.
const PickleValue* arguments(const Pickle& pickle, const PickleValue& value, std::string_view function) {
  const bool is_call = value.kind == Kind::kCall && item(pickle, value, 0).text == function;
  return is_call ? &item(pickle, value, 1) : nullptr;
}

int64_t natural(const PickleValue& value, const char* what, const Place& place) {
  if (value.kind != Kind::kInteger || value.integer < 0) {
    refuse(place, std::string("bad ") + what, "an integer of 0 or more");
  }
  return value.integer;
}

std::vector<int64_t> naturals(const Pickle& pickle, const PickleValue& value, const char* what,
                              const Place& place) {
  if (value.kind != Kind::kTuple) refuse(place, std::string("bad ") + what, "a tuple of integers");
  std::vector<int64_t> numbers;
  for (const PickleIndex index : value.items) numbers.push_back(natural(pickle.at(index), what, place));
  return numbers;
}

// ("storage", type, key, device, elements), in the older format with a view of another storage, or None.
std::pair<std::string, Storage> parse_storage(const Pickle& pickle, const PickleValue& value,
                                              const Place& place) {
  const PickleValue* id = value.kind == Kind::kPersistent ? &item(pickle, value, 0) : nullptr;
  const bool good = id != nullptr && id->kind == Kind::kTuple &&
                    (id->items.size() == 5 || id->items.size() == 6) &&
                    item(pickle, *id, 0).kind == Kind::kText && item(pickle, *id, 0).text == "storage" &&
                    item(pickle, *id, 1).kind == Kind::kGlobal && item(pickle, *id, 2).kind == Kind::kText;
  if (!good) refuse(place, "bad storage");
  if (id->items.size() == 6 && item(pickle, *id, 5).kind != Kind::kNone) {
    refuse(place, "a storage that is a view of another one", "", "", "save it again with a newer PyTorch");
  }
  const std::string& global = item(pickle, *id, 1).text;
  const auto known = std::find_if(std::begin(kStorageTypes), std::end(kStorageTypes),
                                  [&](const StorageType& type) { return type.global == global; });
  if (known == std::end(kStorageTypes)) refuse(place, "bad storage", "a type of storage", global);
  const Storage storage = {.type = known->type,
                           .elements = natural(item(pickle, *id, 4), "number of elements", place)};
  const int64_t shape[] = {storage.elements};
  if (!bytes_needed(storage.type, shape)) refuse(place, "storage too large", "fewer than 2^63 bytes");
  return {item(pickle, *id, 2).text, storage};
}

// Row-major without gaps. The stride of a size of 1 says nothing, as do all of them where there is no
// element.
bool is_contiguous(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return true;
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

// (storage, offset, shape, strides, requires_grad, hooks): what is said of gradients does not matter here.
void add_tensor(StateDict& state, const Pickle& pickle, const std::string& name, const PickleValue& tensor,
                const Place& place) {
  constexpr size_t kArguments = 6;
  const bool has_metadata =
      tensor.items.size() == kArguments + 1 && item(pickle, tensor, kArguments).kind != Kind::kNone;
  if (has_metadata) refuse(place, "a tensor with metadata, such as a conjugate view", "", "", kAlone);
  if (tensor.items.size() < kArguments || tensor.items.size() > kArguments + 1) refuse(place, "bad tensor");
  const auto [key, storage] = parse_storage(pickle, item(pickle, tensor, 0), place);
  const auto [known, is_new] = state.storages.emplace(key, storage);
  if (known->second.type != storage.type || known->second.elements != storage.elements) {
    refuse(place, "the tensor's storage is said to be of another type or size elsewhere");
  }
  const int64_t offset = natural(item(pickle, tensor, 1), "offset", place);
  WeightInfo info = {
      .name = name, .type = storage.type, .shape = naturals(pickle, item(pickle, tensor, 2), "shape", place)};
  const std::vector<int64_t> strides = naturals(pickle, item(pickle, tensor, 3), "strides", place);
  if (strides.size() != info.shape.size()) refuse(place, "shape and strides of different lengths");
  const std::optional<int64_t> bytes = bytes_needed(info.type, info.shape);
  if (!bytes) refuse(place, "shape too large", "fewer than 2^63 bytes");
  if (!is_contiguous(info.shape, strides)) {
    refuse(place, "a tensor that is not contiguous", "", "", "call .contiguous() before it is saved");
  }
  const int64_t size = element_size(info.type);
  if (offset > storage.elements || *bytes / size > storage.elements - offset) {
    refuse(place, "a tensor that reaches beyond its storage",
           std::to_string(storage.elements) + " elements in the storage",
           std::to_string(*bytes / size) + " from element " + std::to_string(offset));
  }
  info.begin = offset * size;
  info.bytes = *bytes;
  state.weights.push_back({std::move(info), key});
}

StateDict parse_state_dict(const Pickle& pickle, const std::string& file) {
  const PickleValue& root = pickle.at(pickle.root);
  if (root.kind != Kind::kDict) refuse({file}, "not a state dict", "a dict of tensors", "", kAlone);
  StateDict state;
  std::set<std::string_view> names;
  for (size_t i = 0; i < root.items.size(); i += 2) {
    const PickleValue& key = item(pickle, root, i);
    if (key.kind != Kind::kText) refuse({file}, "not a state dict", "names that are texts", "", kAlone);
    const std::string& name = key.text;
    if (const size_t bad = find_invalid_utf8(name); bad != std::string_view::npos) {
      refuse({file}, "a weight's name is not UTF-8", "", describe_invalid_utf8(name, bad));
    }
    const Place place{file, &name};
    if (!names.insert(name).second) refuse(place, "a weight of the same name twice");
    const PickleValue* value = &item(pickle, root, i + 1);
    if (const PickleValue* parameter = arguments(pickle, *value, kParameter); parameter != nullptr) {
      if (parameter->items.empty()) refuse(place, "bad parameter");
      value = &item(pickle, *parameter, 0);
    }
    const PickleValue* tensor = arguments(pickle, *value, kTensor);
    if (tensor == nullptr) refuse(place, "not a tensor", "", "", kAlone);
    add_tensor(state, pickle, name, *tensor, place);
  }
  return state;
}

WeightFile with_ranges(Descriptor file, StateDict state) {
  std::vector<WeightInfo> weights;
  for (StoredWeight& weight : state.weights) {
    weight.info.begin += state.storages.at(weight.storage).begin;
    weights.push_back(std::move(weight.info));
  }
  return WeightFile(std::move(file), std::move(weights), {});
}

std::string read_exactly(const Descriptor& file, int64_t begin, int64_t size) {
  std::string bytes(static_cast<size_t>(size), '\0');
  if (file.read_at(bytes.data(), bytes.size(), begin) < bytes.size()) {
    refuse({file.name()}, "file cut while being read");
  }
  return bytes;
}

[[noreturn]] void not_torch(const std::string& file) {
  refuse({file}, "not a file of torch.save()", "a zip archive, or the older format's magic number");
}

// --- the zip archive: ROOT/data.pkl, ROOT/byteorder, and ROOT/data/KEY for each storage

WeightFile open_zip(Descriptor file) {
  constexpr std::string_view kPickle = "/data.pkl";
  const std::string where = file.name();
  const std::map<std::string, ZipMember> members = read_zip_directory(file);
  std::string root;
  for (const auto& [name, member] : members) {
    if (name.find('/') + kPickle.size() != name.size() || !name.ends_with(kPickle)) continue;
    if (!root.empty()) refuse({where}, "two state dicts in one archive");
    root = name.substr(0, name.size() - kPickle.size());
  }
  if (root.empty()) refuse({where}, "not a file of torch.save()", "a member NAME/data.pkl in the archive");

  const auto byte_order = members.find(root + "/byteorder");
  if (byte_order != members.end()) {
    constexpr std::string_view kLittle = "little";
    const ZipMember& member = byte_order->second;
    const bool fits = member.bytes == static_cast<int64_t>(kLittle.size());
    if (!fits || read_exactly(file, member.begin, member.bytes) != kLittle) {
      refuse({where}, "weights of another byte order", "little", "", "save it on a little-endian machine");
    }
  }
  const ZipMember& member = members.at(root + std::string(kPickle));
  if (member.bytes > kMaxPickle) {
    refuse({where}, "pickle too large", "at most 64 MiB", std::to_string(member.bytes) + " bytes");
  }
  const std::string bytes = read_exactly(file, member.begin, member.bytes);
  const Pickle pickle = parse_pickle(bytes, where + " (data.pkl)", kAllowed);
  StateDict state = parse_state_dict(pickle, where);
  for (auto& [key, storage] : state.storages) {
    const auto stored = members.find(root + "/data/" + key);
    const std::string name = shown(key);
    if (stored == members.end()) refuse({where}, "storage " + name + " is missing from the archive");
    if (stored->second.bytes != storage.bytes()) {
      refuse({where}, "storage " + name + " is of another size than the pickle says",
             std::to_string(storage.bytes()) + " bytes", std::to_string(stored->second.bytes));
    }
    storage.begin = stored->second.begin;
  }
  return with_ranges(std::move(file), std::move(state));
}

// --- the older format: magic number, protocol, system, state dict and list of keys, a pickle each; then for
// each key the number of elements (8 bytes) and the elements

// 0x1950A86A20F9469CFC6C, as a pickle of any protocol holds it.
constexpr std::string_view kMagic("\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19", 10);
constexpr int64_t kProtocol = 1001;

class PickleReader {
 public:
  PickleReader(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}
  size_t position() const { return position_; }
  Pickle next() {
    const std::string where = file_ + " (pickle at byte " + std::to_string(position_) + ')';
    Pickle pickle = parse_pickle(bytes_.substr(position_), where, kAllowed);
    position_ += pickle.size;
    return pickle;
  }

 private:
  std::string_view bytes_;
  const std::string& file_;
  size_t position_ = 0;
};

void check_system(const Pickle& system, const std::string& file) {
  const PickleValue& root = system.at(system.root);
  if (root.kind != Kind::kDict) refuse({file}, "bad description of the system that wrote it", "a dict");
  for (size_t i = 0; i < root.items.size(); i += 2) {
    const bool is_order = item(system, root, i).text == "little_endian";
    if (is_order && item(system, root, i + 1).integer != 1) {
      refuse({file}, "weights of another byte order", "little", "", "save it on a little-endian machine");
    }
  }
}

// Storages follow one another in the order of the list of keys.
void locate_storages(StateDict& state, const Pickle& keys, const Descriptor& file, int64_t position) {
  const std::string& where = file.name();
  const PickleValue& list = keys.at(keys.root);
  if (list.kind != Kind::kList) refuse({where}, "bad list of storages", "a list");
  const int64_t file_size = file.size();
  std::set<std::string_view> located;
  for (const PickleIndex index : list.items) {
    const PickleValue& key = keys.at(index);
    const std::string name = shown(key.text);
    const auto known = key.kind == Kind::kText ? state.storages.find(key.text) : state.storages.end();
    if (known == state.storages.end()) refuse({where}, "storage " + name + " that no weight is in");
    if (!located.insert(known->first).second) refuse({where}, "storage " + name + " comes twice");
    Storage& storage = known->second;
    int64_t elements = 0;
    if (file.read_at(&elements, sizeof elements, position) < sizeof elements) {
      refuse({where}, "storage " + name + " is beyond the file's end");
    }
    if (elements != storage.elements) {
      refuse({where}, "storage " + name + " is of another size than the pickle says",
             std::to_string(storage.elements) + " elements", std::to_string(elements));
    }
    storage.begin = position + static_cast<int64_t>(sizeof elements);
    if (storage.bytes() > file_size - storage.begin) {
      refuse({where}, "storage " + name + " reaches beyond the file's end");
    }
    position = storage.begin + storage.bytes();
  }
  for (const auto& [key, storage] : state.storages) {
    if (!located.contains(key)) refuse({where}, "storage " + shown(key) + " is missing from the file");
  }
  if (position != file_size) {
    refuse({where}, "bytes behind the last storage", std::to_string(position) + " bytes in the file",
           std::to_string(file_size));
  }
}

WeightFile open_legacy(Descriptor file) {
  const std::string where = file.name();
  // All of the pickles lie in here.
  const std::string head = read_exactly(file, 0, std::min(file.size(), kMaxPickle));
  PickleReader pickles(head, where);
  const Pickle magic = pickles.next();
  if (magic.at(magic.root).kind != Kind::kLong || magic.at(magic.root).text != kMagic) not_torch(where);
  const Pickle protocol = pickles.next();
  if (protocol.at(protocol.root).kind != Kind::kInteger || protocol.at(protocol.root).integer != kProtocol) {
    refuse({where}, "another version of the format", std::to_string(kProtocol));
  }
  check_system(pickles.next(), where);
  StateDict state = parse_state_dict(pickles.next(), where);
  const Pickle keys = pickles.next();
  locate_storages(state, keys, file, static_cast<int64_t>(pickles.position()));
  return with_ranges(std::move(file), std::move(state));
}

}  // namespace

WeightFile open_torch_file(const std::filesystem::path& path) {
  Descriptor file = open_for_reading(path, ErrorKind::kModel);
  std::string start(2, '\0');
  start.resize(file.read_at(start.data(), start.size(), 0));
  if (start == "PK") return open_zip(std::move(file));
  if (start.starts_with('\x80'))
    return open_legacy(std::move(file));  // an operation that a pickle begins with
  not_torch(file.name());
}

}  // namespace precis
