// Building blocks of Performer attention: sums over positions with a state, and
// gathering of their rows.

#ifndef CLINOMETER_KERNELS_CPU_LINEAR_SCAN_INL_H_
#define CLINOMETER_KERNELS_CPU_LINEAR_SCAN_INL_H_

#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

// Positions per pass over the state, and vectors of a state's row that are
// summed in registers: as many as the register file holds.
constexpr int kScanBlock = CLINOMETER_LANES == 16 ? 4 : 3;
constexpr int kScanVectors = CLINOMETER_LANES == 16 ? 4 : 2;

// Rows of the next chunk, prefetched while this one is computed, because they
// are too far apart for the hardware prefetcher.
struct Ahead {
  void Add(const float* row) { from[streams++] = row; }

  // Prefetches a share of the rows: [begin, end), from column j on.
  void Fetch(int64_t begin, int64_t end, int64_t j, int64_t columns) const {
    for (int64_t i = begin; i < std::min(end, rows); ++i) {
      for (int64_t k = j; k < j + columns; k += 16) {
        for (int n = 0; n < streams; ++n) {
          __builtin_prefetch(from[n] + i * step + k);
        }
      }
    }
  }

  int64_t rows = 0;  // 0 or less: none
  int64_t step = 0;  // floats from row to row
  int streams = 0;
  const float* from[5] = {};
};

// The rows a, b and c of a chunk, and the state [width, row] of a scan.
struct ScanRows {
  const float* a;
  const float* b;
  const float* c;
  float* state;
  float* out;
};

template <int V>
CLINOMETER_INLINE void ScanTile(int64_t width, int64_t row, ScanRows at) {
  Vec sum[kScanBlock][V], add[kScanBlock][V];
  for (int u = 0; u < kScanBlock; ++u) {
    for (int v = 0; v < V; ++v) {
      sum[u][v] = Load(at.out + u * row + v * kLanes);
      add[u][v] = Load(at.c + u * row + v * kLanes);
    }
  }
  for (int64_t d = 0; d < width; ++d) {
    Vec s[V];
    for (int v = 0; v < V; ++v) s[v] = Load(at.state + d * row + v * kLanes);
    for (int u = 0; u < kScanBlock; ++u) {
      const Vec right = Set(at.b[u * row + d]);
      const Vec left = Set(at.a[u * row + d]);
      for (int v = 0; v < V; ++v) {
        s[v] += right * add[u][v];
        sum[u][v] += left * s[v];
      }
    }
    for (int v = 0; v < V; ++v) Store(at.state + d * row + v * kLanes, s[v]);
  }
  for (int u = 0; u < kScanBlock; ++u) {
    for (int v = 0; v < V; ++v) Store(at.out + u * row + v * kLanes, sum[u][v]);
  }
}

// Scans the columns of a chunk from j on, V vectors at a time.
template <int V>
CLINOMETER_INLINE void ScanColumns(int64_t j, int64_t rows, int64_t width,
                                   int64_t row, ScanRows at,
                                   const Ahead& ahead) {
  for (; j + V * kLanes <= row; j += V * kLanes) {
    for (int64_t i = 0; i < rows; i += kScanBlock) {
      ahead.Fetch(i, i + kScanBlock, j, V * kLanes);
      ScanTile<V>(width, row,
                  {at.a + i * row, at.b + i * row, at.c + i * row + j,
                   at.state + j, at.out + i * row + j});
    }
  }
  if constexpr (V > 1) ScanColumns<V / 2>(j, rows, width, row, at, ahead);
}

// Adds to out_i the sum over j <= i, including the state's earlier positions,
// and adds the chunk to the state. b and c must be padded with zeros to a whole
// block of rows.
CLINOMETER_INLINE void Scan(int64_t rows, int64_t width, int64_t row,
                            ScanRows at, const Ahead& ahead) {
  ScanColumns<kScanVectors>(0, rows, width, row, at, ahead);
}

// state += B^T C, where rows have the stride of the state.
CLINOMETER_INLINE void AddOuter(int64_t rows, int64_t width, int64_t row,
                                const float* b, const float* c, float* state,
                                const Ahead& ahead) {
  // Fewer rows than in tiles of other products, but widths are multiples.
  constexpr int kRows = CLINOMETER_LANES == 16 ? 8 : 4;
  for (int64_t j = 0; j < width; j += kTileColumns) {
    ahead.Fetch(0, ahead.rows, j, kTileColumns);
    if (width - j > kLanes) {
      Rows<kRows, 2>(width, rows, {b, 1, row}, c + j, row, state + j, row,
                     true);
    } else {
      Rows<kRows, 1>(width, rows, {b, 1, row}, c + j, row, state + j, row,
                     true);
    }
  }
}

// out (+)= A state, where rows have the stride of the state.
CLINOMETER_INLINE void ReadState(int64_t rows, int64_t width, int64_t row,
                                 const float* a, const float* state, float* out,
                                 bool accumulate, const Ahead& ahead) {
  for (int64_t j = 0; j < width; j += kTileColumns) {
    ahead.Fetch(0, ahead.rows, j, kTileColumns);
    Matmul(rows, std::min(kTileColumns, width - j), width, {a, row, 1},
           RowMajor(state + j, row), out + j, row, accumulate);
  }
}

// Loads the first n floats from p, followed by zeros.
CLINOMETER_INLINE Vec LoadFirst(const float* p, int64_t n) {
  if (n >= kLanes) return Load(p);
  Vec x = Vec{};
  for (int64_t i = 0; i < n; ++i) x[i] = p[i];
  return x;
}

