// Commands and options in roff.
#include "cli/man_page.h"

#include <map>

#include "base/error.h"
#include "cli/program.h"

namespace precis::cli {

namespace {

// Text as roff prints it: nothing at a line's beginning is a request, and a dash can be searched for and
// copied.
std::string escaped(const std::string& text) {
  std::string result;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) result += "\\&";
    if (c == '\\') {
      result += "\\e";
    } else if (c == '-') {
      result += "\\-";
    } else {
      result += c;
    }
    line_begins = c == '\n';
  }
  return result;
}

std::string as_it_stands(const std::string& text) { return ".PP\n.nf\n" + escaped(text) + "\n.fi\n"; }

std::string option_tag(const OptionRow& option, bool positional) {
  std::string tag;
  for (const std::string& name : option.names) {
    tag += (tag.empty() ? "\\fB" : ", \\fB") + escaped(name) + "\\fR";
  }
  if (!option.takes_value || positional) return tag;
  std::string values = option.type;
  if (!option.choices.empty()) {
    values.clear();
    for (const std::string& choice : option.choices) values += (values.empty() ? "" : "|") + choice;
  }
  return tag + " \\fI" + escaped(values) + "\\fR";
}

std::string option_entry(const OptionRow& option, bool positional) {
  std::string entry = ".TP\n" + option_tag(option, positional) + "\n" + escaped(option.help);
  if (option.required && !positional) entry += " (required)";
  if (!option.default_value.empty()) entry += " (default: " + escaped(option.default_value) + ")";
  return entry + "\n";
}

std::string command_section(const CommandRow& command) {
  std::string text = ".SS " + escaped("precis " + command.name) + "\n" + escaped(command.help) +
                     ".\n.PP\n\\fB" + escaped(command.usage) + "\\fR\n";
  for (const OptionRow& option : command.positionals) text += option_entry(option, true);
  std::string group;
  for (const OptionRow& option : command.options) {
    if (option.group == kCommonGroup) continue;
    if (option.group != group && option.group != "Options") text += ".PP\n" + escaped(option.group) + ":\n";
    group = option.group;
    text += option_entry(option, false);
  }
  if (!command.footer.empty()) text += as_it_stands(command.footer);
  return text;
}

std::string common_options(const std::vector<CommandRow>& commands) {
  for (const CommandRow& command : commands) {
    std::string text;
    for (const OptionRow& option : command.options) {
      if (option.group == kCommonGroup) text += option_entry(option, false);
    }
    if (!text.empty()) return ".SH OPTIONS OF EVERY COMMAND\n" + text;
  }
  return "";
}

std::string exit_status() {
  std::map<int, std::string> meanings = {{0, "fine"}};
  for (const ErrorKind kind : kErrorKinds) {
    std::string& meaning = meanings[exit_code(kind)];
    meaning += (meaning.empty() ? "" : "; ") + std::string(description(kind));
  }
  std::string text = ".SH EXIT STATUS\n";
  for (const auto& [code, meaning] : meanings) {
    text += ".TP\n\\fB" + std::to_string(code) + "\\fR\n" + escaped(meaning) + "\n";
  }
  return text;
}

}  // namespace

std::string man_page(const std::vector<CommandRow>& commands, const std::string& version) {
  const CommandRow& program = commands.front();
  std::string text = ".\\\" Made by `precis man`.\n.TH PRECIS 1 \"\" \"precis " + escaped(version) +
                     "\" \"User Commands\"\n.SH NAME\nprecis \\- train and run language models over "
                     "documents of any length\n"
                     ".SH SYNOPSIS\n\\fB" +
                     escaped(program.usage) + "\\fR\n.SH DESCRIPTION\n" + escaped(program.help) +
                     "\n.PP\nResults go to standard output, everything else to standard error.\n";
  for (const OptionRow& option : program.options) text += option_entry(option, false);
  text += ".SH COMMANDS\n";
  for (size_t i = 1; i < commands.size(); ++i) text += command_section(commands[i]);
  text += common_options(commands) + exit_status();
  text +=
      ".SH ENVIRONMENT\n.TP\n\\fBNO_COLOR\\fR\nWhere it is set and not empty, messages have no colour.\n"
      ".TP\n\\fBOMP_NUM_THREADS\\fR\nThreads to compute with where \\fB\\-\\-threads\\fR is not given.\n";
  return text;
}

}  // namespace precis::cli
