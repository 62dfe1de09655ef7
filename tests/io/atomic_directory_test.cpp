// Committed directories hold under full disks, crashes, kills, and damage found by digest.
#include "io/atomic_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include "base/error.h"
#include "base/error_of.h"
#include "base/fault_file_systems.h"
#include "base/temporary_directory.h"
#include "io/safetensors.h"

namespace precis {
namespace {

using ::testing::HasSubstr;

// A small checkpoint whose bytes tell `step`.
void save(FileSystem& files, const std::filesystem::path& target, int step, bool replace = false) {
  AtomicDirectory directory(files, target);
  const std::vector<int64_t> values(1000, step);
  write_safetensors(directory.files(), directory.stage() / "model.safetensors",
                    {{"w", WeightType::kI64, {1000}, values.data()}});
  directory.write("config.json", "{\"step\": " + std::to_string(step) + "}\n");
  directory.commit({{"step", step}}, replace);
}

// What a killed writer of anything but "other" has left.
int clear(const TemporaryDirectory& folder) {
  return remove_stages(posix_file_system(), folder.path(),
                       [](const std::string& name) { return name != "other"; });
}

std::string verification(const std::filesystem::path& directory) {
  return error_of([&] { verify_directory(directory); }, ErrorKind::kModel);
}

TEST(AtomicDirectory, CommitsFilesWithAManifest) {
  const TemporaryDirectory folder;
  save(posix_file_system(), folder / "step-1", 7);
  const Json manifest = verify_directory(folder / "step-1");
  EXPECT_EQ(manifest["format_version"], 1);
  EXPECT_EQ(manifest["step"], 7);
  EXPECT_EQ(manifest["files"]["config.json"]["size"], 12);
  EXPECT_EQ(manifest["files"]["config.json"]["sha256"], sha256("{\"step\": 7}\n"));
  EXPECT_EQ(manifest["files"].size(), 2u);
  EXPECT_EQ(clear(folder), 0);
}

TEST(AtomicDirectory, FollowsTheUmask) {
  const TemporaryDirectory folder;
  for (const mode_t mask : {022, 077}) {
    const auto target = folder / std::to_string(mask);
    const mode_t before = umask(mask);
    save(posix_file_system(), target, 1);
    umask(before);
    const auto mode = [](const std::filesystem::path& path) {
      return static_cast<mode_t>(std::filesystem::status(path).permissions());
    };
    EXPECT_EQ(mode(target), 0777 & ~mask);
    EXPECT_EQ(mode(target / "config.json"), 0666 & ~mask);
    EXPECT_EQ(mode(target / "manifest.json"), 0666 & ~mask);
  }
}

TEST(AtomicDirectory, LeavesNothingWithoutACommit) {
  const TemporaryDirectory folder;
  {
    AtomicDirectory directory(posix_file_system(), folder / "d");
    directory.write("f", "x");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(AtomicDirectory, AFullDiskAtAnyOperationLeavesThePreviousOneIntact) {
  const TemporaryDirectory folder;
  save(posix_file_system(), folder / "step-1", 1);
  for (int n = 1;; ++n) {
    FailNth failing(n);
    const std::string message = [&] {
      try {
        save(failing, folder / "step-2", 2);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kIo);
        return std::string(error.what());
      }
      return std::string("no error");
    }();
    EXPECT_EQ(verification(folder / "step-1"), "no error") << n;
    if (!failing.has_failed()) {
      EXPECT_EQ(message, "no error");
      EXPECT_GT(n, 12);
      break;
    }
    EXPECT_THAT(message, HasSubstr(folder.path().string())) << n;
    EXPECT_EQ(clear(folder), 0) << n;
    // There is either no second one, or (when only the last sync failed) a whole one.
    if (std::filesystem::exists(folder / "step-2")) {
      EXPECT_EQ(verification(folder / "step-2"), "no error") << n;
      std::filesystem::remove_all(folder / "step-2");
    }
  }
  EXPECT_EQ(verification(folder / "step-2"), "no error");
}

TEST(AtomicDirectory, WhatIsCommittedSurvivesTheLossOfAllThatIsUnsynced) {
  const TemporaryDirectory folder;
  LoseUnsynced files;
  save(files, folder / "step-1", 1);
  {
    AtomicDirectory unfinished(files, folder / "step-2");
    unfinished.write("f", "x");
    files.crash();
  }
  EXPECT_EQ(verification(folder / "step-1"), "no error");
  EXPECT_FALSE(std::filesystem::exists(folder / "step-2"));
  save(files, folder / "step-1", 3, true);
  files.crash();
  EXPECT_EQ(verify_directory(folder / "step-1")["step"], 3);
}

TEST(AtomicDirectory, AKillAtAnyMomentLeavesAWholeOne) {
  const TemporaryDirectory folder;
  save(posix_file_system(), folder / "step-0", 0);
  int committed = 0;
  // More rounds, and longer ones, where the machine is too busy for a commit in the first ones.
  for (int round = 1; round <= 40 || (committed == 0 && round <= 400); ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int step = round * 1000;; ++step) save(posix_file_system(), folder / "current", step, true);
    }
    usleep(static_cast<useconds_t>((500 + round * 397 % 9000) * (1 + round / 41)));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    EXPECT_EQ(verification(folder / "step-0"), "no error");
    if (std::filesystem::exists(folder / "current")) {
      ++committed;
      EXPECT_EQ(verification(folder / "current"), "no error") << round;
    }
    clear(folder);
    EXPECT_LE(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
  }
  EXPECT_GT(committed, 0);
}

TEST(AtomicDirectory, RefusesAnExistingTargetUnlessItMayBeReplaced) {
  const TemporaryDirectory folder;
  save(posix_file_system(), folder / "d", 1);
  EXPECT_THAT(error_of([&] { save(posix_file_system(), folder / "d", 2); }, ErrorKind::kIo),
              HasSubstr("already exists"));
  EXPECT_EQ(verify_directory(folder / "d")["step"], 1);
  save(posix_file_system(), folder / "d/", 2, true);
  EXPECT_EQ(verify_directory(folder / "d")["step"], 2);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

// Where two directories can't change places in one step.
class WithoutExchange : public FailNth {
 public:
  explicit WithoutExchange(int n = 0) : FailNth(n) {}
  bool exchange(const std::filesystem::path&, const std::filesystem::path&) override { return false; }
};

TEST(AtomicDirectory, ReplacesWithoutExchangeToo) {
  const TemporaryDirectory folder;
  WithoutExchange files;
  save(files, folder / "d", 1);
  save(files, folder / "d", 2, true);
  EXPECT_EQ(verify_directory(folder / "d")["step"], 2);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(AtomicDirectory, WithoutExchangeAFailureAnywhereLeavesTheOldOrTheNew) {
  int failures = 0;
  for (int n = 1;; ++n) {
    const TemporaryDirectory folder;
    save(posix_file_system(), folder / "d", 1);
    WithoutExchange files(n);
    const std::string problem = error_of([&] { save(files, folder / "d", 2, true); }, ErrorKind::kIo);
    if (!files.has_failed()) break;
    failures += problem != "no error";
    const Json step = verify_directory(folder / "d")["step"];
    EXPECT_TRUE(step == 1 || step == 2) << n;
  }
  EXPECT_GT(failures, 10);
}

TEST(AtomicDirectory, WithoutExchangeAKillBetweenTheTwoStepsLosesNothing) {
  const TemporaryDirectory folder;
  save(posix_file_system(), folder / ".tmp-d-0123456789abcdef", 2);
  save(posix_file_system(), folder / ".precis-old-d", 1);
  EXPECT_EQ(clear(folder), 2);
  EXPECT_EQ(verify_directory(folder / "d")["step"], 1);

  save(posix_file_system(), folder / ".precis-old-d", 0);  // as when the kill came behind them
  EXPECT_EQ(clear(folder), 1);
  EXPECT_EQ(verify_directory(folder / "d")["step"], 1);
  for (const char* name : {".tmp-work", ".tmp-other-0123456789abcdef", ".old-photos", ".precis-old-other"}) {
    std::filesystem::create_directory(folder / name);
    EXPECT_EQ(clear(folder), 0) << name;
    std::filesystem::remove(folder / name);
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(AtomicDirectory, RefusesToCommitAFileThatWasNotSynced) {
  const TemporaryDirectory folder;
  AtomicDirectory directory(posix_file_system(), folder / "d");
  const auto file = directory.files().create(directory.stage() / "f");
  file->write("x");
  file->close();
  EXPECT_THAT(error_of([&] { directory.commit(); }, ErrorKind::kInternal),
              HasSubstr("not synced and closed"));
  EXPECT_FALSE(std::filesystem::exists(folder / "d"));
}

TEST(AtomicDirectory, VerificationNamesTheDamagedFile) {
  const TemporaryDirectory folder;
  const auto target = folder / "d";
  const auto model = target / "model.safetensors";
  const auto fresh = [&] {
    std::filesystem::remove_all(target);
    save(posix_file_system(), target, 1);
  };
  fresh();
  std::string bytes = bytes_of(model);
  bytes[bytes.size() - 5] ^= 1;
  std::ofstream(model, std::ios::binary) << bytes;
  EXPECT_THAT(verification(target),
              HasSubstr("model.safetensors: file differs from its manifest; expected SHA-256"));
  fresh();
  std::filesystem::resize_file(model, bytes.size() - 1);
  EXPECT_THAT(verification(target), HasSubstr("model.safetensors: file differs"));
  fresh();
  std::filesystem::resize_file(target / "config.json", 0);
  EXPECT_THAT(verification(target),
              HasSubstr("config.json: file differs from its manifest; expected 12 bytes, found 0"));
  fresh();
  std::filesystem::remove(target / "config.json");
  EXPECT_THAT(verification(target), HasSubstr("config.json: no such file"));
}

TEST(AtomicDirectory, AMissingOrHalfWrittenManifestIsNoManifest) {
  const TemporaryDirectory folder;
  save(posix_file_system(), folder / "d", 1);
  const std::string whole = bytes_of(folder / "d/manifest.json");
  // The last byte is the newline behind the document.
  for (size_t size = 0; size + 1 < whole.size(); ++size) {
    folder.write("d/manifest.json", whole.substr(0, size));
    EXPECT_NE(verification(folder / "d"), "no error") << size;
  }
  std::filesystem::remove(folder / "d/manifest.json");
  EXPECT_THAT(verification(folder / "d"), HasSubstr("manifest.json: no such file"));
  const auto with = [&](const std::string& manifest) {
    folder.write("d/manifest.json", manifest);
    return verification(folder / "d");
  };
  EXPECT_THAT(with(R"({"format_version":2,"files":{}})"),
              HasSubstr("unknown manifest version; expected 1, found 2"));
  EXPECT_THAT(with(R"({"format_version":1})"), HasSubstr("no object 'files'"));
  EXPECT_THAT(with(R"({"format_version":1,"files":{"../x":{"size":1,"sha256":""}}})"),
              HasSubstr("plain file name"));
  EXPECT_THAT(with(R"({"format_version":1,"files":{"x":{"size":-1,"sha256":""}}})"),
              HasSubstr("bad manifest entry"));
  EXPECT_THAT(with("[]"), HasSubstr("unknown manifest version"));
}

}  // namespace
}  // namespace precis
