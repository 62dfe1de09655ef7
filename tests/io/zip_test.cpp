// Zip directories: members are found as every writer puts them; whatever is not stored plainly is refused.
#include "io/zip.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "base/memory_file.h"
#include "io/torch_bytes_for_tests.h"

namespace precis {
namespace {

using ::testing::HasSubstr;

std::map<std::string, std::string> read_all(const std::string& archive) {
  const MemoryFile memory(archive);
  const Descriptor file = open_for_reading(memory.path(), ErrorKind::kModel);
  std::map<std::string, std::string> contents;
  for (const auto& [name, member] : read_zip_directory(file)) {
    contents[name] = archive.substr(static_cast<size_t>(member.begin), static_cast<size_t>(member.bytes));
  }
  return contents;
}

std::string refusal(const std::string& archive) {
  return error_of([&] { read_all(archive); }, ErrorKind::kModel);
}

const std::map<std::string, std::string> kContents = {{"a", "one"}, {"b/", ""}, {"b/c", "three!"}};
// The local header's extra field is not the directory's: writers align what comes behind it.
const std::vector<MemberForTests> kMembers = {{"a", "one"}, {"b/", ""}, {"b/c", "three!", "padding"}};

TEST(Zip, FindsItsMembers) {
  EXPECT_EQ(read_all(zip_archive(kMembers)), kContents);
  EXPECT_EQ(read_all(zip_archive(kMembers, {.zip64 = true})), kContents);
  EXPECT_EQ(read_all(zip_archive(kMembers, {.comment = "PK\5\6 is how an end record begins", .zip64 = true})),
            kContents);
  EXPECT_EQ(read_all(zip_archive(kMembers, {.comment = std::string(65535, '\0')})), kContents);
  EXPECT_TRUE(read_all(zip_archive({})).empty());
}

TEST(Zip, RefusesWhatIsNotStoredPlainly) {
  EXPECT_THAT(refusal(zip_archive({{"a", "one", "", 8}})), HasSubstr("a compressed zip member; found \"a\""));
  EXPECT_THAT(refusal(zip_archive({{"a", "one", "", 0, 1}})), HasSubstr("encrypted"));
  EXPECT_THAT(refusal(zip_archive({{"a", "one"}, {"a", "two"}})), HasSubstr("same name twice"));
}

TEST(Zip, RefusesMembersOutsideTheFile) {
  for (const bool zip64 : {false, true}) {
    for (const uint64_t error : {uint64_t{1}, uint64_t{1} << 20, uint64_t{1} << 31}) {
      const std::string refused = refusal(zip_archive({{"a", "one", "", 0, 0, error}}, {.zip64 = zip64}));
      EXPECT_THAT(refused, HasSubstr("the header of a zip member")) << error;
    }
    // The size of the only member, twice in its directory entry, made one larger.
    std::string larger = zip_archive({{"a", "one"}}, {.zip64 = zip64});
    const size_t entry = larger.find("PK\1\2");
    for (const size_t at : {size_t{20}, size_t{24}, size_t{46 + 1 + 6 + 4}, size_t{46 + 1 + 6 + 4 + 8}}) {
      if ((at < 46) != zip64) ++larger[entry + at];
    }
    EXPECT_THAT(refusal(larger), HasSubstr("reaches beyond the directory"));
  }
  EXPECT_THAT(refusal(zip_archive({{"a", "one", "", 0, 0, UINT64_MAX - 10}}, {.zip64 = true})),
              HasSubstr("beyond the file's end"));
}

TEST(Zip, RefusesDirectoriesThatLie) {
  for (const bool zip64 : {false, true}) {
    EXPECT_THAT(refusal(zip_archive(kMembers, {.zip64 = zip64, .entries_error = 1})),
                HasSubstr("another number of entries"));
    EXPECT_THAT(refusal(zip_archive(kMembers, {.zip64 = zip64, .directory_error = 1})),
                HasSubstr("beyond its end record"));
    EXPECT_THAT(refusal(zip_archive(kMembers, {.zip64 = zip64, .directory_error = UINT64_MAX})),
                HasSubstr("zip directory"));
  }
  std::string large = zip_archive(kMembers, {.zip64 = true});
  large.replace(large.find("PK\6\6") + 40, 8, le(100'000'001, 8));
  EXPECT_THAT(refusal(large), HasSubstr("more than 100 MB"));
  std::string parts = zip_archive(kMembers);
  parts[parts.rfind("PK\5\6") + 4] = 1;
  EXPECT_THAT(refusal(parts), HasSubstr("several parts"));
  std::string bare = zip_archive({{"a", "one"}}, {.zip64 = true});
  bare[bare.find("PK\1\2") + 46 + 1 + 6] = 9;  // another id than zip64's
  EXPECT_THAT(refusal(bare), HasSubstr("zip64 field is missing"));
}

TEST(Zip, EveryCutIsRefusedAndNoFlippedByteIsMoreThanAnError) {
  for (const bool zip64 : {false, true}) {
    const std::string whole = zip_archive(kMembers, {.comment = "comment", .zip64 = zip64});
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
}

}  // namespace
}  // namespace precis
