// precis man and precis completion: what a package installs beside the program. They are no part of --help.
#include <memory>

#include "cli/command_table.h"
#include "cli/completion.h"
#include "cli/man_page.h"
#include "cli/program.h"

namespace precis::cli {

void add_reference(CLI::App& app) {
  CLI::App* man = app.add_subcommand("man", "Print the manual page, in roff");
  man->group("");
  man->footer("Example: precis man | man -l -");
  man->callback([&app] { write_result(man_page(command_table(app), PRECIS_VERSION)); });

  auto shell = std::make_shared<std::string>();
  CLI::App* completion = app.add_subcommand("completion", "Print the completion of a shell");
  completion->group("");
  completion->add_option("shell", *shell, "bash")->required()->check(CLI::IsMember({"bash"}));
  completion->footer("Example: precis completion bash >~/.local/share/bash-completion/completions/precis");
  completion->callback([&app, shell] { write_result(bash_completion(command_table(app))); });
}

}  // namespace precis::cli
