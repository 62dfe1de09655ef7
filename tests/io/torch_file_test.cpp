// Files of torch.save(), zip and older: tensors are found by name; nothing but a state dict of tensors is
// taken. tests/python/model_formats_test.py compares with files that PyTorch itself wrote.
#include "io/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "base/memory_file.h"
#include "base/temporary_directory.h"
#include "io/torch_bytes_for_tests.h"
#include "io/weight_files.h"

namespace precis {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kSix = le(1, 4) + le(2, 4) + le(3, 4) + le(4, 4) + le(5, 4) + le(6, 4);
const std::string kTwo = le(7, 4) + le(8, 4);

using Writer = std::string (*)(const std::string& pickle, const StoragesForTests& storages);
std::string zip(const std::string& pickle, const StoragesForTests& storages) {
  return torch_zip(pickle, storages);
}
std::string legacy(const std::string& pickle, const StoragesForTests& storages) {
  return torch_legacy(pickle, storages);
}

std::string refusal(const std::string& bytes) {
  const MemoryFile file(bytes);
  return error_of([&] { open_torch_file(file.path()); }, ErrorKind::kModel);
}

class TorchFile : public testing::TestWithParam<Writer> {
 protected:
  static std::string one(const TensorForTests& tensor) {
    return refusal(GetParam()(state_dict({{"w", pickled_tensor(tensor)}}), {{"0", kSix}}));
  }
  static std::string pickle(const std::string& bytes) { return refusal(GetParam()(bytes, {{"0", kSix}})); }
};

INSTANTIATE_TEST_SUITE_P(Formats, TorchFile, testing::Values(zip, legacy),
                         [](const auto& info) { return info.index == 0 ? "Zip" : "Legacy"; });

TEST_P(TorchFile, FindsTensorsAndViewsOfOneStorage) {
  const std::string parameter = pickled_call(
      pickled_global("torch._utils", "_rebuild_parameter"),
      {pickled_tensor({.key = "9", .elements = 2, .shape = {2}, .strides = {1}}), "\x88", kOrderedDict});
  const std::string bytes =
      GetParam()(state_dict({{"tied", pickled_tensor({})},
                             {"w", pickled_tensor({})},
                             {"view", pickled_tensor({.offset = 3, .shape = {3}, .strides = {1}})},
                             {"scalar", pickled_tensor({.offset = 5, .shape = {}, .strides = {}})},
                             {"empty", pickled_tensor({.offset = 6, .shape = {0, 3}, .strides = {1, 7}})},
                             {"row", pickled_tensor({.shape = {1, 6, 1}, .strides = {9, 1, 5}})},
                             {"p", parameter}}),
                 {{"0", kSix}, {"9", kTwo}});
  const TemporaryDirectory folder;
  const WeightFile file = open_torch_file(folder.write("x.bin", bytes));
  EXPECT_EQ(file.weights().size(), 7u);
  const auto values = [&](const std::string& name) {
    const WeightInfo* info = file.find(name);
    std::string read(static_cast<size_t>(info->bytes), '\0');
    file.read(name, read.data(), read.size());
    return read;
  };
  EXPECT_EQ(values("w"), kSix);
  EXPECT_EQ(values("tied"), kSix);
  EXPECT_EQ(file.find("w")->begin, file.find("tied")->begin);
  EXPECT_EQ(values("view"), kSix.substr(12));
  EXPECT_EQ(values("scalar"), kSix.substr(20));
  EXPECT_EQ(values("empty"), "");
  EXPECT_EQ(values("row"), kSix);
  EXPECT_EQ(values("p"), kTwo);
  EXPECT_THAT(file.find("w")->shape, ElementsAre(2, 3));
  EXPECT_EQ(file.find("w")->type, WeightType::kF32);
  const WeightFiles files = WeightFiles::open_file(folder / "x.bin");
  EXPECT_EQ(files.entries().size(), 7u);
  EXPECT_EQ(files.distinct().size(), 5u);  // "tied" and "row" have the bytes of "w"
}

TEST_P(TorchFile, RefusesTensorsThatAreNotWhollyTheirs) {
  EXPECT_EQ(one({}), "no error");
  EXPECT_THAT(one({.strides = {1, 2}}), HasSubstr("weight 'w': a tensor that is not contiguous"));
  EXPECT_THAT(one({.shape = {3, 2}, .strides = {0, 1}}), HasSubstr(".contiguous()"));
  EXPECT_THAT(one({.offset = 1}), HasSubstr("reaches beyond its storage"));
  EXPECT_THAT(one({.offset = INT64_MAX}), HasSubstr("reaches beyond its storage"));
  EXPECT_THAT(one({.offset = -1}), HasSubstr("bad offset"));
  EXPECT_THAT(one({.shape = {-2, 3}}), HasSubstr("bad shape"));
  EXPECT_THAT(one({.shape = {2, 3}, .strides = {1}}), HasSubstr("different lengths"));
  EXPECT_THAT(one({.shape = {int64_t{1} << 40, int64_t{1} << 40}, .strides = {int64_t{1} << 40, 1}}),
              HasSubstr("shape too large"));
  EXPECT_THAT(one({.elements = 5}), HasSubstr("reaches beyond"));
  EXPECT_THAT(one({.elements = 7}), HasSubstr("another size than the pickle says"));
  EXPECT_THAT(one({.elements = INT64_MAX}), HasSubstr("storage too large"));
  EXPECT_THAT(one({.elements = -1}), HasSubstr("bad number of elements"));
  EXPECT_THAT(one({.key = "1"}), HasSubstr("storage \""));
  EXPECT_THAT(one({.more_of_storage = pickled(3)}), HasSubstr("a view of another one"));
  EXPECT_THAT(one({.more_of_storage = "NN"}), HasSubstr("bad storage"));
  EXPECT_THAT(one({.more = "}"}), HasSubstr("metadata"));
  EXPECT_EQ(one({.more_of_storage = "N", .more = "N"}), "no error");
  EXPECT_THAT(one({.type = "QInt8Storage"}), HasSubstr("\"torch.QInt8Storage\", which no weights need"));
  const std::string twice =
      state_dict({{"v", pickled_tensor({})}, {"w", pickled_tensor({.type = "IntStorage"})}});
  EXPECT_THAT(pickle(twice), HasSubstr("another type or size elsewhere"));
}

TEST_P(TorchFile, RefusesWhatIsNoStateDict) {
  EXPECT_EQ(pickle(state_dict({{"w", pickled_tensor({})}})), "no error");
  EXPECT_THAT(pickle(whole_pickle("N")), HasSubstr("not a state dict"));
  EXPECT_THAT(pickle(whole_pickle(pickled_tensor({}))), HasSubstr("not a state dict"));
  EXPECT_THAT(pickle(whole_pickle("}K\1" + pickled_tensor({}) + 's')), HasSubstr("names that are texts"));
  EXPECT_THAT(pickle(state_dict({{"w", pickled_tensor({})}, {"w", pickled_tensor({})}})),
              HasSubstr("same name twice"));
  EXPECT_THAT(pickle(state_dict({{"\xFF", pickled_tensor({})}})), HasSubstr("not UTF-8"));
  for (const std::string& value :
       {std::string("N"), pickled(3), kOrderedDict, std::string(")"), pickled_global("torch", "FloatStorage"),
        pickled_call(pickled_global("torch", "FloatStorage"), {pickled(1)})}) {
    EXPECT_THAT(pickle(state_dict({{"w", value}})), HasSubstr("weight 'w': not a tensor")) << value;
    EXPECT_THAT(pickle(state_dict({{"w", value}})), HasSubstr("torch.save(model.state_dict(), FILE)"));
  }
  const std::string tensor = pickled_global("torch._utils", "_rebuild_tensor_v2");
  EXPECT_THAT(pickle(state_dict({{"w", pickled_call(tensor, {})}})), HasSubstr("bad tensor"));
  EXPECT_THAT(pickle(state_dict({{"w", pickled_call(tensor, {"N", "N", "N", "N", "N", "N"})}})),
              HasSubstr("bad storage"));
  EXPECT_THAT(
      pickle(state_dict({{"w", pickled_call(pickled_global("torch._utils", "_rebuild_parameter"), {})}})),
      HasSubstr("bad parameter"));
  EXPECT_THAT(pickle(whole_pickle("cos\nsystem\n(" + pickled("touch x") + "tR")), HasSubstr("\"os.system\""));
}

TEST_P(TorchFile, EveryCutIsRefusedAndNoFlippedByteIsMoreThanAnError) {
  const std::string whole = GetParam()(
      state_dict({{"w", pickled_tensor({})},
                  {"v", pickled_tensor({.key = "k", .elements = 2, .shape = {2}, .strides = {1}})}}),
      {{"0", kSix}, {"k", kTwo}});
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_NE(refusal(whole.substr(0, size)), "no error") << size;
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int bits : {1, 128, 255}) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ bits);
      refusal(flipped);
    }
  }
}

