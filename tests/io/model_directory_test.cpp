// Model directories: each way of naming the wrong thing has its own hint; digests are SHA-256.
#include "io/model_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "base/temporary_directory.h"
#include "io/digest.h"

namespace precis {
namespace {

using ::testing::HasSubstr;

std::string error_of(const std::filesystem::path& directory) {
  return precis::error_of([&] { read_model_config(directory); }, ErrorKind::kModel);
}

TEST(ModelDirectory, ReadsItsConfigurations) {
  const TemporaryDirectory folder;
  EXPECT_THAT(error_of(folder / "none"),
              HasSubstr("none: no such model directory (a model is a directory with"));
  EXPECT_THAT(error_of(folder.write("file", "")), HasSubstr("not a model directory"));
  EXPECT_THAT(error_of(folder.path()), HasSubstr("no config.json"));
  folder.write("config.json", "[1]");
  EXPECT_THAT(error_of(folder.path()),
              HasSubstr("config.json: bad file; expected a JSON object, found array"));
  folder.write("config.json", "{\"d_model\": 8, \"z\": 1e-05}");
  EXPECT_EQ(read_model_config(folder.path())["d_model"], 8);
  EXPECT_FALSE(read_generation_config(folder.path()).has_value());
  folder.write("generation_config.json", "{\"num_beams\": 4}");
  EXPECT_EQ(read_generation_config(folder.path())->at("num_beams"), 4);
}

TEST(ModelDirectory, ALinkThatLeadsNowhereIsNoMissingFile) {
  const TemporaryDirectory folder;
  std::filesystem::create_symlink("nowhere", folder / "config.json");
  EXPECT_THAT(error_of(folder.path()), HasSubstr("config.json: no such file"));
  std::filesystem::create_symlink("generation_config.json", folder / "generation_config.json");
  EXPECT_THAT(precis::error_of([&] { read_generation_config(folder.path()); }, ErrorKind::kModel),
              HasSubstr("generation_config.json: can't open: Too many levels"));
}

TEST(ModelDirectory, WritesJsonAsTheHuggingFaceLibrariesDo) {
  EXPECT_EQ(pretty_json({{"b", 1}, {"a", {1.5, "\xC3\xA9"}}}),
            "{\n  \"b\": 1,\n  \"a\": [\n    1.5,\n    \"\xC3\xA9\"\n  ]\n}\n");
}

TEST(Digest, IsSha256) {
  // FIPS 180-2, appendix B.
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const TemporaryDirectory folder;
  const std::string million(1000000, 'a');
  const FileDigest digest = digest_of_file(folder.write("f", million), ErrorKind::kModel);
  EXPECT_EQ(digest.size, 1000000);
  EXPECT_EQ(digest.sha256, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_THROW(digest_of_file(folder / "none", ErrorKind::kModel), Error);
}

}  // namespace
}  // namespace precis
