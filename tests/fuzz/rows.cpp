// Fuzzes JSON Lines rows as documents. The first byte chooses what is done about bad lines and bad UTF-8.
#include "base/memory_file.h"
#include "data/documents.h"
#include "fuzz/target.h"
#include "io/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace precis;
  if (size == 0) return 0;
  const MemoryFile file(text_of(data, size).substr(1));
  DocumentOptions options;
  options.format = (data[0] & 1) != 0 ? InputFormat::kText : InputFormat::kJsonLines;
  options.replace_invalid_utf8 = (data[0] & 2) != 0;
  options.skip_bad_lines = data[0] >> 4;
  options.max_line_bytes = (data[0] & 4) != 0 ? 64 : 1 << 20;
  if ((data[0] & 8) != 0) options.summary_field = "s";
  value_or_error({ErrorKind::kData}, [&] {
    DocumentReader reader(file.path(), options);
    int64_t line = 0;
    while (const std::optional<Document> document = reader.next()) {
      require(document->line > line);
      line = document->line;
      require(find_invalid_utf8(document->text) == std::string_view::npos);
      require(options.replace_invalid_utf8 || reader.replaced_bytes() == 0);
    }
    require(reader.skipped_lines() <= options.skip_bad_lines);
  });
  return 0;
}
