// Makes pickles, zip archives and PyTorch's files by hand, right ones and wrong ones.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace precis {

// The lowest byte first.
inline std::string le(uint64_t value, int bytes) {
  return {reinterpret_cast<const char*>(&value), static_cast<size_t>(bytes)};
}

// --- pickles, protocol 2, one value each

inline std::string pickled(const std::string& text) { return 'X' + le(text.size(), 4) + text; }
inline std::string pickled(int64_t number) { return "\x8A\x08" + le(static_cast<uint64_t>(number), 8); }
inline std::string pickled_global(const std::string& module, const std::string& name) {
  return 'c' + module + '\n' + name + '\n';
}
inline std::string pickled_tuple(const std::vector<std::string>& items) {
  std::string bytes = "(";
  for (const std::string& item : items) bytes += item;
  return bytes + 't';
}
inline std::string pickled_tuple(const std::vector<int64_t>& numbers) {
  std::string bytes = "(";
  for (const int64_t number : numbers) bytes += pickled(number);
  return bytes + 't';
}
inline std::string pickled_call(const std::string& global, const std::vector<std::string>& arguments) {
  return global + pickled_tuple(arguments) + 'R';
}
inline const std::string kOrderedDict = pickled_call(pickled_global("collections", "OrderedDict"), {});

struct TensorForTests {
  std::string type = "FloatStorage";
  std::string key = "0";
  int64_t elements = 6;
  int64_t offset = 0;
  std::vector<int64_t> shape = {2, 3};
  std::vector<int64_t> strides = {3, 1};
  std::string more_of_storage;  // pickled values behind the number of elements
  std::string more;             // pickled values behind the hooks
};

inline std::string pickled_tensor(const TensorForTests& tensor) {
  const std::string storage =
      pickled_tuple({pickled("storage"), pickled_global("torch", tensor.type), pickled(tensor.key),
                     pickled("cpu"), pickled(tensor.elements), tensor.more_of_storage}) +
      'Q';
  return pickled_call(pickled_global("torch._utils", "_rebuild_tensor_v2"),
                      {storage, pickled(tensor.offset), pickled_tuple(tensor.shape),
                       pickled_tuple(tensor.strides), "\x89", kOrderedDict, tensor.more});
}

inline std::string whole_pickle(const std::string& value) { return "\x80\x02" + value + '.'; }

// A pickle of an OrderedDict of names to pickled values, with the attribute that modules leave on it.
inline std::string state_dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string bytes = kOrderedDict + '(';
  for (const auto& [name, value] : items) bytes += pickled(name) + value;
  return whole_pickle(bytes + "u}" + pickled("_metadata") + kOrderedDict + "sb");
}

// --- zip archives

struct MemberForTests {
  std::string name;
  std::string bytes;
  std::string local_extra;
  int method = 0;
  int flags = 0;
  uint64_t offset_error = 0;
};

struct ZipForTests {
  std::string comment;
  bool zip64 = false;
  uint64_t entries_error = 0;
  uint64_t directory_error = 0;
};

inline std::string zip_archive(const std::vector<MemberForTests>& members, const ZipForTests& how = {}) {
  std::string bytes, directory;
  for (const MemberForTests& member : members) {
    const uint64_t offset = bytes.size() + member.offset_error, size = member.bytes.size();
    const std::string common =
        le(static_cast<uint64_t>(member.flags), 2) + le(static_cast<uint64_t>(member.method), 2) + le(0, 8);
    const std::string small = how.zip64 ? le(UINT32_MAX, 4) + le(UINT32_MAX, 4) : le(size, 4) + le(size, 4);
    const std::string extra = how.zip64 ? le(7, 2) + le(2, 2) + "xy" + le(1, 2) + le(24, 2) + le(size, 8) +
                                              le(size, 8) + le(offset, 8)
                                        : "";
    bytes += "PK\3\4" + le(20, 2) + common + small + le(member.name.size(), 2) +
             le(member.local_extra.size(), 2) + member.name + member.local_extra + member.bytes;
    directory += "PK\1\2" + le(20, 2) + le(20, 2) + common + small + le(member.name.size(), 2) +
                 le(extra.size(), 2) + le(1, 2) + le(0, 8) + le(how.zip64 ? UINT32_MAX : offset, 4) +
                 member.name + extra + 'c';
  }
  const uint64_t begin = bytes.size() + how.directory_error, count = members.size() + how.entries_error;
  bytes += directory;
  if (how.zip64) {
    const uint64_t end64 = bytes.size();
    bytes += "PK\6\6" + le(44, 8) + le(45, 2) + le(45, 2) + le(0, 8) + le(count, 8) + le(count, 8) +
             le(directory.size(), 8) + le(begin, 8);
    bytes += "PK\6\7" + le(0, 4) + le(end64, 8) + le(1, 4);
    return bytes + "PK\5\6" + le(0, 4) + le(UINT64_MAX, 8) + le(UINT32_MAX, 4) + le(how.comment.size(), 2) +
           how.comment;
  }
  return bytes + "PK\5\6" + le(0, 4) + le(count, 2) + le(count, 2) + le(directory.size(), 4) + le(begin, 4) +
         le(how.comment.size(), 2) + how.comment;
}

// --- PyTorch's files

using StoragesForTests = std::vector<std::pair<std::string, std::string>>;  // key, bytes

inline std::string torch_zip(const std::string& pickle, const StoragesForTests& storages,
                             const std::string& byte_order = "little") {
  std::vector<MemberForTests> members = {{"archive/data.pkl", pickle}};
  if (!byte_order.empty()) members.push_back({"archive/byteorder", byte_order});
  for (const auto& [key, bytes] : storages) members.push_back({"archive/data/" + key, bytes});
  members.push_back({"archive/version", "3\n"});
  return zip_archive(members);
}

// Elements of four bytes.
inline std::string torch_legacy(const std::string& pickle, const StoragesForTests& storages,
                                int64_t protocol = 1001, const std::string& little_endian = "\x88") {
  std::string bytes = "\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19." +
                      whole_pickle(pickled(protocol)) +
                      whole_pickle("}" + pickled("little_endian") + little_endian + 's') + pickle;
  std::string keys = "](", data;
  for (const auto& [key, values] : storages) {
    keys += pickled(key);
    data += le(values.size() / 4, 8) + values;
  }
  return bytes + whole_pickle(keys + 'e') + data;
}

}  // namespace precis
