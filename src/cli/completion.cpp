// The script of bash completion. Names of commands, options and values hold nothing that a shell would
// expand.
#include "cli/completion.h"

namespace precis::cli {

namespace {

std::string joined(const std::vector<std::string>& words, const std::string& separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

// A case of a shell's `case` over "command option".
std::string pattern(const CommandRow& command, const OptionRow& option) {
  std::string text;
  for (const std::string& name : option.names) {
    text += (text.empty() ? "\"" : " | \"") + command.name + " " + name + "\"";
  }
  return text;
}

// Which words on the way to the cursor name a command: "tokenizer/train" is `train` behind `tokenizer`.
std::string command_cases(const std::vector<CommandRow>& commands) {
  std::string cases;
  for (const CommandRow& command : commands) {
    if (command.commands.empty()) continue;
    std::vector<std::string> patterns;
    for (const std::string& name : command.commands) patterns.push_back(command.name + "/" + name);
    cases += "      " + joined(patterns, " | ") + ") command=\"" +
             (command.name.empty() ? "" : command.name + " ") + "${COMP_WORDS[i]}\" ;;\n";
  }
  return cases;
}

std::string word_cases(const std::vector<CommandRow>& commands) {
  std::string cases;
  for (const CommandRow& command : commands) {
    std::vector<std::string> names;
    for (const OptionRow& option : command.options) names.push_back(joined(option.names, " "));
    cases += "    \"" + command.name + "\") commands=\"" + joined(command.commands, " ") + "\" options=\"" +
             joined(names, " ") + "\" ;;\n";
  }
  return cases;
}

std::string value_cases(const std::vector<CommandRow>& commands) {
  std::string cases;
  for (const CommandRow& command : commands) {
    for (const OptionRow& option : command.options) {
      if (!option.takes_value) continue;
      cases += "    " + pattern(command, option) + ") ";
      if (!option.choices.empty()) {
        cases += "COMPREPLY=($(compgen -W \"" + joined(option.choices, " ") + "\" -- \"$word\")); ";
      }
      cases += "return ;;\n";
    }
  }
  return cases;
}

}  // namespace

std::string bash_completion(const std::vector<CommandRow>& commands) {
  return "# Completion of precis for bash, made by `precis completion bash`.\n"
         "_precis() {\n"
         "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
         "  local command= commands= options= i\n"
         "  COMPREPLY=()\n"
         "  # bash makes a word of the = in --name=value.\n"
         "  if [[ $word == = ]]; then\n"
         "    word=\n"
         "  elif [[ $before == = ]]; then\n"
         "    before=${COMP_WORDS[COMP_CWORD-2]}\n"
         "  fi\n"
         "  for ((i = 1; i < COMP_CWORD; ++i)); do\n"
         "    [[ ${COMP_WORDS[i]} == -- ]] && return\n"
         "    case \"$command/${COMP_WORDS[i]}\" in\n" +
         command_cases(commands) +
         "    esac\n"
         "  done\n"
         "  case \"$command\" in\n" +
         word_cases(commands) +
         "  esac\n"
         "  case \"$command $before\" in\n" +
         value_cases(commands) +
         "  esac\n"
         "  if [[ $word == -* ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
         "  elif [[ -n $commands ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$commands\" -- \"$word\"))\n"
         "  fi\n"
         "}\n"
         "# Where nothing else is left, a file's name.\n"
         "complete -o bashdefault -o default -F _precis precis\n";
}

}  // namespace precis::cli
