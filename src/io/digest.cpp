// SHA-256 by OpenSSL's EVP interface.
#include "io/digest.h"

#include <openssl/evp.h>

#include <vector>

#include "io/descriptor.h"

namespace precis {

struct Sha256::Context {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> evp{EVP_MD_CTX_new(), EVP_MD_CTX_free};
};

namespace {

void check(bool good) {
  if (!good) throw Error(ErrorKind::kInternal, {.what = "OpenSSL gives no SHA-256"});
}

}  // namespace

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  check(context_->evp != nullptr && EVP_DigestInit_ex(context_->evp.get(), EVP_sha256(), nullptr) == 1);
}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::update(std::string_view bytes) {
  check(EVP_DigestUpdate(context_->evp.get(), bytes.data(), bytes.size()) == 1);
}

std::string Sha256::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  check(EVP_DigestFinal_ex(context_->evp.get(), digest, &size) == 1);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

std::string sha256(std::string_view bytes) {
  Sha256 digest;
  digest.update(bytes);
  return digest.hex();
}

FileDigest digest_of_file(const std::filesystem::path& path, ErrorKind kind) {
  const Descriptor file = open_for_reading(path, kind);
  std::vector<char> buffer(size_t{1} << 20);
  Sha256 digest;
  FileDigest result;
  while (const size_t got = file.read(buffer.data(), buffer.size())) {
    digest.update({buffer.data(), got});
    result.size += static_cast<int64_t>(got);
  }
  result.sha256 = digest.hex();
  return result;
}

}  // namespace precis