CLINOMETER_INLINE void StoreFirst(float* p, int64_t n, Vec x) {
  if (n >= kLanes) return Store(p, x);
  for (int64_t i = 0; i < n; ++i) p[i] = x[i];
}

// Writes x times a factor, padded with zeros to a whole vector.
CLINOMETER_INLINE void Gather(const float* x, int64_t width, float factor,
                              float* out) {
  for (int64_t d = 0; d < width; d += kLanes) {
    Store(out + d, LoadFirst(x + d, width - d) * factor);
  }
}

CLINOMETER_INLINE void StoreScaled(const float* x, int64_t width, float factor,
                                   float* out) {
  for (int64_t d = 0; d < width; d += kLanes) {
    StoreFirst(out + d, width - d, Load(x + d) * factor);
  }
}

// Writes max(x, 0) + epsilon, times a factor, padded with zeros to a whole
// vector. NaN stays NaN.
CLINOMETER_INLINE void Features(const float* x, int64_t width, float epsilon,
                                float factor, float* out) {
  for (int64_t d = 0; d < width; d += kLanes) {
    const Vec v = LoadFirst(x + d, width - d);
    Store(out + d, ((v < 0 ? Vec{} : v) + epsilon) * factor);
  }
  for (int64_t d = width; d % kLanes != 0; ++d) out[d] = 0;
}

// The gradient of x from that of max(x, 0): 0 where x <= 0.
CLINOMETER_INLINE void StoreGated(const float* x, const float* gradient,
                                  int64_t width, float factor, float* out) {
  for (int64_t d = 0; d < width; d += kLanes) {
    const Vec v = LoadFirst(x + d, width - d);
    StoreFirst(out + d, width - d,
               v <= 0 ? Vec{} : Load(gradient + d) * factor);
  }
}

// sum += x * factor, in whole vectors.
CLINOMETER_INLINE void AddScaled(const float* x, int64_t row, float factor,
                                 float* sum) {
  for (int64_t d = 0; d < row; d += kLanes) {
    Store(sum + d, Load(sum + d) + Load(x + d) * factor);
  }
}

// sum += all rows, in whole vectors. The rows are first summed separately:
// adding equal small rows to a large sum one by one would round them all in the
// same direction.
CLINOMETER_INLINE void AddRows(const float* x, int64_t rows, int64_t row,
                               float* sum) {
  for (int64_t d = 0; d < row; d += kLanes) {
    Vec own = Vec{};
    for (int64_t i = 0; i < rows; ++i) own += Load(x + i * row + d);
    Store(sum + d, Load(sum + d) + own);
  }
}

// out = x * factor, in whole vectors.
CLINOMETER_INLINE void SetScaled(const float* x, int64_t row, float factor,
                                 float* out) {
  for (int64_t d = 0; d < row; d += kLanes)
    Store(out + d, Load(x + d) * factor);
}

// Positions that are summed one by one, a multiple of all chunk sizes. A
// float32 running sum over many more would lose small terms.
constexpr int64_t kPart = 2016;

// A sum over positions, as the sum of the current part and a compensated
// (Kahan) sum of the parts before it.
class RunningSum {
 public:
  RunningSum(int64_t size, Carver* carver)
      : size_(size),
        part_(carver->Take(size)),
        before_(carver->Take(size)),
        lost_(carver->Take(size)) {}

  // The number of floats that it takes from the carver.
  static int64_t Size(int64_t size) { return 3 * Carver::Size(size); }

  void Clear() {
    std::fill_n(part_, size_, 0.0f);
    has_before_ = false;
  }

  // Must be called before each chunk, with the positions summed so far.
  void Advance(int64_t positions) {
    if (positions > 0 && positions % kPart == 0) Close();
  }

  // Sets `part` to the sum of everything.
  void Finish() {
    if (!has_before_) return;
    Close();
    std::swap(part_, before_);
    has_before_ = false;
  }

  float* part() const { return part_; }
  // Null if there is no earlier part.
  const float* before() const { return has_before_ ? before_ : nullptr; }

 private:
  void Close() {
    if (has_before_) {
      for (int64_t i = 0; i < size_; ++i) {
        const float more = part_[i] - lost_[i];
        const float sum = before_[i] + more;
        lost_[i] = (sum - before_[i]) - more;
        before_[i] = sum;
      }
    } else {
      std::copy_n(part_, size_, before_);
      std::fill_n(lost_, size_, 0.0f);
    }
    std::fill_n(part_, size_, 0.0f);
    has_before_ = true;
  }

  const int64_t size_;
  float* part_;
  float* before_;
  float* lost_;  // the rounding error: by how much `before_` is too large
  bool has_before_ = false;
};

// out = a total times a factor, in whole vectors.
CLINOMETER_INLINE void SetScaledTotal(const RunningSum& total, int64_t row,
                                      float factor, float* out) {
  SetScaled(total.part(), row, factor, out);
  if (total.before() != nullptr) {
    AddScaled(total.before(), row, factor, out);
  }
}

// Like `Scan`, with a `RunningSum` as the state.
CLINOMETER_INLINE void ScanState(int64_t rows, int64_t width, int64_t row,
                                 ScanRows at, const RunningSum& state,
                                 const Ahead& ahead) {
  at.state = state.part();
  Scan(rows, width, row, at, ahead);
  if (state.before() == nullptr) return;
  ReadState(rows, width, row, at.a, state.before(), at.out, true, {});
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_LINEAR_SCAN_INL_H_
