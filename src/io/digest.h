// SHA-256.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

namespace precis {

// Takes bytes piece by piece.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();
  void update(std::string_view bytes);
  // 64 lower-case hexadecimal digits. Call once, last.
  std::string hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string sha256(std::string_view bytes);

struct FileDigest {
  int64_t size = 0;
  std::string sha256;
  bool operator==(const FileDigest&) const = default;
};
// A missing or unreadable file is an Error of `kind`.
FileDigest digest_of_file(const std::filesystem::path& path, ErrorKind kind);

}  // namespace precis