TEST_P(TorchFile, StandsInForSafetensorsInAModelDirectory) {
  const TemporaryDirectory folder;
  const auto shard = [](const std::string& name) {
    return GetParam()(state_dict({{name, pickled_tensor({})}}), {{"0", kSix}});
  };
  folder.write("one/pytorch_model.bin", shard("w"));
  EXPECT_THAT(WeightFiles::open(folder / "one").names(), ElementsAre("w"));
  folder.write("many/a.bin", shard("v"));
  folder.write("many/b.bin", shard("w"));
  folder.write("many/pytorch_model.bin.index.json", R"({"weight_map":{"v":"a.bin","w":"b.bin"}})");
  EXPECT_THAT(WeightFiles::open(folder / "many").names(), ElementsAre("v", "w"));
  folder.write("many/pytorch_model.bin.index.json", R"({"weight_map":{"v":"../one/pytorch_model.bin"}})");
  EXPECT_THAT(error_of([&] { WeightFiles::open(folder / "many"); }, ErrorKind::kModel),
              HasSubstr("plain name"));
  // Safetensors come first, and a directory's own files before those of an index.
  folder.write("one/pytorch_model.bin.index.json", "[]");
  EXPECT_THAT(WeightFiles::open(folder / "one").names(), ElementsAre("w"));
  folder.write("one/model.safetensors", le(2, 8) + "{}");
  EXPECT_TRUE(WeightFiles::open(folder / "one").names().empty());
}

