// Fuzzes a tokenizer's files, and encoding with what they give. The input is a text, then the files in the
// order of kNames, each behind a byte 0xFF; an empty one is not there.
#include "text/tokenizer.h"

#include "fuzz/target.h"
#include "io/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace precis;
  static constexpr const char* kNames[] = {"tokenizer.json",    "vocab.json",
                                           "merges.txt",        "special_tokens_map.json",
                                           "added_tokens.json", "tokenizer_config.json"};
  static const FuzzFolder folder;
  std::string_view rest = text_of(data, size);
  const std::string_view text = take_part(rest, '\xFF');
  for (const char* name : kNames) {
    const std::string_view bytes = take_part(rest, '\xFF');
    if (bytes.empty()) {
      folder.remove(name);
    } else {
      folder.write(name, bytes);
    }
  }
  std::optional<Tokenizer> tokenizer;
  value_or_error({ErrorKind::kModel, ErrorKind::kUnsupported},
                 [&] { tokenizer = Tokenizer::load(folder.path()); });
  if (!tokenizer) return 0;
  // kModel: not every vocabulary has a token for each byte.
  value_or_error({ErrorKind::kData, ErrorKind::kModel}, [&] {
    const Encoding encoding = tokenizer->encode(text);
    require(encoding.ids.size() == encoding.offsets.size());
    SourceSpan before;
    for (const SourceSpan& span : encoding.offsets) {
      require(before.begin <= span.begin && span.begin <= span.end);
      before = span;
    }
    for (const int32_t id : encoding.ids) {
      require(id >= 0 && id < tokenizer->id_limit());
      tokenizer->id_to_token(id);
    }
    require(find_invalid_utf8(tokenizer->decode(encoding.ids, false)) == std::string_view::npos);
    tokenizer->decode(encoding.ids, true);
  });
  return 0;
}
