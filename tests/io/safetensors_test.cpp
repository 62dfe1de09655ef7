// safetensors: the reference implementation's bytes are read and written exactly; hostile files are refused.
#include "io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/error_of.h"
#include "base/fault_file_systems.h"
#include "base/memory_file.h"
#include "base/temporary_directory.h"
#include "io/weight_files.h"

namespace precis {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string with_length(uint64_t length, const std::string& rest) {
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes + rest;
}

std::string file_of(const std::string& header, size_t data_bytes) {
  return with_length(header.size(), header) + std::string(data_bytes, '\1');
}

std::string refusal(const std::string& bytes) {
  const MemoryFile file(bytes);
  return error_of([&] { open_safetensors(file.path()); }, ErrorKind::kModel);
}

std::string header_refusal(const std::string& header, size_t data_bytes) {
  return refusal(file_of(header, data_bytes));
}

// What safetensors 0.5 (Python) writes for these weights; its header pads to 8 bytes.
const std::string kReferenceHeader =
    R"({"__metadata__":{"format":"pt"},"f":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
    R"("c":{"dtype":"F64","shape":[],"data_offsets":[8,16]},"b":{"dtype":"F32","shape":[2],"data_offsets":[16,24]},)"
    R"("d":{"dtype":"F32","shape":[0,3],"data_offsets":[24,24]},"g":{"dtype":"I32","shape":[1],"data_offsets":[24,28]},)"
    R"("a":{"dtype":"BF16","shape":[3],"data_offsets":[28,34]},"j":{"dtype":"F16","shape":[1],"data_offsets":[34,36]},)"
    R"("k":{"dtype":"I16","shape":[1],"data_offsets":[36,38]},"h":{"dtype":"I8","shape":[1],"data_offsets":[38,39]},)"
    R"("i":{"dtype":"U8","shape":[1],"data_offsets":[39,40]},"e":{"dtype":"BOOL","shape":[3],"data_offsets":[40,43]}})";

std::string reference_file() {
  std::string header = kReferenceHeader;
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string data(43, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i + 1);
  return with_length(header.size(), header + data);
}

TEST(Safetensors, ReadsAndWritesTheReferenceBytes) {
  const TemporaryDirectory folder;
  const WeightFile file = open_safetensors(folder.write("in.safetensors", reference_file()));
  EXPECT_EQ(file.weights().size(), 11u);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.find("c")->shape.size(), 0u);
  EXPECT_EQ(file.find("d")->bytes, 0);
  EXPECT_THAT(file.find("d")->shape, ElementsAre(0, 3));
  EXPECT_EQ(file.find("missing"), nullptr);
  EXPECT_EQ(file.find("a")->type, WeightType::kBF16);

  std::vector<std::string> values;
  values.reserve(file.weights().size());
  std::vector<WeightBytes> weights;
  for (const WeightInfo& info : file.weights()) {
    values.emplace_back(static_cast<size_t>(info.bytes), '\0');
    file.read(info.name, values.back().data(), values.back().size());
    weights.push_back({info.name, info.type, info.shape, values.back().data()});
  }
  EXPECT_EQ(values[1], "\t\n\v\f\r\xE\xF\x10");  // bytes 9 to 16: "c"
  std::reverse(weights.begin(), weights.end());
  write_safetensors(posix_file_system(), folder / "out.safetensors", weights);
  EXPECT_EQ(bytes_of(folder / "out.safetensors"), reference_file());
}

TEST(Safetensors, WritesAnEmptyFileAsTheReferenceDoes) {
  const TemporaryDirectory folder;
  write_safetensors(posix_file_system(), folder / "e", {}, {});
  EXPECT_EQ(bytes_of(folder / "e"), with_length(8, "{}      "));
  EXPECT_TRUE(open_safetensors(folder / "e").weights().empty());
}

