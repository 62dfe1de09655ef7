// Where in a document each sentence of its summary came from: the passages that the decoder attended to most.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "generate/attention_mass.h"
#include "memory/cross_attention.h"
#include "memory/windows.h"
#include "models/bart/bart.h"
#include "precis/summary.h"
#include "text/tokenizer.h"

namespace precis::generate {

// Stretches of tokens that end where a sentence does (after . ! ? or a line's end, before white space), of at
// most `longest` tokens. They cover all ids in order. Not text/sentences.h's: ICU's rules end no sentence
// before a small letter, and transcripts, and what small models write, often have no capitals.
std::vector<TokenRange> sentence_ranges(const Tokenizer& tokenizer, std::span<const int32_t> ids,
                                        int64_t longest);

// `memory` and `windows` are the document's, `text` its encoding with offsets. At most `most` passages a
// sentence. Attention to BOS, EOS and a query's rows is left out: it stands for no place in the text.
std::vector<SentenceSources> find_sources(const models::BartModel& model, const Tokenizer& tokenizer,
                                          const memory::MemoryBatch& memory,
                                          const std::vector<memory::Window>& windows, const Encoding& text,
                                          const TokenSequence& summary, int64_t most = 3);

}  // namespace precis::generate