TEST(TorchZip, ChecksItsOtherMembers) {
  const std::string pickle = state_dict({{"w", pickled_tensor({})}});
  EXPECT_EQ(refusal(torch_zip(pickle, {{"0", kSix}}, "")), "no error");  // PyTorch 1.6 wrote none
  EXPECT_THAT(refusal(torch_zip(pickle, {{"0", kSix}}, "big")), HasSubstr("another byte order"));
  EXPECT_THAT(refusal(torch_zip(pickle, {{"0", kSix}}, "bitter")), HasSubstr("another byte order"));
  EXPECT_THAT(refusal(torch_zip(pickle, {})), HasSubstr("storage \"0\" is missing"));
  EXPECT_EQ(refusal(torch_zip(pickle, {{"0", kSix}, {"1", kTwo}})), "no error");
  EXPECT_THAT(refusal(zip_archive({{"data.pkl", pickle}})), HasSubstr("not a file of torch.save()"));
  EXPECT_THAT(refusal(zip_archive({{"a/data.pkl", pickle}, {"b/data.pkl", pickle}})),
              HasSubstr("two state dicts"));
  EXPECT_THAT(refusal(zip_archive({{"a/b/data.pkl", pickle}})), HasSubstr("not a file of torch.save()"));
}

TEST(TorchLegacy, ChecksItsOtherPickles) {
  const std::string pickle = state_dict({{"w", pickled_tensor({})}});
  EXPECT_THAT(refusal(torch_legacy(pickle, {{"0", kSix}}, 1002)), HasSubstr("another version"));
  EXPECT_THAT(refusal(torch_legacy(pickle, {{"0", kSix}}, 1001, "\x89")), HasSubstr("another byte order"));
  EXPECT_THAT(refusal(torch_legacy(pickle, {})), HasSubstr("storage \"0\" is missing"));
  EXPECT_THAT(refusal(torch_legacy(pickle, {{"0", kSix}, {"1", kTwo}})),
              HasSubstr("\"1\" that no weight is in"));
  EXPECT_THAT(refusal(torch_legacy(pickle, {{"0", kSix}, {"0", kSix}})), HasSubstr("\"0\" comes twice"));
  EXPECT_THAT(refusal(torch_legacy(pickle, {{"0", kSix}}) + "x"), HasSubstr("bytes behind the last storage"));
  EXPECT_THAT(refusal("\x80\2}."), HasSubstr("not a file of torch.save()"));
  EXPECT_THAT(refusal(""), HasSubstr("not a file of torch.save()"));
}

}  // namespace
}  // namespace precis