TEST(Safetensors, RefusesBadHeaderLengths) {
  for (size_t size = 0; size < 8; ++size) {
    EXPECT_THAT(refusal(std::string(size, '\1')), HasSubstr("not a safetensors file")) << size;
  }
  EXPECT_THAT(refusal(with_length(0, "")), HasSubstr("bad safetensors header"));
  EXPECT_THAT(refusal(with_length(0, "{}")), HasSubstr("bad safetensors header"));
  EXPECT_THAT(refusal(with_length(UINT64_MAX, "{}")), HasSubstr("header too long"));
  EXPECT_THAT(refusal(with_length(UINT64_MAX - 7, "{}")), HasSubstr("header too long"));
  EXPECT_THAT(refusal(with_length(100000001, "{}")), HasSubstr("header too long"));
  EXPECT_THAT(refusal(with_length(100000000, "{}")), HasSubstr("beyond the file's end"));
  EXPECT_THAT(refusal(with_length(3, "{}")), HasSubstr("beyond the file's end"));
}

TEST(Safetensors, RefusesHeadersThatAreNotAnObjectOfWeights) {
  EXPECT_THAT(header_refusal("{\"\xFF\":1}", 0), HasSubstr("invalid UTF-8"));
  EXPECT_THAT(header_refusal("{\"a\":", 0), HasSubstr("bad JSON"));
  EXPECT_THAT(header_refusal("[]", 0), HasSubstr("bad safetensors header"));
  EXPECT_THAT(header_refusal("3", 0), HasSubstr("bad safetensors header"));
  std::string deep;
  for (int i = 0; i < 1000000; ++i) deep += "{\"a\":";
  EXPECT_THAT(header_refusal(deep, 0), HasSubstr("nested too deeply"));
  EXPECT_THAT(header_refusal(R"({"a":3})", 0), HasSubstr("weight 'a': bad header entry"));
  EXPECT_THAT(
      header_refusal(
          R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          2),
      HasSubstr("duplicate key; found 'a'"));
  EXPECT_THAT(header_refusal(R"({"__metadata__":{"a":1}})", 0), HasSubstr("bad __metadata__"));
  EXPECT_THAT(header_refusal(R"({"__metadata__":[]})", 0), HasSubstr("bad __metadata__"));
}

TEST(Safetensors, RefusesBadWeights) {
  const auto one = [](const std::string& type, const std::string& shape, const std::string& offsets,
                      size_t data) {
    return header_refusal(
        "{\"w\":{\"dtype\":" + type + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}", data);
  };
  EXPECT_EQ(one("\"F32\"", "[2]", "[0,8]", 8), "no error");
  EXPECT_EQ(one("\"F32\"", "[]", "[0,4]", 4), "no error");
  EXPECT_EQ(one("\"F32\"", "[0]", "[0,0]", 0), "no error");
  EXPECT_THAT(one("\"F31\"", "[2]", "[0,8]", 8), HasSubstr("weight 'w': unknown dtype"));
  EXPECT_THAT(one("7", "[2]", "[0,8]", 8), HasSubstr("unknown dtype"));
  EXPECT_THAT(one("\"F64\"", "[2]", "[0,8]", 8), HasSubstr("expected 16 bytes, found 8"));
  EXPECT_THAT(one("\"F32\"", "[-2]", "[0,8]", 8), HasSubstr("bad shape"));
  EXPECT_THAT(one("\"F32\"", "[2.0]", "[0,8]", 8), HasSubstr("bad shape"));
  EXPECT_THAT(one("\"F32\"", "2", "[0,8]", 8), HasSubstr("bad shape"));
  EXPECT_THAT(one("\"F32\"", "[2]", "[-8,0]", 8), HasSubstr("bad data_offsets"));
  EXPECT_THAT(one("\"F32\"", "[2]", "[8,0]", 8), HasSubstr("begin <= end"));
  EXPECT_THAT(one("\"F32\"", "[2]", "[0]", 8), HasSubstr("bad data_offsets"));
  EXPECT_THAT(one("\"F32\"", "[2]", "[0,8,8]", 8), HasSubstr("bad data_offsets"));
  EXPECT_THAT(one("\"F32\"", "[2]", "[0,18446744073709551615]", 8), HasSubstr("bad data_offsets"));
  EXPECT_THAT(one("\"U8\"", "[8]", "[9223372036854775799,9223372036854775807]", 8),
              HasSubstr("beyond the file's end"));
  EXPECT_THAT(one("\"F32\"", "[2]", "[0,8]", 7), HasSubstr("beyond the file's end"));
  EXPECT_THAT(one("\"F32\"", "[2]", "[0,8]", 9),
              HasSubstr("bytes that belong to no weight at the file's end"));
  EXPECT_THAT(one("\"F32\"", "[2]", "[1,9]", 9), HasSubstr("bytes that belong to no weight before"));
  EXPECT_THAT(one("\"F32\"", "[4294967296,4294967296]", "[0,0]", 0), HasSubstr("shape too large"));
  EXPECT_THAT(one("\"F32\"", "[9223372036854775807]", "[0,8]", 8), HasSubstr("shape too large"));
  EXPECT_THAT(one("\"F32\"", "[0,4294967296,4294967296]", "[0,0]", 0), HasSubstr("shape too large"));
  EXPECT_THAT(header_refusal(R"({"w":{"dtype":"U8","shape":[1]}})", 1), HasSubstr("no 'data_offsets'"));
}

