// Products of small matrices that fit into the caches: the core of the
// attention, Performer and expert kernels. Included only by isa_*.cc.

#ifndef CLINOMETER_KERNELS_CPU_MATMUL_INL_H_
#define CLINOMETER_KERNELS_CPU_MATMUL_INL_H_

#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

// A register tile is kTileRows x kTileColumns, chosen so that it, a row of B
// and an element of A fill the register file (16 registers; 32 with AVX-512).
constexpr int64_t kTileRows = CLINOMETER_LANES == 16 ? 12 : 6;
constexpr int64_t kTileColumns = 2 * kLanes;

// The left operand: element (i, p) is data[i * row + p * column].
struct Strided {
  const float* data;
  int64_t row;
  int64_t column;

  // The rows from i on.
  Strided From(int64_t i) const { return {data + i * row, row, column}; }
};

// The right operand, k x n, in panels of kTileColumns columns: element (p, j)
// is data[j / kTileColumns * panel + p * row + j % kTileColumns]. Whole vectors
// are read: columns past n up to a multiple of kLanes must be readable (`Pack*`
// zero them).
struct Panels {
  const float* data;
  int64_t panel;
  int64_t row;

  // The panels from row p on.
  Panels From(int64_t p) const { return {data + p * row, panel, row}; }
};

// A row-major matrix whose rows are padded to whole vectors, as a right
// operand.
CLINOMETER_INLINE Panels RowMajor(const float* data, int64_t row) {
  return {data, kTileColumns, row};
}

// The number of floats of a packed k x n matrix.
CLINOMETER_INLINE int64_t PackedSize(int64_t k, int64_t n) {
  return RoundUp(n, kTileColumns) * k;
}

// Packs a k x n matrix, element (p, j) at source[p * row + j], into `packed`.
CLINOMETER_INLINE Panels PackRows(const float* source, int64_t row, int64_t k,
                                  int64_t n, float* packed) {
  for (int64_t j0 = 0; j0 < n; j0 += kTileColumns) {
    float* panel = packed + j0 * k;
    const int64_t width = std::min(kTileColumns, n - j0);
    for (int64_t p = 0; p < k; ++p) {
      const float* from = source + p * row + j0;
      float* to = panel + p * kTileColumns;
      if (width == kTileColumns) {
        for (int64_t j = 0; j < kTileColumns; j += kLanes) {
          Store(to + j, Load(from + j));
        }
      } else {
        for (int64_t j = 0; j < width; ++j) to[j] = from[j];
        for (int64_t j = width; j < kTileColumns; ++j) to[j] = 0;
      }
    }
  }
  return {packed, k * kTileColumns, kTileColumns};
}

// Packs a k x n matrix given by its transpose, element (p, j) at source[j * row
// + p].
CLINOMETER_INLINE Panels PackColumns(const float* source, int64_t row,
                                     int64_t k, int64_t n, float* packed) {
  for (int64_t j0 = 0; j0 < n; j0 += kLanes) {
    float* to =
        packed + j0 / kTileColumns * kTileColumns * k + j0 % kTileColumns;
    const int64_t width = std::min(kLanes, n - j0);
    int64_t p = 0;
    for (; width == kLanes && p + kLanes <= k; p += kLanes) {
      Vec square[kLanes];
      for (int64_t j = 0; j < kLanes; ++j) {
        square[j] = Load(source + (j0 + j) * row + p);
      }
      Transpose(square);
      for (int64_t i = 0; i < kLanes; ++i) {
        Store(to + (p + i) * kTileColumns, square[i]);
      }
    }
    for (; p < k; ++p) {
      for (int64_t j = 0; j < width; ++j) {
        to[p * kTileColumns + j] = source[(j0 + j) * row + p];
      }
      for (int64_t j = width; j < kLanes; ++j) to[p * kTileColumns + j] = 0;
    }
  }
  return {packed, k * kTileColumns, kTileColumns};
}

// Computes a register tile: C[R, V vectors] = (C +) A[R, k] B[k, V vectors].
template <int R, int V>
CLINOMETER_INLINE void Tile(int64_t k, const float* a, int64_t a_row,
                            int64_t a_column, const float* b, int64_t b_row,
                            float* c, int64_t c_row, bool accumulate) {
  Vec sum[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) {
      sum[r][v] = accumulate ? Load(c + r * c_row + v * kLanes) : Vec{};
    }
  }
  for (int64_t p = 0; p < k; ++p) {
    Vec right[V];
    for (int v = 0; v < V; ++v) right[v] = Load(b + v * kLanes);
    for (int r = 0; r < R; ++r) {
      const Vec left = Set(a[r * a_row]);
      for (int v = 0; v < V; ++v) {
        sum[r][v] = MultiplyAdd(sum[r][v], left, right[v]);
      }
    }
    a += a_column;
    b += b_row;
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) Store(c + r * c_row + v * kLanes, sum[r][v]);
  }
}

// Processes tiles of R rows, then a tile of the remaining rows.
template <int R, int V>
void Rows(int64_t m, int64_t k, Strided a, const float* b, int64_t b_row,
          float* c, int64_t c_row, bool accumulate) {
  int64_t i = 0;
  for (; i + R <= m; i += R) {
    Tile<R, V>(k, a.data + i * a.row, a.row, a.column, b, b_row, c + i * c_row,
               c_row, accumulate);
  }
  if constexpr (R > 1) {
    if (i < m) {
      Rows<R - 1, V>(m - i, k, {a.data + i * a.row, a.row, a.column}, b, b_row,
                     c + i * c_row, c_row, accumulate);
    }
  }
}

// C[m, n] = A[m, k] B[k, n], added to C if `accumulate`. Rows of C must have
// room for n rounded up to whole vectors, which are written.
CLINOMETER_INLINE void Matmul(int64_t m, int64_t n, int64_t k, Strided a,
                              Panels b, float* c, int64_t c_row,
                              bool accumulate) {
  for (int64_t j = 0; j < n; j += kTileColumns) {
    const float* panel = b.data + j / kTileColumns * b.panel;
    if (n - j > kLanes) {
      Rows<kTileRows, 2>(m, k, a, panel, b.row, c + j, c_row, accumulate);
    } else {
      Rows<kTileRows, 1>(m, k, a, panel, b.row, c + j, c_row, accumulate);
    }
  }
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_MATMUL_INL_H_
