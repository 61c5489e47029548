// The decoder's arithmetic on a CPU: products, norms, rotation, gating, paged attention.
//
// Weights and KV lie in memory as float32 or bfloat16; everything is computed in float32, so a
// CPU without bfloat16 instructions reads half the bytes and loses nothing. One thread: the
// replicas of a machine share its cores. Nothing is allocated, nothing is kept between calls.
//
// Exactness: each result is one fixed sequence of operations, whatever is computed beside it.
// - A product sums over its inputs in order, one accumulator per output, for any number of rows.
// - Attention takes a sequence's keys in tiles of TILE slots counted from its first token. A tile
//   gives a row a maximum, a sum and a weighted mean of values, which depend on nothing else and
//   are merged into the row's state in order of tiles. Which rows visit a tile together decides
//   what is read how often, never a bit: decoding, prefill in any chunks and prefixes read once
//   for many rows (Juravsky et al., 2024: Hydragen) are one loop in three orders.
//
// Portable: GCC's vector types, as wide as the machine that compiles this.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
constexpr int ROWS = 12;  // of a product at once: with two vectors each they fill the registers
#else
constexpr int LANES = 8;
constexpr int ROWS = 6;
#endif
constexpr int PANEL = 2 * LANES;  // outputs whose weights lie together
constexpr int ROWS_IN_CACHE = 48;  // inputs of a product that stay near while all weights go by
constexpr int TILE = 64;  // slots of a tile of attention
constexpr int QUERIES = 3;  // rows of attention at once, over KEYS slots: they fill the registers
constexpr int KEYS = 4;

typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef uint32_t Bits __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef float Four __attribute__((vector_size(16)));

struct bfloat16 {
  uint16_t bits;
};

inline Vec load(const float* from) {
  Vec vec;
  std::memcpy(&vec, from, sizeof vec);
  return vec;
}

// One instruction widens, where compilers see several in the general way to say it.
inline Vec load(const bfloat16* from) {
#if defined(__AVX512F__)
  const Bits bits = (Bits)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from));
#elif defined(__AVX2__)
  const Bits bits = (Bits)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)from));
#else
  uint16_t halves __attribute__((vector_size(2 * LANES)));
  std::memcpy(&halves, from, sizeof halves);
  const Bits bits = __builtin_convertvector(halves, Bits);
#endif
  return (Vec)(bits << 16);
}

inline void store(float* to, Vec vec) { std::memcpy(to, &vec, sizeof vec); }

inline void put(float* to, float value) { *to = value; }

inline void put(bfloat16* to, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const bool is_number = value == value;  // rounding could carry a NaN over into a number
  to->bits = is_number ? (bits + 0x7fff + ((bits >> 16) & 1)) >> 16 : 0x7fc0;
}

inline Vec all(float value) { return value - Vec{}; }

// e to the power of each lane, to 2 units in the last place; 0 below -87.
inline Vec exponential(Vec x) {
  const Vec least = all(-87.0f);
  const Ints is_nothing = x < least;
  x = is_nothing ? least : x;
  x = x > all(88.0f) ? all(88.0f) : x;
  // Adding 1.5 * 2^23 rounds to the nearest whole number, which then is in the low bits.
  const Vec magic = all(12582912.0f);
  const Vec shifted = x * 1.44269504f + magic;
  const Vec whole = shifted - magic;
  const Vec rest = (x - whole * 0.693359375f) - whole * -2.12194440e-4f;
  Vec sum = rest * 1.9875691500e-4f + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * (rest * rest) + rest + 1.0f;
  const Bits exponent = ((Bits)shifted - (Bits)magic + 127) << 23;
  const Vec result = sum * (Vec)exponent;
  return is_nothing ? Vec{} : result;
}

inline Four quarter_sums(Vec vec) {
  Four part[LANES / 4];
  std::memcpy(part, &vec, sizeof vec);
  Four sum = part[0] + part[1];
  if constexpr (LANES == 16) sum += part[LANES / 4 - 2] + part[LANES / 4 - 1];
  return sum;
}

inline float sum(Vec vec) {
  const Four four = quarter_sums(vec);
  return (four[0] + four[2]) + (four[1] + four[3]);
}

