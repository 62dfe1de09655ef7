// Scores JSON Lines {"references": [...], "prediction": "...", "stemmer": true} from stdin, one result a
// line:
// {"rouge1": [precision, recall, fmeasure], ...}; {"word": "..."} gives {"stem": "..."}.
#include <iostream>

#include "evaluate/porter_stemmer.h"
#include "evaluate/rouge.h"
#include "io/json.h"

int main() {
  using precis::Json;
  std::string line;
  while (std::getline(std::cin, line)) {
    const Json row = precis::parse_json(line, "stdin", precis::ErrorKind::kData);
    Json result;
    if (row.contains("word")) {
      result["stem"] = precis::evaluate::porter_stem(row["word"].get<std::string>());
    } else {
      const auto references = row["references"].get<std::vector<std::string>>();
      const auto scores =
          precis::evaluate::rouge(references, row["prediction"].get<std::string>(), row["stemmer"]);
      for (size_t i = 0; i < scores.size(); ++i) {
        result[precis::evaluate::kRougeNames[i]] = {scores[i].precision, scores[i].recall,
                                                    scores[i].fmeasure};
      }
    }
    std::cout << result.dump() << "\n";
  }
}
