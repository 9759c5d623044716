// The operands of the attention's products: float32 as they are, or rounded to
// bfloat16, whose products are summed in float32. Included only by isa_*.cc.

#ifndef CLINOMETER_KERNELS_CPU_OPERANDS_INL_H_
#define CLINOMETER_KERNELS_CPU_OPERANDS_INL_H_

#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

#ifdef CLINOMETER_BFLOAT16

// Two bfloat16 numbers, of consecutive k, fill the place of a float, and
// operands of such pairs are packed like floats. Numbers past k are 0. AMX
// multiplies 32 numbers of k at once.
#ifdef CLINOMETER_AMX
constexpr int64_t kStep = 32;
#else
constexpr int64_t kStep = 2;
#endif

// The number of pairs of k numbers.
CLINOMETER_INLINE int64_t Steps(int64_t k) { return RoundUp(k, kStep) / 2; }

// The first lanes, `count` if there are as many. Without branches.
CLINOMETER_INLINE __mmask16 FirstLanes(int64_t count) {
  const int64_t lanes = std::min(std::max<int64_t>(count, 0), kLanes);
  return static_cast<__mmask16>((1 << lanes) - 1);
}

// The first numbers from p on, at most `count`, and then 0.
CLINOMETER_INLINE Vec LoadFirst(const float* p, int64_t count) {
  return _mm512_maskz_loadu_ps(FirstLanes(count), p);
}

// The pairs of neighbours in `first`, and then of those in `second`.
CLINOMETER_INLINE Vec Pairs(Vec first, Vec second) {
  return (Vec)_mm512_cvtne2ps_pbh(second, first);
}

// The pairs of lane i of a and lane i of b.
CLINOMETER_INLINE Vec Zip(Vec a, Vec b) {
  typedef int16_t ShortVec __attribute__((vector_size(4 * CLINOMETER_LANES)));
  ShortVec order;
  for (int i = 0; i < 2 * kLanes; ++i) order[i] = i / 2 + i % 2 * kLanes;
  return (Vec)_mm512_permutexvar_epi16((__m512i)order, (__m512i)Pairs(a, b));
}

// The pairs of lanes of rows p and p + 1 of a matrix of k rows, at most
// `count`.
CLINOMETER_INLINE Vec PairRows(const float* source, int64_t row, int64_t p,
                               int64_t k, int64_t count) {
  return Zip(LoadFirst(source + p * row, p < k ? count : 0),
             LoadFirst(source + (p + 1) * row, p + 1 < k ? count : 0));
}

// The pairs of a row's numbers from p on, of k numbers.
CLINOMETER_INLINE Vec PairColumns(const float* source, int64_t p, int64_t k) {
  return Pairs(LoadFirst(source + p, k - p),
               LoadFirst(source + p + kLanes, k - p - kLanes));
}

// The number of floats of a packed left operand, m x k.
CLINOMETER_INLINE int64_t LeftSize(int64_t m, int64_t k) {
  return RoundUp(m, kLanes) * RoundUp(Steps(k), kLanes);
}

// A left operand m x k, element (i, p) at source[i * row + p].
CLINOMETER_INLINE Strided LeftRows(const float* source, int64_t row, int64_t m,
                                   int64_t k, float* packed) {
  const int64_t to = RoundUp(Steps(k), kLanes);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t p = 0; p < to; p += kLanes) {
      Store(packed + i * to + p, PairColumns(source + i * row, 2 * p, k));
    }
  }
  return {packed, to, 1};
}

// A left operand m x k, element (i, p) at source[p * row + i].
CLINOMETER_INLINE Strided LeftColumns(const float* source, int64_t row,
                                      int64_t m, int64_t k, float* packed) {
  const int64_t to = RoundUp(Steps(k), kLanes);
  for (int64_t i = 0; i < m; i += kLanes) {
    for (int64_t p = 0; p < to; p += kLanes) {
      Vec square[kLanes];
      for (int64_t j = 0; j < kLanes; ++j) {
        square[j] = PairRows(source + i, row, 2 * (p + j), k, m - i);
      }
      Transpose(square);
      for (int64_t j = 0; j < kLanes; ++j) {
        Store(packed + (i + j) * to + p, square[j]);
      }
    }
  }
  return {packed, to, 1};
}

// A right operand k x n, element (p, j) at source[p * row + j].
CLINOMETER_INLINE Panels RightRows(const float* source, int64_t row, int64_t k,
                                   int64_t n, float* packed) {
  const int64_t steps = Steps(k);
  for (int64_t j = 0; j < n; j += kLanes) {
    float* to =
        packed + j / kTileColumns * kTileColumns * steps + j % kTileColumns;
    for (int64_t p = 0; p < steps; ++p) {
      Store(to + p * kTileColumns, PairRows(source + j, row, 2 * p, k, n - j));
    }
  }
  return {packed, steps * kTileColumns, kTileColumns};
}

// A right operand k x n, element (p, j) at source[j * row + p].
CLINOMETER_INLINE Panels RightColumns(const float* source, int64_t row,
                                      int64_t k, int64_t n, float* packed) {
  const int64_t steps = Steps(k);
  for (int64_t j0 = 0; j0 < n; j0 += kLanes) {
    float* to =
        packed + j0 / kTileColumns * kTileColumns * steps + j0 % kTileColumns;
    for (int64_t p = 0; p < steps; p += kLanes) {
      Vec square[kLanes];
      for (int64_t j = 0; j < kLanes; ++j) {
        square[j] =
            j0 + j < n ? PairColumns(source + (j0 + j) * row, 2 * p, k) : Vec{};
      }
      Transpose(square);
      for (int64_t i = 0; i < std::min(kLanes, steps - p); ++i) {
        Store(to + (p + i) * kTileColumns, square[i]);
      }
    }
  }
  return {packed, steps * kTileColumns, kTileColumns};
}

