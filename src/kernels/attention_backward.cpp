// One head at a time, a block of keys against blocks of queries. Scores lie transposed, [keys, queries]: what
// the keys' and values' gradients are products of lies right then, and the queries' gradient, transposed too,
// is a product of the transposed keys with them. Five products a block, none of which needs its operand
// turned.
#include "kernels/attention_backward.h"

#include <ATen/Parallel.h>

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed to inlined functions alone

namespace precis::kernels {

namespace {

constexpr int64_t kKeys = 128;     // of a block
constexpr int64_t kQueries = 256;  // of a block

// What every block of keys needs of one block of queries.
template <typename Value>
struct QueryBlock {
  int64_t first, queries, width;  // width: queries, filled up
  // Right operands: for products over the head width, [E, width], and over queries, [width, E].
  Value *query_EQ, *d_output_EQ, *query_QE, *d_output_QE;
  float *lse, *delta;    // lse of the scores times log2(e); infinite for a query filled in: no probability
  uint32_t *low, *high;  // of the lines' keys, for dropout
  float* d_query_EQ;
};

// All queries of one head.
template <typename Value>
struct Queries {
  int64_t S, E, room;
  Buffer<Value> operands;
  Buffer<float> numbers;
  Buffer<uint32_t> lines;

  Queries(int64_t S, int64_t E)
      : S(S), E(E), room(filled(S)), operands(4 * room * E), numbers(room * (E + 2)), lines(2 * room) {}

