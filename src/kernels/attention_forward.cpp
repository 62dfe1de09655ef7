// Blocks of queries against blocks of keys: scores, an online softmax, the sum of values.
#include "kernels/attention_forward.h"

#include <ATen/Parallel.h>

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed to inlined functions alone

namespace precis::kernels {

namespace {

constexpr int64_t kQueries = 64;  // of a block
constexpr int64_t kKeys = 512;    // scores of 64 x 512 in float32 and their weights stay in the second cache

// Turns the scores of one query into weights 2^(score - maximum), dropped but not scaled up, and folds their
// maximum and total into the query's. Returns what the query's earlier sums are to be multiplied with.
template <typename Value>
PRECIS_INLINE float weigh(float* scores, int64_t columns, float scale, float& maximum, float& total,
                          Value* weights) {
  Floats most = load(scores);
  for (int64_t n = kLanes; n < columns; n += kLanes) {
    const Floats x = load(scores + n);
    most = most > x ? most : x;
  }
  const float highest = std::max(maximum, largest_of(most) * scale);
  if (highest == -std::numeric_limits<float>::infinity()) {  // nothing is attended to yet
    for (int64_t n = 0; n < columns; n += kLanes) store(weights + n, Floats{});
    return 1.0F;
  }
  Floats sum = {};
  for (int64_t n = 0; n < columns; n += kLanes) {
    const Floats weight = exp2_of(load(scores + n) * scale - highest);
    sum += weight;
    store(weights + n, weight);
  }
  const float rescale = std::exp2(maximum - highest);
  total = total * rescale + sum_of(sum);
  maximum = highest;
  return rescale;
}

// Zeros in place of the weights that dropout takes.
PRECIS_INLINE void drop(const Dropout& dropout, uint64_t line, uint32_t first_column, int64_t columns,
                        float* weights) {
  const Words low = Words{} + static_cast<uint32_t>(line), high = Words{} + static_cast<uint32_t>(line >> 32);
  for (int64_t n = 0; n < columns; n += kLanes) {
    const Words gone =
        dropped(low, high, counted_from(first_column + static_cast<uint32_t>(n)), dropout.threshold);
    store(weights + n, std::bit_cast<Floats>(std::bit_cast<Words>(load(weights + n)) & ~gone));
  }
}
PRECIS_INLINE void drop(const Dropout& dropout, uint64_t line, uint32_t first_column, int64_t columns,
                        c10::BFloat16* weights) {
  const Words low = Words{} + static_cast<uint32_t>(line), high = Words{} + static_cast<uint32_t>(line >> 32);
  for (int64_t n = 0; n < columns; n += kLanes) {
    const Words gone =
        dropped(low, high, counted_from(first_column + static_cast<uint32_t>(n)), dropout.threshold);
    Halves halves;
    std::memcpy(&halves, weights + n, sizeof(halves));
    halves &= ~__builtin_convertvector(gone, Halves);
    std::memcpy(weights + n, &halves, sizeof(halves));
  }
}

// The keys and values of one head as right operands, block by block.
template <typename Value>
PRECIS_INLINE void pack(const ForwardCall<Value>& call, int64_t b, int64_t h, int64_t keys,
                        Value* packed_keys, Value* packed_values) {
  const int64_t E = call.E;
  Buffer<Value> rows(kKeys * E);
  for (int64_t begin = 0; begin < keys; begin += kKeys) {
    const int64_t count = std::min(kKeys, keys - begin);
    copy_rows(call.key.at(b, h, begin), call.key.of_position, count, E, static_cast<Value*>(rows));
    to_right_operand_of_transpose(rows, filled(count), E, packed_keys + begin * E);
    copy_rows(call.value.at(b, h, begin), call.value.of_position, count, E, static_cast<Value*>(rows));
    to_right_operand(rows, filled(count), E, packed_values + begin * E);
  }
}

// A block of queries of one head over all its keys.
template <typename Value>
PRECIS_INLINE void attend_block(const ForwardCall<Value>& call, int64_t b, int64_t h, int64_t first_query,
                                int64_t keys, const Value* packed_keys, const Value* packed_values) {
  const int64_t E = call.E, queries = std::min(kQueries, call.S - first_query), rows = filled(queries);
  const float scale = kLog2E / std::sqrt(static_cast<float>(E));
  const Dropout dropout(call.settings, b, h);
  Buffer<Value> query(rows * E), weights(rows * kKeys);
  Buffer<float> scores(rows * kKeys), sums(rows * E);
  float maxima[kQueries], totals[kQueries];
  const int64_t line = (b * call.H + h) * call.S + first_query;
  copy_rows(call.query.at(b, h, first_query), call.query.of_position, queries, E, static_cast<Value*>(query));
  std::fill_n(maxima, kQueries, -std::numeric_limits<float>::infinity());
  std::fill_n(totals, kQueries, 0.0F);
  std::memset(sums, 0, static_cast<size_t>(rows * E) * sizeof(float));
  if (!call.first) {
    std::memcpy(maxima, call.maxima + line, static_cast<size_t>(queries) * sizeof(float));
    std::memcpy(totals, call.totals + line, static_cast<size_t>(queries) * sizeof(float));
    std::memcpy(sums, call.sums + line * E, static_cast<size_t>(queries * E) * sizeof(float));
  }
  const int64_t seen = call.settings.causal ? std::min(keys, first_query + queries) : keys;
  for (int64_t begin = 0; begin < seen; begin += kKeys) {
    const int64_t count = std::min(kKeys, keys - begin), columns = filled(count);
    multiply(rows, columns, E, static_cast<const Value*>(query), E, packed_keys + begin * E, scores, false);
    for (int64_t r = 0; r < queries; ++r) {
      float* row = scores + r * columns;
      Value* weight = weights + r * columns;
      const int64_t last =
          call.settings.causal ? std::clamp<int64_t>(first_query + r + 1 - begin, 0, count) : count;
      std::fill(row + last, row + columns, -std::numeric_limits<float>::infinity());
      const float rescale = weigh(row, columns, scale, maxima[r], totals[r], weight);
      if (dropout.threshold > 0) {
        drop(dropout, dropout.line(first_query + r), dropout.first_column + static_cast<uint32_t>(begin),
             columns, weight);
      }
      if (rescale != 1.0F) {
        for (int64_t e = 0; e < E; ++e) sums[r * E + e] *= rescale;
      }
    }
    multiply(rows, E, columns, static_cast<const Value*>(weights), columns, packed_values + begin * E, sums,
             true);
  }
  if (call.output == nullptr) {
    std::memcpy(call.maxima + line, maxima, static_cast<size_t>(queries) * sizeof(float));
    std::memcpy(call.totals + line, totals, static_cast<size_t>(queries) * sizeof(float));
    std::memcpy(call.sums + line * E, sums, static_cast<size_t>(queries * E) * sizeof(float));
    return;
  }
  for (int64_t r = 0; r < queries; ++r) {
    const float share = totals[r] > 0.0F ? dropout.kept / totals[r] : 0.0F;
    Value* to = call.output->at(b, h, first_query + r);
    for (int64_t e = 0; e < E; e += kLanes) store(to + e, load(sums + r * E + e) * share);
    call.lse[line + r] = maxima[r] / kLog2E + std::log(totals[r]);
  }
}

template <typename Value, typename Pack, typename Block>
void attend_all(const ForwardCall<Value>& call, const Pack& pack_head, const Block& attend_queries) {
  const int64_t heads = call.B * call.H, room = filled(call.T) * call.E;
  const int64_t blocks = (call.S + kQueries - 1) / kQueries;
  const at::Tensor packed = at::empty({2, heads * room}, c10::CppTypeToScalarType<Value>::value);
  Value* packed_keys = static_cast<Value*>(packed.data_ptr());
  Value* packed_values = packed_keys + heads * room;
  const auto of = [&](int64_t head, const auto& visit) {
    const int64_t b = head / call.H, keys = keys_of(call.settings, b, call.T);
    visit(b, head % call.H, keys, packed_keys + head * room, packed_values + head * room);
  };
  at::parallel_for(0, heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      of(head, [&](int64_t b, int64_t h, int64_t keys, Value* key, Value* value) {
        pack_head(call, b, h, keys, key, value);
      });
    }
  });
  at::parallel_for(0, heads * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      of(i / blocks, [&](int64_t b, int64_t h, int64_t keys, const Value* key, const Value* value) {
        attend_queries(call, b, h, i % blocks * kQueries, keys, key, value);
      });
    }
    at::native::cpublas::brgemm_release();
  });
}

template <typename Value>
PRECIS_AVX512 void pack_wide(const ForwardCall<Value>& call, int64_t b, int64_t h, int64_t keys,
                             Value* packed_keys, Value* packed_values) {
  pack(call, b, h, keys, packed_keys, packed_values);
}

template <typename Value>
PRECIS_AVX512 void attend_wide(const ForwardCall<Value>& call, int64_t b, int64_t h, int64_t first_query,
                               int64_t keys, const Value* packed_keys, const Value* packed_values) {
  attend_block(call, b, h, first_query, keys, packed_keys, packed_values);
}

}  // namespace

void attend(const ForwardCall<c10::BFloat16>& call) {
  attend_all(call, pack_wide<c10::BFloat16>, attend_wide<c10::BFloat16>);
}
void attend(const ForwardCall<float>& call) { attend_all(call, pack_wide<float>, attend_wide<float>); }

}  // namespace precis::kernels