#else

// What a step of a product over k takes from k.
constexpr int64_t kStep = 1;

CLINOMETER_INLINE int64_t Steps(int64_t k) { return k; }

CLINOMETER_INLINE int64_t LeftSize(int64_t, int64_t) { return 0; }

CLINOMETER_INLINE Strided LeftRows(const float* source, int64_t row, int64_t,
                                   int64_t, float*) {
  return {source, row, 1};
}

CLINOMETER_INLINE Strided LeftColumns(const float* source, int64_t row, int64_t,
                                      int64_t, float*) {
  return {source, 1, row};
}

CLINOMETER_INLINE Panels RightRows(const float* source, int64_t row, int64_t k,
                                   int64_t n, float* packed) {
  return PackRows(source, row, k, n, packed);
}

CLINOMETER_INLINE Panels RightColumns(const float* source, int64_t row,
                                      int64_t k, int64_t n, float* packed) {
  return PackColumns(source, row, k, n, packed);
}

#endif  // CLINOMETER_BFLOAT16

#ifdef CLINOMETER_AMX

// Sets up this thread's tile registers, each of 16 x 16 floats or pairs, and
// restores their setup in the end: XLA's libraries may rely on theirs.
class ProductRegisters {
 public:
  ProductRegisters() {
    static constexpr Setup kOurs = {1,
                                    0,
                                    {},
                                    {64, 64, 64, 64, 64, 64, 64, 64},
                                    {16, 16, 16, 16, 16, 16, 16, 16}};
    // Not _tile_storeconfig: GCC takes it to write 8 bytes.
    __asm__ volatile("sttilecfg %0" : "=m"(before_));
    _tile_loadconfig(&kOurs);
  }
  ~ProductRegisters() { __asm__ volatile("ldtilecfg %0" : : "m"(before_)); }
  ProductRegisters(const ProductRegisters&) = delete;
  ProductRegisters& operator=(const ProductRegisters&) = delete;

 private:
  struct Setup {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  };
  static_assert(sizeof(Setup) == 64, "the processor's format");
  Setup before_;
};

// Computes a C of 16 or, if kTall, 32 rows and 16 or, if kWide, 32 columns.
template <bool kTall, bool kWide>
void Tiles(int64_t k, const float* a, int64_t a_row, const float* b,
           int64_t b_row, float* c, int64_t c_row, bool accumulate) {
  const int64_t a_bytes = 4 * a_row, b_bytes = 4 * b_row, c_bytes = 4 * c_row;
  float* low = c + kLanes * c_row;
  if (accumulate) {
    _tile_loadd(0, c, c_bytes);
    if constexpr (kWide) _tile_loadd(1, c + kLanes, c_bytes);
    if constexpr (kTall) _tile_loadd(2, low, c_bytes);
    if constexpr (kTall && kWide) _tile_loadd(3, low + kLanes, c_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t p = 0; p < k; p += kLanes) {
    _tile_loadd(6, b + p * b_row, b_bytes);
    _tile_loadd(4, a + p, a_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kWide) {
      _tile_loadd(7, b + p * b_row + kLanes, b_bytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kTall) {
      _tile_loadd(5, a + kLanes * a_row + p, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (kWide) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, c_bytes);
  if constexpr (kWide) _tile_stored(1, c + kLanes, c_bytes);
  if constexpr (kTall) _tile_stored(2, low, c_bytes);
  if constexpr (kTall && kWide) _tile_stored(3, low + kLanes, c_bytes);
}

// As `Matmul`, of pairs, with k a multiple of kLanes. The rows of A and C, too,
// must have room for m rounded up to kLanes.
CLINOMETER_INLINE void Product(int64_t m, int64_t n, int64_t k, Strided a,
                               Panels b, float* c, int64_t c_row,
                               bool accumulate) {
  // GCC does not know that loading a tile reads memory.
  __asm__ volatile("" ::: "memory");
  for (int64_t j = 0; j < n; j += kTileColumns) {
    const float* panel = b.data + j / kTileColumns * b.panel;
    const bool wide = n - j > kLanes;
    for (int64_t i = 0; i < m; i += 2 * kLanes) {
      const auto tiles = m - i > kLanes
                             ? wide ? &Tiles<true, true> : &Tiles<true, false>
                         : wide ? &Tiles<false, true>
                                : &Tiles<false, false>;
      tiles(k, a.data + i * a.row, a.row, panel, b.row, c + i * c_row + j,
            c_row, accumulate);
    }
  }
}

#else

struct ProductRegisters {
  ProductRegisters() {}  // Not trivial, so that it counts as used.
};

CLINOMETER_INLINE void Product(int64_t m, int64_t n, int64_t k, Strided a,
                               Panels b, float* c, int64_t c_row,
                               bool accumulate) {
  Matmul(m, n, k, a, b, c, c_row, accumulate);
}

#endif  // CLINOMETER_AMX

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_OPERANDS_INL_H_