TEST(Safetensors, RefusesOverlapsAndHoles) {
  const auto two = [](const std::string& first, const std::string& second, size_t data) {
    const std::string weight = R"({"dtype":"U8","shape":[4],"data_offsets":)";
    return header_refusal("{\"v\":" + weight + first + "},\"w\":" + weight + second + "}}", data);
  };
  EXPECT_EQ(two("[4,8]", "[0,4]", 8), "no error");
  EXPECT_THAT(two("[0,4]", "[2,6]", 6), HasSubstr("weight 'w': bytes overlap"));
  EXPECT_THAT(two("[0,4]", "[0,4]", 4), HasSubstr("bytes overlap"));
  EXPECT_THAT(two("[0,4]", "[5,9]", 9), HasSubstr("belong to no weight"));
  // An empty weight inside another one's bytes is no byte of its own, but not a place the format gives it
  // either.
  EXPECT_THAT(
      header_refusal(
          R"({"v":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"z":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})",
          4),
      HasSubstr("overlap"));
}

TEST(Safetensors, EveryCutOfAFileIsRefused) {
  const std::string whole = reference_file();
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_NE(refusal(whole.substr(0, size)), "no error") << size;
}

TEST(Safetensors, AFileCutWhileOpenIsAnError) {
  const TemporaryDirectory folder;
  const auto path = folder.write("x", reference_file());
  const WeightFile file = open_safetensors(path);
  std::filesystem::resize_file(path, reference_file().size() - 2);
  char flags[3];
  EXPECT_THAT(error_of([&] { file.read("e", flags, 3); }, ErrorKind::kIo),
              HasSubstr("cut after it was opened"));
  EXPECT_THAT(error_of([&] { file.read("e", flags, 2); }, ErrorKind::kModel), HasSubstr("size differs"));
  EXPECT_THAT(error_of([&] { file.read("none", flags, 2); }, ErrorKind::kModel),
              HasSubstr("not in the file"));
}

TEST(Safetensors, AFileReplacedWhileOpenIsReadAsItWas) {
  const TemporaryDirectory folder;
  const auto path = folder.write("x", reference_file());
  const WeightFile file = open_safetensors(path);
  std::filesystem::rename(folder.write("y", "another"), path);
  char flags[3];
  file.read("e", flags, 3);
  EXPECT_EQ(std::string(flags, 3), reference_file().substr(reference_file().size() - 3));
}

TEST(Safetensors, NothingIsLeftUnsaidWhenTheDiskIsFull) {
  const float values[2] = {1, 2};
  const std::vector<WeightBytes> weights = {{"w", WeightType::kF32, {2}, values}};
  FailNth counting(0);
  const TemporaryDirectory folder;
  write_safetensors(counting, folder / "count", weights);
  for (int n = 1; n <= counting.operations(); ++n) {
    FailNth failing(n);
    const auto path = folder / std::to_string(n);
    EXPECT_THAT(error_of([&] { write_safetensors(failing, path, weights); }, ErrorKind::kIo),
                HasSubstr(path.string()));
  }
  EXPECT_GE(counting.operations(), 5);
  // Never into an existing file.
  EXPECT_NE(error_of([&] { write_safetensors(counting, folder / "count", weights); }, ErrorKind::kIo),
            "no error");
}

// --- directories of shards

std::string shard_of(const std::string& weight) {
  return file_of("{\"" + weight + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1);
}

