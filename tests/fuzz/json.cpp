// Fuzzes the strict JSON reader: what it reads, it reads again from what is written of it.
#include "io/json.h"

#include "fuzz/target.h"
#include "io/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace precis;
  const std::string_view text = text_of(data, size);
  value_or_error({ErrorKind::kData}, [&] {
    const Json value = parse_json(text, "json", ErrorKind::kData);
    require(parse_json(dump_json(value), "json", ErrorKind::kInternal) == value);
    require(parse_json(pretty_json(value), "json", ErrorKind::kInternal) == value);
    require(shown(value).size() <= 83);
  });
  int64_t replaced = 0, again = 0;
  const std::string valid = replace_invalid_unicode_in_json(text, replaced);
  require(find_invalid_utf8(valid) == std::string_view::npos);
  require(replace_invalid_unicode_in_json(valid, again) == valid && again == 0);
  return 0;
}
