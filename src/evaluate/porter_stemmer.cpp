// The eight steps of the Porter stemmer.
#include "evaluate/porter_stemmer.h"

#include <algorithm>
#include <initializer_list>
#include <vector>

namespace precis::evaluate {

namespace {

bool is_vowel_letter(char c) { return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u'; }

// One flag a letter: a 'y' is a consonant at the start and after a vowel.
std::vector<bool> consonants(std::string_view word) {
  std::vector<bool> flags(word.size());
  for (size_t i = 0; i < word.size(); ++i) {
    flags[i] = !is_vowel_letter(word[i]) && (word[i] != 'y' || i == 0 || !flags[i - 1]);
  }
  return flags;
}

// m of [C](VC){m}[V]: how often a vowel is followed by a consonant.
int measure(std::string_view stem) {
  const std::vector<bool> consonant = consonants(stem);
  int count = 0;
  for (size_t i = 1; i < stem.size(); ++i) count += !consonant[i - 1] && consonant[i];
  return count;
}

bool contains_vowel(std::string_view stem) {
  const std::vector<bool> consonant = consonants(stem);
  return std::find(consonant.begin(), consonant.end(), false) != consonant.end();
}

bool ends_with_consonant(std::string_view word) { return !word.empty() && consonants(word).back(); }

bool ends_double_consonant(std::string_view word) {
  return word.size() >= 2 && word[word.size() - 1] == word[word.size() - 2] && ends_with_consonant(word);
}

// *o: ends consonant, vowel, consonant, the last not w, x or y; or is a vowel and a consonant alone.
bool ends_cvc(std::string_view word) {
  const std::vector<bool> consonant = consonants(word);
  const size_t n = word.size();
  if (n == 2) return !consonant[0] && consonant[1];
  return n >= 3 && consonant[n - 3] && !consonant[n - 2] && consonant[n - 1] && word[n - 1] != 'w' &&
         word[n - 1] != 'x' && word[n - 1] != 'y';
}

std::string without(const std::string& word, size_t letters, std::string_view replacement = "") {
  return word.substr(0, word.size() - letters).append(replacement);
}

struct Rule {
  std::string_view suffix;
  std::string_view replacement;
};

// The first rule whose suffix fits decides, whether its condition (a measure above `minimum`) holds or not.
std::string first_rule(const std::string& word, std::initializer_list<Rule> rules, int minimum) {
  for (const Rule& rule : rules) {
    if (!word.ends_with(rule.suffix)) continue;
    const std::string stem = without(word, rule.suffix.size());
    return measure(stem) > minimum ? stem + std::string(rule.replacement) : word;
  }
  return word;
}

std::string irregular(std::string_view word) {
  static constexpr std::pair<std::string_view, std::string_view> kForms[] = {
      {"sky", "sky"},        {"skies", "sky"},       {"dying", "die"},        {"lying", "lie"},
      {"tying", "tie"},      {"news", "news"},       {"innings", "inning"},   {"inning", "inning"},
      {"outings", "outing"}, {"outing", "outing"},   {"cannings", "canning"}, {"canning", "canning"},
      {"howe", "howe"},      {"proceed", "proceed"}, {"exceed", "exceed"},    {"succeed", "succeed"},
  };
  for (const auto& [form, stem] : kForms) {
    if (form == word) return std::string(stem);
  }
  return "";
}

std::string plurals(const std::string& word) {  // step 1a
  if (word.ends_with("ies") && word.size() == 4) return without(word, 1);
  if (word.ends_with("sses")) return without(word, 2);
  if (word.ends_with("ies")) return without(word, 2);
  if (word.ends_with("ss")) return word;
  return word.ends_with("s") ? without(word, 1) : word;
}

std::string past_and_participle(const std::string& word) {  // step 1b
  if (word.ends_with("ied")) return without(word, word.size() == 4 ? 1 : 2);
  if (word.ends_with("eed")) return measure(without(word, 3)) > 0 ? without(word, 1) : word;
  std::string stem;
  if (word.ends_with("ed") && contains_vowel(without(word, 2)))
    stem = without(word, 2);
  else if (word.ends_with("ing") && contains_vowel(without(word, 3)))
    stem = without(word, 3);
  else
    return word;
  if (stem.ends_with("at") || stem.ends_with("bl") || stem.ends_with("iz")) return stem + "e";
  if (ends_double_consonant(stem)) {
    const char last = stem.back();
    return last == 'l' || last == 's' || last == 'z' ? stem : without(stem, 1);
  }
  return measure(stem) == 1 && ends_cvc(stem) ? stem + "e" : stem;
}

std::string final_y(const std::string& word) {  // step 1c
  const std::string stem = word.ends_with("y") ? without(word, 1) : "";
  return stem.size() > 1 && ends_with_consonant(stem) ? stem + "i" : word;
}

std::string double_suffixes(const std::string& word) {  // step 2
  if (word.ends_with("alli") && measure(without(word, 4)) > 0) return double_suffixes(without(word, 2));
  if (word.ends_with("logi")) return measure(without(word, 3)) > 0 ? without(word, 1) : word;
  return first_rule(
      word, {{"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"}, {"anci", "ance"}, {"izer", "ize"},
             {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"}, {"eli", "e"},     {"ousli", "ous"},
             {"ization", "ize"}, {"ation", "ate"},   {"ator", "ate"},  {"alism", "al"},  {"iveness", "ive"},
             {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"},  {"iviti", "ive"}, {"biliti", "ble"},
             {"fulli", "ful"}},
      0);
}

std::string single_suffixes(const std::string& word) {  // step 3
  return first_rule(word,
                    {{"icate", "ic"},
                     {"ative", ""},
                     {"alize", "al"},
                     {"iciti", "ic"},
                     {"ical", "ic"},
                     {"ful", ""},
                     {"ness", ""}},
                    0);
}

std::string last_suffixes(const std::string& word) {  // step 4
  static constexpr std::string_view kSuffixes[] = {"al",  "ance",  "ence", "er",  "ic",  "able", "ible",
                                                   "ant", "ement", "ment", "ent", "ion", "ou",   "ism",
                                                   "ate", "iti",   "ous",  "ive", "ize"};
  for (const std::string_view suffix : kSuffixes) {
    if (!word.ends_with(suffix)) continue;
    const std::string stem = without(word, suffix.size());
    const bool allowed = suffix != "ion" || stem.ends_with("s") || stem.ends_with("t");
    return measure(stem) > 1 && allowed ? stem : word;
  }
  return word;
}

std::string final_e(const std::string& word) {  // step 5a
  if (!word.ends_with("e")) return word;
  const std::string stem = without(word, 1);
  const int m = measure(stem);
  return m > 1 || (m == 1 && !ends_cvc(stem)) ? stem : word;
}

std::string final_double_l(const std::string& word) {  // step 5b
  return word.ends_with("ll") && measure(without(word, 1)) > 1 ? without(word, 1) : word;
}

}  // namespace

std::string porter_stem(std::string_view word) {
  const std::string exception = irregular(word);
  if (!exception.empty()) return exception;
  std::string stem(word);
  if (word.size() <= 2) return stem;
  for (const auto step : {plurals, past_and_participle, final_y, double_suffixes, single_suffixes,
                          last_suffixes, final_e, final_double_l}) {
    stem = step(stem);
  }
  return stem;
}

}  // namespace precis::evaluate
