// The file-system seam: modes, replacement in one step, errors that name file and bytes.
#include "base/file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>

#include "base/error.h"
#include "base/error_of.h"
#include "base/fault_file_systems.h"
#include "base/temporary_directory.h"

namespace precis {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> leftovers(const TemporaryDirectory& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    if (entry.path().filename().string().rfind(".tmp-", 0) == 0) names.push_back(entry.path().string());
  }
  return names;
}

TEST(FileSystem, FollowsTheUmask) {
  const TemporaryDirectory folder;
  for (const mode_t mask : {022, 077, 002}) {
    const mode_t before = umask(mask);
    const auto path = folder / std::to_string(mask);
    replace_file(posix_file_system(), path, "x");
    umask(before);
    EXPECT_EQ(static_cast<mode_t>(std::filesystem::status(path).permissions()), 0666 & ~mask);
  }
}

TEST(FileSystem, CreateRefusesAnExistingFileAndReplaceMakesANewInode) {
  const TemporaryDirectory folder;
  const auto path = folder.write("f", "old");
  EXPECT_THROW(posix_file_system().create(path), Error);
  struct stat before = {}, after = {};
  stat(path.c_str(), &before);
  replace_file(posix_file_system(), path, "new");
  stat(path.c_str(), &after);
  EXPECT_EQ(bytes_of(path), "new");
  EXPECT_NE(before.st_ino, after.st_ino);
}

TEST(FileSystem, AFailedReplacementLeavesTheOldFileAndNoRubbish) {
  const TemporaryDirectory folder;
  const auto path = folder.write("f", "old");
  int n = 0;
  for (;;) {
    FailNth failing(++n);
    try {
      replace_file(failing, path, "new!");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kIo);
    }
    EXPECT_THAT(leftovers(folder), IsEmpty());
    if (!failing.has_failed()) break;
    // Only the last step, syncing the folder, comes after the rename.
    EXPECT_EQ(bytes_of(path), n < 6 ? "old" : "new!") << n;
  }
  EXPECT_EQ(n, 7);
}

TEST(FileSystem, AReplacementThatReturnedSurvivesACrash) {
  const TemporaryDirectory folder;
  LoseUnsynced files;
  const auto path = folder.write("f", "old");
  replace_file(files, path, "new");
  replace_link(files, "f", folder / "l");
  replace_link(files, "g", folder / "l");
  files.crash();
  EXPECT_EQ(bytes_of(path), "new");
  EXPECT_EQ(std::filesystem::read_symlink(folder / "l"), "g");
  // The fault is real: without the syncs the bytes and the entry go.
  files.create(folder / "h")->write("bytes");
  files.crash();
  EXPECT_FALSE(std::filesystem::exists(folder / "h"));
}

TEST(FileSystem, AReplacementWithoutACommitLeavesTheOldFileAndNoRubbish) {
  const TemporaryDirectory folder;
  const auto path = folder.write("f", "old");
  { FileReplacement(posix_file_system(), path).write("new"); }
  EXPECT_EQ(bytes_of(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(FileSystem, WhatIsNoFileIsNotReplaced) {
  const TemporaryDirectory folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const std::filesystem::path& path :
       {std::filesystem::path("/dev/null"), folder.path(), folder / "pipe"}) {
    EXPECT_THROW(replace_file(posix_file_system(), path, "x"), Error) << path;
  }
  EXPECT_EQ(std::filesystem::status(folder / "pipe").type(), std::filesystem::file_type::fifo);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(FileSystem, APipeIsNoLog) {
  const TemporaryDirectory folder;
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  // Nobody reads it: opening would wait for ever.
  for (const std::filesystem::path& path : {folder / "pipe", std::filesystem::path("/dev/null")}) {
    EXPECT_THAT(error_of([&] { posix_file_system().append(path); }, ErrorKind::kIo),
                testing::HasSubstr("can't open"));
  }
}

TEST(FileSystem, AFullDiskNamesFileAndBytes) {
  const TemporaryDirectory folder;
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 1000;
  setrlimit(RLIMIT_FSIZE, &small);
  std::string message = "no error";
  try {
    const auto file = posix_file_system().create(folder / "f");
    file->write(std::string(600, 'x'));
    file->write(std::string(600, 'x'));
  } catch (const Error& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_THAT(message, HasSubstr((folder / "f").string() + ": can't write: File too large"));
  EXPECT_THAT(message, HasSubstr("after 1000 bytes"));
}

TEST(FileSystem, RemovesTreesWithoutFollowingLinks) {
  const TemporaryDirectory folder;
  folder.write("keep/f", "x");
  folder.write("tree/a/b/f", "x");
  std::filesystem::create_directory_symlink(folder / "keep", folder / "tree/link");
  remove_tree(posix_file_system(), folder / "tree");
  remove_tree(posix_file_system(), folder / "never-was");
  EXPECT_FALSE(std::filesystem::exists(folder / "tree"));
  EXPECT_EQ(bytes_of(folder / "keep/f"), "x");
}

TEST(FileSystem, MakesDirectoriesAndSaysWhereItCannot) {
  const TemporaryDirectory folder;
  make_directories(posix_file_system(), folder / "a/b/c/");
  make_directories(posix_file_system(), folder / "a/b/c");
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b/c"));
  folder.write("file", "x");
  EXPECT_THROW(make_directories(posix_file_system(), folder / "file/d"), Error);
  EXPECT_EQ(parent_directory("x"), ".");
  EXPECT_EQ(parent_directory("a/x/"), "a");
}

}  // namespace
}  // namespace precis
