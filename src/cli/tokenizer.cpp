// precis tokenizer train | encode | decode.
#include "text/tokenizer.h"

#include <charconv>
#include <cstdio>
#include <limits>
#include <memory>

#include "base/file_system.h"
#include "cli/numbers.h"
#include "cli/program.h"
#include "data/documents.h"
#include "data/lines.h"
#include "io/atomic_directory.h"
#include "io/json.h"
#include "text/bpe_trainer.h"

namespace precis::cli {
namespace {

struct InputOptions {
  std::vector<std::string> files;
  std::string format = "auto";
  std::string document_field;
  ReadingOptions reading;

  DocumentOptions documents() const {
    DocumentOptions options = {.summaries = false, .stop = &stop_token()};
    if (format != "auto") options.format = parse_input_format(format);
    options.document_field = document_field;
    reading.apply(options);
    return options;
  }
};

void add_input_options(CLI::App& command, InputOptions& options) {
  command.add_option("--input-format", options.format, "auto: JSON Lines by the extension, else text")
      ->check(CLI::IsMember({"auto", "text", "jsonl"}))
      ->capture_default_str();
  command.add_option("--document-field", options.document_field, "Field of the text in JSON Lines");
  add_reading_options(command, options.reading);
}

void append_number(int64_t number, std::string& out) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

std::string quoted(const std::string& text) { return dump_json(text); }

struct TrainOptions {
  CommonOptions common;
  InputOptions input;
  std::string summary_field;
  int32_t vocab_size = 0;
  std::string out;
};

void train(const TrainOptions& options) {
  apply_common_options(options.common);
  refuse_model_options(options.common, "tokenizer train");
  if (options.vocab_size < BpeTrainer::kSmallestVocabulary) {
    throw Error(ErrorKind::kUsage, {.what = "the vocabulary is too small",
                                    .where = "--vocab-size",
                                    .expected = "at least " + std::to_string(BpeTrainer::kSmallestVocabulary),
                                    .found = std::to_string(options.vocab_size)});
  }
  refuse_existing(options.out);
  // Before the long work: an output that can't be written is found first.
  FileSystem& files = posix_file_system();
  make_directories(files, parent_directory(options.out));
  AtomicDirectory directory(files, options.out);
  DocumentOptions document_options = options.input.documents();
  document_options.summaries = true;  // they are text to learn from
  document_options.summary_field = options.summary_field;
  BpeTrainer trainer;
  int64_t documents = 0;
  for (const std::string& file : options.input.files) {
    DocumentReader reader(file, document_options);
    while (const auto document = reader.next()) {
      throw_if_stopped(&stop_token());
      trainer.add(document->text);
      for (const std::string& summary : document->summaries) trainer.add(summary);
      ++documents;
    }
    notify_reading(reader, file);
  }
  if (documents == 0) {
    throw Error(ErrorKind::kData, {.what = "no rows to learn from", .where = options.input.files.front()});
  }
  const TrainedVocabulary vocabulary = trainer.train(options.vocab_size, &stop_token());
  for (const TokenizerFile& file : tokenizer_files(vocabulary)) directory.write(file.name, file.bytes);
  directory.commit();
  const auto size = static_cast<int32_t>(vocabulary.tokens.size());
  if (size < options.vocab_size) {
    log(log_sink(), LogLevel::kWarning,
        "the texts hold too few pairs for --vocab-size " + std::to_string(options.vocab_size));
  }
  log(log_sink(), LogLevel::kInfo,
      options.out + ": " + counted(size, "token") + " from " + counted(documents, "document"));
}

struct EncodeCommand {
  CommonOptions common;
  InputOptions input;
  std::string model;
  std::string format = "text";
  std::string special_in_text = "parse";
  bool special = false;
};

// BOS stands before the text, at [0, 0), and EOS behind it, at [n, n).
void add_special(const Tokenizer& tokenizer, const std::string& model, Encoding& encoding,
                 int64_t code_points) {
  if (!tokenizer.bos() || !tokenizer.eos()) {
    throw Error(ErrorKind::kModel,
                {.what = "the tokenizer has no BOS or no EOS token to put around a text", .where = model});
  }
  encoding.ids.insert(encoding.ids.begin(), *tokenizer.bos());
  encoding.ids.push_back(*tokenizer.eos());
  encoding.offsets.insert(encoding.offsets.begin(), SourceSpan{0, 0});
  encoding.offsets.push_back({code_points, code_points});
}

int64_t count_code_points(const std::string& text) {
  int64_t count = 0;
  for (const char byte : text) count += (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
  return count;
}

void append_ids(const Encoding& encoding, const char* separator, std::string& out) {
  for (size_t i = 0; i < encoding.ids.size(); ++i) {
    if (i > 0) out += separator;
    append_number(encoding.ids[i], out);
  }
}

void append_offsets(const Encoding& encoding, std::string& out) {
  for (size_t i = 0; i < encoding.offsets.size(); ++i) {
    out += i > 0 ? ", [" : "[";
    append_number(encoding.offsets[i].begin, out);
    out += ", ";
    append_number(encoding.offsets[i].end, out);
    out += ']';
  }
}

void encode(const EncodeCommand& options) {
  apply_common_options(options.common);
  refuse_model_options(options.common, "tokenizer encode");
  const Tokenizer tokenizer = Tokenizer::load(options.model);
  const bool json = options.format == "jsonl";
  const bool replace = options.input.reading.invalid_utf8 == "replace";
  for (const std::string& file : options.input.files) {
    DocumentReader reader(file, options.input.documents());
    int64_t replaced_before = 0;
    while (const auto document = reader.next()) {
      throw_if_stopped(&stop_token());
      Encoding encoding = tokenizer.encode(
          document->text, {.special_as_text = options.special_in_text == "literal", .offsets = json});
      if (options.special) {
        add_special(tokenizer, options.model, encoding, json ? count_code_points(document->text) : 0);
      }
      std::string line;
      if (json) {
        line += "{\"id\": " + quoted(document->id) + ", \"ids\": [";
        append_ids(encoding, ", ", line);
        line += "], \"offsets\": [";
        append_offsets(encoding, line);
        line += "]";
        if (replace)
          line += ", \"invalid_utf8_replaced\": " + std::to_string(reader.replaced_bytes() - replaced_before);
        line += "}";
      } else {
        append_ids(encoding, " ", line);
      }
      replaced_before = reader.replaced_bytes();
      write_result(line + "\n");
    }
    notify_reading(reader, file);
  }
}

struct DecodeCommand {
  CommonOptions common;
  std::string model;
  std::string file = "-";
  std::string format = "text";
  bool skip_special = false;
};

[[noreturn]] void bad_ids(const std::string& where, const std::string& what, const std::string& found) {
  throw Error(ErrorKind::kData,
              {.what = what,
               .where = where,
               .expected = "numbers with spaces between, a JSON list, or an object with `ids`",
               .found = found});
}

int32_t checked_id(int64_t id, const Tokenizer& tokenizer, const std::string& where) {
  if (id >= 0 && id < tokenizer.id_limit()) {
    try {
      tokenizer.id_to_token(static_cast<int32_t>(id));
      return static_cast<int32_t>(id);
    } catch (const Error&) {
      // A gap among the ids: the same mistake as an id beyond them.
    }
  }
  throw Error(ErrorKind::kData, {.what = "an id names no token of the tokenizer",
                                 .where = where,
                                 .expected = "0 to " + std::to_string(tokenizer.id_limit() - 1),
                                 .found = std::to_string(id)});
}

struct IdLine {
  std::string id;
  std::vector<int32_t> ids;
};

IdLine parse_json_ids(const Line& line, const Tokenizer& tokenizer, const std::string& file,
                      const std::string& where) {
  const Json parsed = parse_json(line.text, file, ErrorKind::kData, {line.number, line.byte});
  IdLine result{.id = std::to_string(line.number)};
  const bool object = parsed.is_object();
  if (object && parsed.contains("id")) {
    result.id = parsed["id"].is_string() ? parsed["id"].get<std::string>() : dump_json(parsed["id"]);
  }
  if (object && !parsed.contains("ids")) bad_ids(where, "an object without `ids`", "");
  const Json& ids = object ? parsed["ids"] : parsed;
  if (!ids.is_array()) bad_ids(where, "`ids` is not a list", "");
  for (const Json& id : ids) {
    const bool fits = id.is_number_integer() &&
                      (!id.is_number_unsigned() ||
                       id.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
    if (!fits) bad_ids(where, "an id is not an integer", shown(id));
    result.ids.push_back(checked_id(id.get<int64_t>(), tokenizer, where));
  }
  return result;
}

IdLine parse_plain_ids(const Line& line, const Tokenizer& tokenizer, const std::string& where) {
  IdLine result{.id = std::to_string(line.number)};
  constexpr std::string_view kSpace = " \t\r";
  std::string_view rest = line.text;
  while (true) {
    rest.remove_prefix(std::min(rest.find_first_not_of(kSpace), rest.size()));
    if (rest.empty()) return result;
    const std::string_view word = rest.substr(0, rest.find_first_of(kSpace));
    int64_t id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size()) {
      bad_ids(where, "an id is not an integer", shown(std::string(word)));
    }
    result.ids.push_back(checked_id(id, tokenizer, where));
    rest.remove_prefix(word.size());
  }
}

void decode(const DecodeCommand& options) {
  apply_common_options(options.common);
  refuse_model_options(options.common, "tokenizer decode");
  const Tokenizer tokenizer = Tokenizer::load(options.model);
  constexpr int64_t kMaxLine = int64_t{1} << 30;
  LineReader reader(open_stream(options.file, &stop_token()), kMaxLine);
  for (Line line; reader.next(line);) {
    throw_if_stopped(&stop_token());
    const std::string where = options.file + ":" + std::to_string(line.number);
    if (line.too_long) bad_ids(where, "the line is too long", "more than 1 GiB");
    const size_t first = line.text.find_first_not_of(" \t\r");
    const bool json = first != std::string_view::npos && (line.text[first] == '{' || line.text[first] == '[');
    const IdLine row =
        json ? parse_json_ids(line, tokenizer, options.file, where) : parse_plain_ids(line, tokenizer, where);
    const std::string text = tokenizer.decode(row.ids, options.skip_special);
    if (options.format == "jsonl") {
      write_result("{\"id\": " + quoted(row.id) + ", \"text\": " + quoted(text) + "}\n");
    } else {
      write_result(text + "\n");
    }
  }
}

void add_train_command(CLI::App& parent) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = parent.add_subcommand("train", "Learn a vocabulary from texts");
  command->add_option("files", options->input.files, "Text or JSON Lines, also .gz and .zst; - is stdin")
      ->required()
      ->check(not_empty());
  command->add_option("--vocab-size", options->vocab_size, "Number of tokens, the special ones included")
      ->required()
      ->check(whole_number());
  command->add_option("--out", options->out, "Directory to write; must not exist")
      ->required()
      ->check(not_empty());
  add_input_options(*command, options->input);
  command->add_option("--summary-field", options->summary_field, "Field of the summary in JSON Lines");
  add_common_options(*command, options->common);
  allow_double_dash(*command);
  command->footer(
      "Ids 0 to 3 are <s> <pad> </s> <unk>, the last is <mask>.\n"
      "Example: precis tokenizer train --vocab-size 8000 --out my-tokenizer README.md");
  command->callback([options] { train(*options); });
}

void add_encode_command(CLI::App& parent) {
  auto options = std::make_shared<EncodeCommand>();
  CLI::App* command = parent.add_subcommand("encode", "Texts to token ids");
  command->add_option("model", options->model, "Model or tokenizer directory")
      ->required()
      ->check(not_empty());
  command->add_option("files", options->input.files, "Text or JSON Lines, also .gz and .zst; - is stdin")
      ->required()
      ->check(not_empty());
  command->add_option("--format", options->format, "text: the ids; jsonl: id, ids and offsets in code points")
      ->check(CLI::IsMember({"text", "jsonl"}))
      ->capture_default_str();
  command->add_flag("--special", options->special, "Put BOS and EOS around, at offsets [0, 0) and [n, n)");
  command
      ->add_option("--special-in-text", options->special_in_text, "literal: read added tokens as plain text")
      ->check(CLI::IsMember({"parse", "literal"}))
      ->capture_default_str();
  add_input_options(*command, options->input);
  add_common_options(*command, options->common);
  allow_double_dash(*command);
  command->footer(
      "One line a document.\nExample: echo 'Hello world' | precis tokenizer encode my-tokenizer - --format "
      "jsonl");
  command->callback([options] { encode(*options); });
}

void add_decode_command(CLI::App& parent) {
  auto options = std::make_shared<DecodeCommand>();
  CLI::App* command = parent.add_subcommand("decode", "Token ids to texts");
  command->add_option("model", options->model, "Model or tokenizer directory")
      ->required()
      ->check(not_empty());
  command->add_option("file", options->file, "Lines of numbers, or JSON Lines with `ids`; - is stdin")
      ->check(not_empty())
      ->capture_default_str();
  command->add_option("--format", options->format, "text: the texts; jsonl: id and text")
      ->check(CLI::IsMember({"text", "jsonl"}))
      ->capture_default_str();
  command->add_flag("--skip-special", options->skip_special, "Leave special tokens out");
  add_common_options(*command, options->common);
  command->footer("Example: echo '0 44 73 2' | precis tokenizer decode my-tokenizer");
  command->callback([options] { decode(*options); });
}

}  // namespace

void add_tokenizer(CLI::App& app) {
  CLI::App* command = app.add_subcommand("tokenizer", "Train a tokenizer, encode and decode");
  command->require_subcommand(1);
  add_train_command(*command);
  add_encode_command(*command);
  add_decode_command(*command);
  command->footer("Example: precis tokenizer train --vocab-size 8000 --out my-tokenizer README.md");
}

}  // namespace precis::cli