// The sums of four vectors, as the lanes of one.
inline Four sums(const Vec* vecs) {
  const Four a = quarter_sums(vecs[0]), b = quarter_sums(vecs[1]);
  const Four c = quarter_sums(vecs[2]), d = quarter_sums(vecs[3]);
  const Four ab =
      __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd =
      __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

// ---- Products -------------------------------------------------------------------------------

// The weights of a panel for one input: two vectors of outputs. As bfloat16 the outputs of the
// first vector are the low halves of words whose high halves are those of the second.
inline void load_panel(const float* from, Vec& first, Vec& second) {
  first = load(from);
  second = load(from + LANES);
}

inline void load_panel(const bfloat16* from, Vec& first, Vec& second) {
  Bits words;
  std::memcpy(&words, from, sizeof words);
  first = (Vec)(words << 16);
  second = (Vec)(words & 0xffff0000u);
}

template <typename Weight>
struct Product {
  const float* x;  // [rows, inputs]
  const Weight* weight;  // [panels, inputs, PANEL]
  const float* bias;  // [panels * PANEL] or null
  float* out;  // [rows, outputs]
  int64_t inputs, outputs;

  // R rows from `row` on, P panels from `panel` on.
  template <int R, int P>
  void tile(int64_t row, int64_t panel) const {
    Vec acc[R][2 * P];
    for (int p = 0; p < P; p++)
      for (int r = 0; r < R; r++)
        for (int half = 0; half < 2; half++)
          acc[r][2 * p + half] =
              bias ? load(bias + (panel + p) * PANEL + half * LANES) : Vec{};
    const float* from = x + row * inputs;
    const Weight* of = weight + panel * inputs * PANEL;
    for (int64_t k = 0; k < inputs; k++) {
      for (int p = 0; p < P; p++) {
        Vec first, second;
        load_panel(of + (p * inputs + k) * PANEL, first, second);
        for (int r = 0; r < R; r++) {
          const Vec value = all(from[r * inputs + k]);
          acc[r][2 * p] += value * first;
          acc[r][2 * p + 1] += value * second;
        }
      }
    }
    for (int r = 0; r < R; r++) {
      float* to = out + (row + r) * outputs;
      for (int p = 0; p < P; p++) {
        const int64_t at = (panel + p) * PANEL;
        const int64_t width = std::min<int64_t>(PANEL, outputs - at);
        std::memcpy(to + at, &acc[r][2 * p], width * sizeof(float));
      }
    }
  }

  // As many rows as the template says or, one by one, fewer.
  template <int R>
  void rows_of_panel(int64_t count, int64_t row, int64_t panel) const {
    if (count == R) return tile<R, 1>(row, panel);
    if constexpr (R > 1) rows_of_panel<R - 1>(count, row, panel);
  }

  template <int R, int P>
  int64_t few_rows(int64_t panels) const {
    int64_t panel = 0;
    for (; panel + P <= panels; panel += P) tile<R, P>(0, panel);
    return panel;
  }

  void compute(int64_t rows) const {
    const int64_t panels = (outputs + PANEL - 1) / PANEL;
    // Too few rows to keep the arithmetic busy with one panel take several at once.
    int64_t panel = rows == 1 ? few_rows<1, 4>(panels)
                    : rows == 2 ? few_rows<2, 3>(panels)
                    : rows == 3 ? few_rows<3, 2>(panels)
                                : 0;
    const int64_t begin = panel;
    for (int64_t first = 0; first < rows; first += ROWS_IN_CACHE) {
      const int64_t stop = std::min<int64_t>(rows, first + ROWS_IN_CACHE);
      const int64_t parts = (stop - first + ROWS - 1) / ROWS;
      for (panel = begin; panel < panels; panel++)
        for (int64_t part = 0; part < parts; part++) {
          const int64_t from = first + (stop - first) * part / parts;
          const int64_t to = first + (stop - first) * (part + 1) / parts;
          rows_of_panel<ROWS>(to - from, from, panel);
        }
    }
  }
};

// ---- Norms, rotation, gating ----------------------------------------------------------------

void norm_row(const float* x, const float* weight, float eps, float* out, int64_t width) {
  const int64_t whole = width / LANES * LANES;
  Vec squares = {};
  for (int64_t i = 0; i < whole; i += LANES) squares += load(x + i) * load(x + i);
  float total = sum(squares);
  for (int64_t i = whole; i < width; i++) total += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(total / static_cast<float>(width) + eps);
  for (int64_t i = 0; i < whole; i += LANES) store(out + i, load(x + i) * scale * load(weight + i));
  for (int64_t i = whole; i < width; i++) out[i] = x[i] * scale * weight[i];
}

// ---- Attention ------------------------------------------------------------------------------

// The state of attention of one row: one query head of one token.
struct Row {
  const float* query;
  float* mean;  // of the values so far, times `total`
  float* best;  // the largest score so far
  float* total;  // the sum of the weights so far, relative to `best`
  int64_t visible;  // slots of this tile that the row may see
};

template <typename Stored>
struct Tile {
  const Stored* keys;
  const Stored* values;
  const int64_t* offsets;  // of the tile's slots
  const int64_t* ahead;  // those of the tile to be visited next, or null
  int64_t head_dim;
  float scale;

  // Measured on decodes of 8 and 32 rows over scattered blocks: twice as fast in bfloat16, and
  // up to a fifth slower in float32, whose tiles are as large as the cache next to the core.
  static constexpr bool FETCHES = sizeof(Stored) < sizeof(float);

  // Ask for what the next tile needs of this head while this one is computed: blocks lie
  // scattered, so no hardware foresees them.
  void fetch(int64_t slot) const {
    for (int64_t d = 0; d < head_dim; d += 64 / static_cast<int64_t>(sizeof(Stored))) {
      __builtin_prefetch(keys + ahead[slot] + d, 0, 2);
      __builtin_prefetch(values + ahead[slot] + d, 0, 2);
    }
  }

  // Scores of R rows for the tile's first slots, as many as the farthest-seeing row needs.
  template <int R>
  int64_t scores(const Row* rows, float (*score)[TILE]) const {
    int64_t slots = 0;
    for (int r = 0; r < R; r++) slots = std::max(slots, rows[r].visible);
    for (int64_t slot = 0; slot < slots; slot += KEYS) {
      Vec acc[R][KEYS] = {};
      const Stored* key[KEYS];
      for (int j = 0; j < KEYS; j++) key[j] = keys + offsets[slot + j];
      if (FETCHES && ahead)
        for (int j = 0; j < KEYS; j++) fetch(slot + j);
      for (int64_t d = 0; d < head_dim; d += LANES) {
        Vec query[R];
        for (int r = 0; r < R; r++) query[r] = load(rows[r].query + d);
        for (int j = 0; j < KEYS; j++) {
          const Vec vec = load(key[j] + d);
          for (int r = 0; r < R; r++) acc[r][j] += query[r] * vec;
        }
      }
      for (int r = 0; r < R; r++) {
        const Four four = sums(acc[r]) * scale;
        std::memcpy(score[r] + slot, &four, sizeof four);
      }
    }
    return slots;
  }

  // Scores to weights, in place; answers their sum, and their largest score in `best`.
  static float weigh(float* score, int64_t visible, float& best) {
    for (int64_t slot = visible; slot < TILE; slot++)
      score[slot] = -std::numeric_limits<float>::infinity();
    Vec most = load(score);
    for (int64_t slot = LANES; slot < TILE; slot += LANES) {
      const Vec vec = load(score + slot);
      most = vec > most ? vec : most;
    }
    best = most[0];
    for (int lane = 1; lane < LANES; lane++) best = std::max(best, most[lane]);
    Vec total = {};
    for (int64_t slot = 0; slot < TILE; slot += LANES) {
      const Vec weight = exponential(load(score + slot) - best);
      store(score + slot, weight);
      total += weight;
    }
    return sum(total);
  }

  // Merge the weighted values of the tile into the rows' means: N vectors from feature `d` on.
  template <int R, int N>
  void merge(const Row* rows, const float (*weight)[TILE], int64_t slots, const float* old_share,
             const float* new_share, int64_t d) const {
    Vec acc[R][N] = {};
    for (int64_t slot = 0; slot < slots; slot++) {
      const Stored* value = values + offsets[slot] + d;
      for (int n = 0; n < N; n++) {
        const Vec vec = load(value + n * LANES);
        for (int r = 0; r < R; r++) acc[r][n] += all(weight[r][slot]) * vec;
      }
    }
    for (int r = 0; r < R; r++)
      for (int n = 0; n < N; n++) {
        float* mean = rows[r].mean + d + n * LANES;
        store(mean, load(mean) * old_share[r] + acc[r][n] * new_share[r]);
      }
  }

  template <int R>
  void visit(const Row* rows) const {
    float score[R][TILE] __attribute__((aligned(64)));
    float old_share[R], new_share[R];
    const int64_t slots = scores<R>(rows, score);
    for (int r = 0; r < R; r++) {
      float best;
      const float total = weigh(score[r], rows[r].visible, best);
      const float most = std::max(best, *rows[r].best);
      old_share[r] = std::exp(*rows[r].best - most);
      new_share[r] = std::exp(best - most);
      *rows[r].total = *rows[r].total * old_share[r] + total * new_share[r];
      *rows[r].best = most;
    }
    int64_t d = 0;
    for (; d + 4 * LANES <= head_dim; d += 4 * LANES)
      merge<R, 4>(rows, score, slots, old_share, new_share, d);
    for (; d < head_dim; d += LANES) merge<R, 1>(rows, score, slots, old_share, new_share, d);
  }
};

template <typename Stored>
struct Attention {
  const float* queries;  // [tokens, heads, head_dim], tokens `query_stride` apart
  int64_t query_stride;
  const Stored* keys;  // [blocks, block_size, kv_heads, head_dim]
  const Stored* values;
  const int32_t* tables;  // [sequences, table_width]
  const int64_t* positions;  // [tokens]
  float* out;  // [tokens, heads, head_dim]
  float* best;  // [tokens, heads]
  float* total;  // [tokens, heads]
  int64_t table_width, block_size, heads, kv_heads, head_dim;
  float scale;

  // Where the slots of a tile of a sequence begin, the first `slots` of them: past these anything
  // readable will do, for nobody sees it.
  void locate(int64_t sequence, int64_t tile, int64_t slots, int64_t* offsets) const {
    const int32_t* table = tables + sequence * table_width;
    const int64_t width = kv_heads * head_dim;
    int64_t block = tile * TILE / block_size, within = tile * TILE % block_size;
    for (int64_t slot = 0; slot < slots; slot++) {
      offsets[slot] = (table[block] * block_size + within) * width;
      if (++within == block_size) block++, within = 0;
    }
    std::fill(offsets + slots, offsets + TILE, offsets[0]);
  }

  // Slots of a tile that some token of a visit may see.
  int64_t seen(const int32_t* visit, int64_t tile) const {
    int64_t farthest = 0;
    for (int64_t t = visit[0]; t < visit[1]; t++) farthest = std::max(farthest, positions[t]);
    return std::min<int64_t>(TILE, farthest + 1 - tile * TILE);
  }

  // The visit's tokens meet one tile, whose slots are at `offsets`.
  void meet(const int32_t* visit, int64_t tile, const int64_t* offsets,
            const int64_t* ahead) const {
    const int64_t first = tile * TILE, group = heads / kv_heads;
    for (int64_t kv = 0; kv < kv_heads; kv++) {
      Tile<Stored> of{keys + kv * head_dim, values + kv * head_dim, offsets, ahead, head_dim,
                      scale};
      Row rows[QUERIES];
      int count = 0;
      for (int64_t t = visit[0]; t < visit[1]; t++) {
        const int64_t visible = std::min<int64_t>(TILE, positions[t] + 1 - first);
        if (visible <= 0) continue;
        for (int64_t head = kv * group; head < (kv + 1) * group; head++) {
          const int64_t at = t * heads + head;
          rows[count++] = Row{queries + t * query_stride + head * head_dim, out + at * head_dim,
                              best + at, total + at, visible};
          if (count == QUERIES) {
            of.template visit<QUERIES>(rows);
            of.ahead = nullptr;  // the first rows have asked for all of it
            count = 0;
          }
        }
      }
      if (count == 2) of.template visit<2>(rows);
      if (count == 1) of.template visit<1>(rows);
    }
  }

  void compute(int64_t tokens, const int32_t* visits, int64_t visits_count) const {
    std::fill(out, out + tokens * heads * head_dim, 0.0f);
    std::fill(best, best + tokens * heads, -std::numeric_limits<float>::infinity());
    std::fill(total, total + tokens * heads, 0.0f);
    int64_t offsets[2][TILE];
    bool is_located = false;
    int turn = 0;
    for (const int32_t* visit = visits; visit < visits + 5 * visits_count; visit += 5)
      for (int64_t tile = visit[3]; tile < visit[4]; tile++) {
        if (!is_located) locate(visit[2], tile, seen(visit, tile), offsets[turn]);
        const bool is_last_tile = tile + 1 == visit[4];
        const int32_t* next = is_last_tile ? visit + 5 : visit;
        is_located = next < visits + 5 * visits_count;
        if (is_located) {
          const int64_t next_tile = is_last_tile ? next[3] : tile + 1;
          locate(next[2], next_tile, seen(next, next_tile), offsets[1 - turn]);
        }
        meet(visit, tile, offsets[turn], is_located ? offsets[1 - turn] : nullptr);
        turn = 1 - turn;
      }
    for (int64_t row = 0; row < tokens * heads; row++)
      for (int64_t d = 0; d < head_dim; d += LANES)
        store(out + row * head_dim + d, load(out + row * head_dim + d) / total[row]);
  }
};

template <typename Stored>
void write_slots(const float* from, int64_t stride, const int64_t* slots, Stored* to,
                 int64_t tokens, int64_t width) {
  for (int64_t t = 0; t < tokens; t++)
    for (int64_t i = 0; i < width; i++) put(to + slots[t] * width + i, from[t * stride + i]);
}

}  // namespace

