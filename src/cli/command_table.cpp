// A walk over the commands of a CLI::App.
#include "cli/command_table.h"

namespace precis::cli {

namespace {

// CLI11 tells the values of IsMember in the type's name alone: "TEXT:{text,json}".
std::vector<std::string> choices_in(const std::string& type) {
  std::vector<std::string> choices;
  const size_t open = type.find('{');
  if (open == std::string::npos) return choices;
  for (size_t begin = open + 1; begin < type.size();) {
    const size_t end = type.find_first_of(",}", begin);
    if (end == std::string::npos) break;
    choices.push_back(type.substr(begin, end - begin));
    if (type[end] == '}') break;
    begin = end + 1;
  }
  return choices;
}

OptionRow option_row(const CLI::Option& option) {
  OptionRow row;
  for (const std::string& name : option.get_lnames()) row.names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) row.names.push_back("-" + name);
  if (option.get_positional()) row.names.push_back(option.get_name(/*positional=*/true));
  row.takes_value = option.get_items_expected_max() > 0;
  const std::string type = option.get_type_name();
  row.choices = choices_in(type);
  if (row.takes_value) row.type = type.substr(0, type.find(':'));
  row.default_value = option.get_default_str();
  row.help = option.get_description();
  row.group = option.get_group();
  row.required = option.get_required();
  return row;
}

void add_rows(const CLI::App& app, const std::string& name, std::vector<CommandRow>& rows) {
  CommandRow row;
  row.name = name;
  row.help = app.get_description();
  row.footer = app.get_footer();
  // The usage line of --help; the base class alone does not give it.
  const auto& formatter = dynamic_cast<const CLI::Formatter&>(*app.get_formatter());
  const std::string usage = formatter.make_usage(&app, name.empty() ? "precis" : "precis " + name);
  const size_t begin = usage.find("precis");
  row.usage = usage.substr(begin, usage.find('\n', begin) - begin);
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    (option->get_positional() ? row.positionals : row.options).push_back(option_row(*option));
  }
  std::vector<const CLI::App*> commands;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    if (command->get_group().empty()) continue;
    commands.push_back(command);
    row.commands.push_back(command->get_name());
  }
  rows.push_back(std::move(row));
  for (const CLI::App* command : commands) {
    add_rows(*command, (name.empty() ? "" : name + " ") + command->get_name(), rows);
  }
}

}  // namespace

std::vector<CommandRow> command_table(const CLI::App& program) {
  std::vector<CommandRow> rows;
  add_rows(program, "", rows);
  return rows;
}

}  // namespace precis::cli
