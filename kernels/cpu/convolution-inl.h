// Code shared by both convolutions. Included only by isa_*.cc.

#ifndef CLINOMETER_KERNELS_CPU_CONVOLUTION_INL_H_
#define CLINOMETER_KERNELS_CPU_CONVOLUTION_INL_H_

#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

// Channels per strip. A strip is a copy of some columns of some rows, so that
// the inputs of a row of outputs are in the L1 cache. In the original array,
// rows that are 2^n bytes apart would evict each other.
constexpr int64_t kStripWidth =
    64;  // a multiple of kLanes, known to the compiler

// With few taps a convolution is memory-bound, and faster if it reads whole
// rows of the input in order, without strips.
constexpr int64_t kDirectTaps = 8;

// Copies rows [first, first + rows) of columns [0, width) of a matrix of
// `length` rows, `row` floats apart. Rows outside and columns up to a whole
// vector are zero.
CLINOMETER_INLINE void CopyStrip(const float* source, int64_t row,
                                 int64_t length, int64_t first, int64_t rows,
                                 int64_t width, float* strip) {
  const int64_t padded = RoundUp(width, kLanes);
  for (int64_t r = 0; r < rows; ++r) {
    float* to = strip + r * kStripWidth;
    const int64_t s = first + r;
    if (s < 0 || s >= length) {
      std::fill_n(to, padded, 0.0f);
      continue;
    }
    const float* from = source + s * row;
    int64_t c = 0;
    for (; c + kLanes <= width; c += kLanes) Store(to + c, Load(from + c));
    if (c == padded) continue;
    for (; c < width; ++c) to[c] = from[c];
    for (; c < padded; ++c) to[c] = 0;
  }
}

// Advances to the next row. This hides from the compiler that row r + 1 with
// tap j + 1 uses the same input as row r with tap j + 2: it would keep them all
// in registers, and spill.
CLINOMETER_INLINE const float* NextRow(const float* p, int64_t row) {
  p += row;
  __asm__("" : "+r"(p));
  return p;
}

// Stores the first `lanes` lanes, or all of them if there are fewer.
CLINOMETER_INLINE void StorePart(float* p, Vec x, int64_t lanes) {
  if (lanes >= kLanes) {
    Store(p, x);
  } else {
    for (int64_t i = 0; i < lanes; ++i) p[i] = x[i];
  }
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_CONVOLUTION_INL_H_