extern "C" {

int blockyard_lanes() { return LANES; }

int blockyard_tile() { return TILE; }

// out = x @ weight.T + bias, with the weight in panels.
#define BLOCKYARD_PRODUCT(name, Weight)                                                        \
  void name(const float* x, const void* weight, const float* bias, float* out, int64_t rows,   \
            int64_t outputs, int64_t inputs) {                                                 \
    Product<Weight>{x, static_cast<const Weight*>(weight), bias, out, inputs, outputs}.compute( \
        rows);                                                                                 \
  }
BLOCKYARD_PRODUCT(blockyard_product_float32, float)
BLOCKYARD_PRODUCT(blockyard_product_bfloat16, bfloat16)

void blockyard_norm(const float* x, const float* weight, float eps, float* out, int64_t rows,
                    int64_t width) {
  for (int64_t row = 0; row < rows; row++)
    norm_row(x + row * width, weight, eps, out + row * width, width);
}

// out = silu(gate) * up, for rows of gates followed by as many ups.
void blockyard_gate(const float* gate_up, float* out, int64_t rows, int64_t width) {
  const int64_t whole = width / LANES * LANES;
  for (int64_t row = 0; row < rows; row++) {
    const float* gate = gate_up + 2 * row * width;
    const float* up = gate + width;
    float* to = out + row * width;
    for (int64_t i = 0; i < whole; i += LANES) {
      const Vec g = load(gate + i);
      store(to + i, g / (1.0f + exponential(-g)) * load(up + i));
    }
    for (int64_t i = whole; i < width; i++) to[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
  }
}

// Norm (where there is a norm for them) and rotate the first `heads` heads of each token, in
// place; the first `query_heads` take the one norm, those after them the other.
void blockyard_turn(float* x, int64_t stride, const float* cosine, const float* sine,
                    const float* query_norm, const float* key_norm, float eps, int64_t tokens,
                    int64_t query_heads, int64_t heads, int64_t head_dim) {
  const int64_t half = head_dim / 2;
  for (int64_t t = 0; t < tokens; t++) {
    const float* c = cosine + t * half;
    const float* s = sine + t * half;
    for (int64_t head = 0; head < heads; head++) {
      float* at = x + t * stride + head * head_dim;
      const float* weight = head < query_heads ? query_norm : key_norm;
      if (weight) norm_row(at, weight, eps, at, head_dim);
      for (int64_t i = 0; i < half; i++) {
        const float first = at[i], second = at[i + half];
        at[i] = first * c[i] - second * s[i];
        at[i + half] = second * c[i] + first * s[i];
      }
    }
  }
}

// Write the tokens' keys and values to their slots, then attend. A visit is (first token, token
// after the last, table, first tile, tile after the last) and never empty; a token's visits come
// in order of tiles and cover all that it sees. `state` has room for two floats per token and head.
#define BLOCKYARD_ATTEND(name, Stored)                                                          \
  void name(const float* queries, const float* keys, const float* values, int64_t stride,       \
            void* key_pool, void* value_pool, const int64_t* slots, const int64_t* positions,   \
            const int32_t* tables, const int32_t* visits, float* out, float* state,             \
            int64_t tokens, int64_t table_width, int64_t visits_count, int64_t block_size,      \
            int64_t heads, int64_t kv_heads, int64_t head_dim, float scale) {                   \
    Stored* to_keys = static_cast<Stored*>(key_pool);                                           \
    Stored* to_values = static_cast<Stored*>(value_pool);                                       \
    write_slots(keys, stride, slots, to_keys, tokens, kv_heads * head_dim);                     \
    write_slots(values, stride, slots, to_values, tokens, kv_heads * head_dim);                 \
    Attention<Stored>{queries,   stride,      to_keys,    to_values, tables,   positions, out,  \
                      state,     state + tokens * heads,  table_width, block_size, heads,       \
                      kv_heads,  head_dim,    scale}                                            \
        .compute(tokens, visits, visits_count);                                                 \
  }
BLOCKYARD_ATTEND(blockyard_attend_float32, float)
BLOCKYARD_ATTEND(blockyard_attend_bfloat16, bfloat16)

}  // extern "C"