  QueryBlock<Value> block(int64_t first) const {
    const int64_t queries = std::min(kQueries, S - first), matrix = room * E;
    Value* values = operands + first * E;
    float* sums = numbers + first * E;
    return {first,
            queries,
            filled(queries),
            values,
            values + matrix,
            values + 2 * matrix,
            values + 3 * matrix,
            numbers + matrix + first,
            numbers + matrix + room + first,
            lines + first,
            lines + room + first,
            sums};
  }
};

template <typename Value>
PRECIS_INLINE void to_operands(const Value* from, int64_t of_position, int64_t queries, int64_t E,
                               Value* rows, Value* of_width, Value* of_queries) {
  copy_rows(from, of_position, queries, E, rows);
  to_right_operand_of_transpose(rows, filled(queries), E, of_width);
  to_right_operand(rows, filled(queries), E, of_queries);
}

template <typename Value>
PRECIS_INLINE void prepare(const BackwardCall<Value>& call, int64_t b, int64_t h, const Dropout& dropout,
                           const QueryBlock<Value>& block) {
  const int64_t E = call.E;
  Buffer<Value> rows(block.width * E);
  to_operands(call.query.at(b, h, block.first), call.query.of_position, block.queries, E,
              static_cast<Value*>(rows), block.query_EQ, block.query_QE);
  to_operands(call.d_output.at(b, h, block.first), call.d_output.of_position, block.queries, E,
              static_cast<Value*>(rows), block.d_output_EQ, block.d_output_QE);
  const int64_t line = (b * call.H + h) * call.S + block.first;
  for (int64_t q = 0; q < block.width; ++q) {
    const bool real = q < block.queries;
    block.lse[q] = real ? call.lse[line + q] * kLog2E : std::numeric_limits<float>::infinity();
    block.delta[q] = real ? call.delta[line + q] : 0.0F;
    const uint64_t key = dropout.threshold > 0 ? dropout.line(block.first + q) : 0;
    block.low[q] = static_cast<uint32_t>(key);
    block.high[q] = static_cast<uint32_t>(key >> 32);
  }
  std::memset(block.d_query_EQ, 0, static_cast<size_t>(block.width * E) * sizeof(float));
}

// Probabilities, dropped but not scaled up, and gradients of scores, of 16 queries and one key.
struct Weights {
  Floats dropped, d_score;
};
template <typename Value>
PRECIS_INLINE Weights weigh(const QueryBlock<Value>& block, int64_t q, const Floats& score,
                            const Floats& d_probability, float scale, int64_t key, bool causal,
                            const Dropout& dropout) {
  Floats probability = exp2_of(score * scale - load(block.lse + q));
  if (causal) {
    const Words later = counted_from(static_cast<uint32_t>(block.first + q)) < static_cast<uint32_t>(key);
    probability = std::bit_cast<Floats>(std::bit_cast<Words>(probability) & ~later);
  }
  if (dropout.threshold == 0) return {probability, probability * (d_probability - load(block.delta + q))};
  Words low, high;
  std::memcpy(&low, block.low + q, sizeof(low));
  std::memcpy(&high, block.high + q, sizeof(high));
  const Words column = Words{} + (dropout.first_column + static_cast<uint32_t>(key));
  const Words kept = ~dropped(low, high, column, dropout.threshold);
  const Floats d_kept = std::bit_cast<Floats>(std::bit_cast<Words>(d_probability * dropout.kept) & kept);
  return {std::bit_cast<Floats>(std::bit_cast<Words>(probability) & kept),
          probability * (d_kept - load(block.delta + q))};
}

// Gradients of the scores of two keys, side by side.
PRECIS_INLINE void store_pair(c10::BFloat16* to, const Floats& low, const Floats& high) {
  const Words pair = bfloat16_bits(low) | bfloat16_bits(high) << 16;
  std::memcpy(to, &pair, sizeof(pair));
}

// The scores of a block, [columns, width], and the gradients of its probabilities, become the dropped
// probabilities and the gradients of the scores; these also as a right operand that sums over keys.
PRECIS_INLINE void weigh_block(const QueryBlock<c10::BFloat16>& block, const float* scores,
                               const float* d_probabilities, int64_t first_key, int64_t keys, float scale,
                               bool causal, const Dropout& dropout, c10::BFloat16* dropped,
                               c10::BFloat16* d_scores, c10::BFloat16* operand) {
  const int64_t width = block.width;
  for (int64_t k = 0; k < filled(keys); k += 2) {
    for (int64_t q = 0; q < width; q += kLanes) {
      Weights two[2] = {};
      for (int64_t i = 0; i < 2; ++i) {
        const int64_t at = (k + i) * width + q;
        if (k + i < keys) {
          two[i] = weigh(block, q, load(scores + at), load(d_probabilities + at), scale, first_key + k + i,
                         causal, dropout);
        }
        store(dropped + at, two[i].dropped);
        store(d_scores + at, two[i].d_score);
      }
      store_pair(operand + k * width + 2 * q, two[0].d_score, two[1].d_score);
    }
  }
}
PRECIS_INLINE void weigh_block(const QueryBlock<float>& block, const float* scores,
                               const float* d_probabilities, int64_t first_key, int64_t keys, float scale,
                               bool causal, const Dropout& dropout, float* dropped, float* d_scores,
                               float* operand) {
  const int64_t width = block.width;
  for (int64_t k = 0; k < filled(keys); ++k) {
    for (int64_t q = 0; q < width; q += kLanes) {
      const int64_t at = k * width + q;
      Weights one = {};
      if (k < keys) {
        one = weigh(block, q, load(scores + at), load(d_probabilities + at), scale, first_key + k, causal,
                    dropout);
      }
      store(dropped + at, one.dropped);
      store(d_scores + at, one.d_score);
      store(operand + at, one.d_score);
    }
  }
}

template <typename Value>
PRECIS_INLINE void write_rows(const Heads<Value>& to, int64_t b, int64_t h, int64_t first, int64_t count,
                              const float* rows, int64_t E, float scale) {
  for (int64_t r = 0; r < count; ++r) {
    Value* row = to.at(b, h, first + r);
    for (int64_t e = 0; e < E; e += kLanes) store(row + e, load(rows + r * E + e) * scale);
  }
}

template <typename Value>
PRECIS_INLINE void add_head(const BackwardCall<Value>& call, int64_t b, int64_t h) {
  const int64_t S = call.S, E = call.E, keys = keys_of(call.settings, b, call.T);
  const bool causal = call.settings.causal, of_keys = call.d_key != nullptr,
             of_query = call.d_query != nullptr;
  const float width_scale = 1.0F / std::sqrt(static_cast<float>(E));
  const Dropout dropout(call.settings, b, h);
  const Queries<Value> all(S, E);
  for (int64_t first = 0; first < S; first += kQueries) prepare(call, b, h, dropout, all.block(first));
  Buffer<Value> key_rows(kKeys * E), key_columns(kKeys * E), value_rows(kKeys * E);
  Buffer<Value> dropped(kKeys * kQueries), d_scores(kKeys * kQueries), operand(kKeys * kQueries);
  Buffer<float> scores(kKeys * kQueries), d_probabilities(kKeys * kQueries);
  Buffer<float> d_key(kKeys * E), d_value(kKeys * E);
  for (int64_t begin = 0; begin < call.T; begin += kKeys) {
    const int64_t written = std::min(kKeys, call.T - begin);
    const int64_t count = std::clamp<int64_t>(keys - begin, 0, kKeys), columns = filled(count);
    copy_rows(call.key.at(b, h, begin), call.key.of_position, count, E, static_cast<Value*>(key_rows));
    copy_rows(call.value.at(b, h, begin), call.value.of_position, count, E, static_cast<Value*>(value_rows));
    if (of_query)
      transpose(static_cast<const Value*>(key_rows), columns, E, static_cast<Value*>(key_columns));
    std::memset(d_key, 0, static_cast<size_t>(kKeys * E) * sizeof(float));
    std::memset(d_value, 0, static_cast<size_t>(kKeys * E) * sizeof(float));
    // A causal query sees the keys up to its own.
    const int64_t first_query = causal ? begin / kQueries * kQueries : 0;
    for (int64_t first = first_query; first < S && count > 0; first += kQueries) {
      const QueryBlock<Value> block = all.block(first);
      const int64_t width = block.width;
      multiply<Value>(columns, width, E, key_rows, E, block.query_EQ, scores, false);
      multiply<Value>(columns, width, E, value_rows, E, block.d_output_EQ, d_probabilities, false);
      weigh_block(block, scores, d_probabilities, begin, count, width_scale * kLog2E, causal, dropout,
                  static_cast<Value*>(dropped), static_cast<Value*>(d_scores), static_cast<Value*>(operand));
      if (of_keys) {
        multiply<Value>(columns, E, width, dropped, width, block.d_output_QE, d_value, true);
        multiply<Value>(columns, E, width, d_scores, width, block.query_QE, d_key, true);
      }
      if (of_query) multiply<Value>(E, width, columns, key_columns, columns, operand, block.d_query_EQ, true);
    }
    if (of_keys) {
      write_rows(*call.d_key, b, h, begin, written, d_key, E, width_scale);
      write_rows(*call.d_value, b, h, begin, written, d_value, E, dropout.kept);
    }
  }
  if (!of_query) return;
  for (int64_t first = 0; first < S; first += kQueries) {
    const QueryBlock<Value> block = all.block(first);
    for (int64_t q = 0; q < block.queries; ++q) {
      float* to = call.d_query->at(b, h, first + q);
      for (int64_t e = 0; e < E; ++e) to[e] += block.d_query_EQ[e * block.width + q] * width_scale;
    }
  }
}

template <typename Value>
PRECIS_AVX512 void add_head_wide(const BackwardCall<Value>& call, int64_t b, int64_t h) {
  add_head(call, b, h);
}

template <typename Value>
void add_all(const BackwardCall<Value>& call) {
  at::parallel_for(0, call.B * call.H, 1, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) add_head_wide(call, head / call.H, head % call.H);
    at::native::cpublas::brgemm_release();
  });
}

}  // namespace

void add_gradients(const BackwardCall<c10::BFloat16>& call) { add_all(call); }
void add_gradients(const BackwardCall<float>& call) { add_all(call); }

}  // namespace precis::kernels
