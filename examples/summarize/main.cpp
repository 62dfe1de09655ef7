// Summarizes a file of any length: summarize MODEL FILE [QUERY]
#include <precis/precis.h>

#include <fstream>
#include <iostream>
#include <iterator>

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::cerr << "usage: summarize MODEL FILE [QUERY]\n";
    return 2;
  }
  std::ifstream file(argv[2], std::ios::binary);
  if (!file) {
    std::cerr << argv[2] << ": can't be read\n";
    return 3;
  }
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const precis::LogSink log = [](precis::LogLevel, const std::string& message) {
    std::cerr << message << "\n";
  };

  try {
    const precis::Model model = precis::Model::load(argv[1], {.log = log});

    precis::SummarizeOptions options;
    options.generation = {{"num_beams", 4}, {"no_repeat_ngram_size", 3}, {"max_new_tokens", 30}};
    if (argc == 4) options.query = argv[3];
    options.log = log;
    const precis::Summary summary = model.summarize(text, options);

    std::cout << summary.text() << "\n";
    std::cerr << summary.input_tokens << " tokens read in " << summary.windows << " windows, "
              << summary.output_tokens() << " written\n";
  } catch (const precis::Error& error) {
    std::cerr << precis::name(error.kind()) << ": " << error.what() << "\n";
    return precis::exit_code(error.kind());
  }
}
