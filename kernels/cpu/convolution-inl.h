// What both convolutions along the sequence share. Included by isa_*.cc only.

#ifndef CLINOMETER_KERNELS_CPU_CONVOLUTION_INL_H_
#define CLINOMETER_KERNELS_CPU_CONVOLUTION_INL_H_

#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

// Channels of a strip: some columns of some rows, copied so that what a row of
// outputs reads lies in the first-level cache. As they lie in the input, rows
// 2^n bytes apart would evict each other.
constexpr int64_t kStripWidth =
    64;  // a multiple of kLanes, known to the compiler

// With few taps a convolution waits for memory, and is faster where it reads
// whole rows of the input in their order, without a strip.
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

// Advances to the next row. The compiler must not see that rows r +
// 1 and j + 1 meet where r and j + 2 did: it would carry them all in registers,
// and spill.
CLINOMETER_INLINE const float* NextRow(const float* p, int64_t row) {
  p += row;
  __asm__("" : "+r"(p));
  return p;
}

// Stores the first `lanes` lanes, or all if there are fewer.
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