TEST(WeightFiles, JoinsShards) {
  const TemporaryDirectory folder;
  folder.write("model-1.safetensors", shard_of("a"));
  folder.write("model-2.safetensors", shard_of("b"));
  folder.write(
      "model.safetensors.index.json",
      R"({"metadata":{"total_size":2},"weight_map":{"b":"model-2.safetensors","a":"model-1.safetensors"}})");
  const WeightFiles files = WeightFiles::open(folder.path());
  EXPECT_THAT(files.names(), ElementsAre("a", "b"));
  char value = 0;
  files.read("b", &value, 1);
  EXPECT_EQ(value, 1);
  EXPECT_THAT(error_of([&] { files.read("c", &value, 1); }, ErrorKind::kModel), HasSubstr("no weight 'c'"));
}

std::string index_refusal(const TemporaryDirectory& folder, const std::string& shard) {
  folder.write("m/model.safetensors.index.json", "{\"weight_map\":{\"a\":" + shard + "}}");
  return error_of([&] { WeightFiles::open(folder / "m"); }, ErrorKind::kModel);
}

TEST(WeightFiles, RefusesShardsOutsideTheDirectory) {
  const TemporaryDirectory folder;
  folder.write("x", shard_of("a"));
  folder.write("m/inside.safetensors", shard_of("a"));
  std::filesystem::create_symlink("../x", folder / "m/out.safetensors");
  std::filesystem::create_symlink("inside.safetensors", folder / "m/in.safetensors");
  std::filesystem::create_directory(folder / "m/folder.safetensors");
  EXPECT_EQ(index_refusal(folder, "\"inside.safetensors\""), "no error");
  EXPECT_EQ(index_refusal(folder, "\"in.safetensors\""), "no error");
  EXPECT_THAT(index_refusal(folder, "\"../x\""), HasSubstr("plain name"));
  EXPECT_THAT(index_refusal(folder, "\"/etc/passwd\""), HasSubstr("plain name"));
  EXPECT_THAT(index_refusal(folder, "\"..\""), HasSubstr("plain name"));
  EXPECT_THAT(index_refusal(folder, "\"\""), HasSubstr("plain name"));
  EXPECT_THAT(index_refusal(folder, "\"inside.safetensors\\u0000.x\""), HasSubstr("plain name"));
  EXPECT_THAT(index_refusal(folder, "\"out.safetensors\""), HasSubstr("link out of the model directory"));
  EXPECT_THAT(index_refusal(folder, "\"none.safetensors\""), HasSubstr("missing shard"));
  EXPECT_THAT(index_refusal(folder, "\"folder.safetensors\""), HasSubstr("no regular file"));
  EXPECT_THAT(index_refusal(folder, "3"), HasSubstr("must be a string"));
}

TEST(WeightFiles, FollowsTheLinksOfAHuggingFaceCache) {
  const TemporaryDirectory folder;
  folder.write("models--o--n/blobs/d1", shard_of("a"));
  folder.write("models--o--n/snapshots/r/model.safetensors.index.json",
               R"({"weight_map":{"a":"m.safetensors"}})");
  std::filesystem::create_symlink("../../blobs/d1", folder / "models--o--n/snapshots/r/m.safetensors");
  EXPECT_THAT(WeightFiles::open(folder / "models--o--n/snapshots/r").names(), ElementsAre("a"));
}

TEST(WeightFiles, RefusesIndexesThatDisagreeWithTheirShards) {
  const TemporaryDirectory folder;
  folder.write("1", shard_of("a"));
  folder.write("2", shard_of("a"));
  const auto refused = [&](const std::string& index) {
    folder.write("model.safetensors.index.json", index);
    return error_of([&] { WeightFiles::open(folder.path()); }, ErrorKind::kModel);
  };
  EXPECT_THAT(refused(R"({"weight_map":{"a":"1","b":"1"}})"), HasSubstr("'b' is missing from its shard"));
  EXPECT_THAT(refused(R"({"weight_map":{"b":"1"}})"), HasSubstr("'a' is not what the index says"));
  EXPECT_THAT(refused(R"({"weight_map":{"a":"1","b":"2"}})"), HasSubstr("not what the index says"));
  EXPECT_THAT(refused(R"({"weight_map":[]})"), HasSubstr("bad index"));
  EXPECT_THAT(refused("[]"), HasSubstr("bad index"));
  EXPECT_THAT(error_of([&] { WeightFiles::open(folder / "nowhere"); }, ErrorKind::kModel),
              HasSubstr("no weights"));
}

}  // namespace
}  // namespace precis
