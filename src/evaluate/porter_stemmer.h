// The Porter stemmer (Porter 1980) with the extensions that nltk's PorterStemmer applies by default, which is
// what rouge-score stems with.
#pragma once

#include <string>
#include <string_view>

namespace precis::evaluate {

// `word` in lower case. Words of one or two letters come back as they are.
std::string porter_stem(std::string_view word);

}  // namespace precis::evaluate
