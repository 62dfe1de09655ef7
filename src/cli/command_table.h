// Every command with its options, as CLI11's own tables have them: what the man page and shell completion are
// made of.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace precis::cli {

struct OptionRow {
  std::vector<std::string> names;    // "--quiet", "-q"; of a positional argument its one name
  bool takes_value = false;          // false: a flag
  std::string type;                  // "INT", "TEXT"; empty for a flag
  std::vector<std::string> choices;  // the only values it takes, where those are listed
  std::string default_value;         // empty: none, or told by `help`
  std::string help;
  std::string group;
  bool required = false;
};

struct CommandRow {
  std::string name;   // "summarize", "tokenizer train"; empty for the program itself
  std::string usage;  // "precis summarize [OPTIONS] [inputs...]"
  std::string help, footer;
  std::vector<OptionRow> positionals, options;
  std::vector<std::string> commands;  // names of its sub-commands
};

// The program first, then its commands in the order of --help; hidden ones are left out.
std::vector<CommandRow> command_table(const CLI::App& program);

}  // namespace precis::cli
