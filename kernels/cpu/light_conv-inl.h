// Lightweight convolution in strips of rows and channels. The filters are
// expanded to channels once per strip, so that the cost does not depend on the
// number of heads.

#ifndef CLINOMETER_KERNELS_CPU_LIGHT_CONV_INL_H_
#define CLINOMETER_KERNELS_CPU_LIGHT_CONV_INL_H_

#include "kernels/cpu/convolution-inl.h"
#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

constexpr int64_t kLightRows = 96;  // per strip, without its halo
// Accumulators per tile: with a filter and a product they fill 16 registers.
constexpr int kLightTile = 12;
constexpr int kDirectTile =
    4;  // rows of a tile of two vectors, without a strip

// Writes the weights [K, kStripWidth] of channels [c, c + width), padded with
// zeros to whole vectors.
CLINOMETER_INLINE void SpreadWeights(const ConvolutionInputs& in, int64_t b,
                                     int64_t c, int64_t width, bool flip,
                                     float* spread) {
  const int64_t head_width = in.channels / in.heads;
  const float* weights = in.weights + b * in.weights_stride;
  for (int64_t i = 0; i < width; i += kLanes) {
    const bool one_head =
        i + kLanes <= width &&
        (c + i) / head_width == (c + i + kLanes - 1) / head_width;
    for (int64_t j = 0; j < in.taps; ++j) {
      const float* tap = weights + j;
      float* to = spread + (flip ? in.taps - 1 - j : j) * kStripWidth + i;
      if (one_head) {
        Store(to, Set(tap[(c + i) / head_width * in.taps]));
        continue;
      }
      for (int64_t l = 0; l < kLanes; ++l) {
        to[l] = i + l < width ? tap[(c + i + l) / head_width * in.taps] : 0.0f;
      }
    }
  }
}

// Computes R rows and V vectors of channels. Every tap reads its row from the
// L1 cache again, about one load per multiply-add.
template <int R, int V>
CLINOMETER_INLINE void LightTile(const float* x, int64_t x_row,
                                 const float* spread, int64_t taps,
                                 float* output, int64_t row, int64_t lanes) {
  Vec sum[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) sum[r][v] = Vec{};
  }
  for (int64_t j = 0; j < taps; ++j) {
    for (int v = 0; v < V; ++v) {
      const Vec weight = Load(spread + j * kStripWidth + v * kLanes);
      for (int r = 0; r < R; ++r) {
        sum[r][v] += weight * Load(x + r * x_row + v * kLanes);
      }
    }
    x = NextRow(x, x_row);
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) {
      StorePart(output + r * row + v * kLanes, sum[r][v], lanes - v * kLanes);
    }
  }
}

// Processes tiles of R rows, then the remainder in halves.
template <int R>
void LightRows(const float* strip, const float* spread, int64_t taps,
               int64_t rows, int64_t width, float* output, int64_t row) {
  int64_t r = 0;
  for (; r + R <= rows; r += R) {
    for (int64_t c = 0; c < width; c += kLanes) {
      LightTile<R, 1>(strip + r * kStripWidth + c, kStripWidth, spread + c,
                      taps, output + r * row + c, row, width - c);
    }
  }
  if constexpr (R > 1) {
    if (r < rows) {
      LightRows<R / 2>(strip + r * kStripWidth, spread, taps, rows - r, width,
                       output + r * row, row);
    }
  }
}

// Adds the gradients of T taps to `sums` [T, kStripWidth]. For the first tap,
// row r of the output's gradient is multiplied with row r of the strip.
template <int T>
CLINOMETER_INLINE void TapGradients(const float* strip,
                                    const float* output_grad, int64_t rows,
                                    float* sums) {
  Vec sum[T];
  for (int t = 0; t < T; ++t) sum[t] = Load(sums + t * kStripWidth);
  for (int64_t r = 0; r < rows; ++r) {
    const Vec gradient = Load(output_grad + r * kStripWidth);
    for (int t = 0; t < T; ++t)
      sum[t] += gradient * Load(strip + t * kStripWidth);
    strip = NextRow(strip, kStripWidth);
  }
  for (int t = 0; t < T; ++t) Store(sums + t * kStripWidth, sum[t]);
}

// Calls TapGradients for `taps` <= T taps.
template <int T>
void SomeTapGradients(int64_t taps, const float* strip,
                      const float* output_grad, int64_t rows, int64_t width,
                      float* sums) {
  if constexpr (T > 1) {
    if (taps < T) {
      return SomeTapGradients<T - 1>(taps, strip, output_grad, rows, width,
                                     sums);
    }
  }
  for (int64_t c = 0; c < width; c += kLanes) {
    TapGradients<T>(strip + c, output_grad + c, rows, sums + c);
  }
}

// Computes output rows [s, s + rows) of an example in strips; for `spread`, see
// LightForwardTask.
CLINOMETER_INLINE void LightByStrips(const ConvolutionInputs& in,
                                     const float* x, const float* spread,
                                     int64_t s, int64_t rows, float* strip,
                                     float* output) {
  if (rows == 0) return;
  for (int64_t c = 0; c < in.channels; c += kStripWidth) {
    const int64_t width = std::min(kStripWidth, in.channels - c);
    CopyStrip(x + c, in.channels, in.length, s - in.pad_left,
              rows + in.taps - 1, width, strip);
    LightRows<kLightTile>(strip, spread + c * in.taps, in.taps, rows, width,
                          output + s * in.channels + c, in.channels);
  }
}

// The same without strips, for rows whose taps are all inside the sequence.
template <int R>
void LightDirectly(const ConvolutionInputs& in, const float* x,
                   const float* spread, int64_t s, int64_t rows,
                   float* output) {
  const int64_t row = in.channels;
  for (; rows >= R; s += R, rows -= R) {
    for (int64_t c = 0; c < row; c += 2 * kLanes) {
      const float* from = x + (s - in.pad_left) * row + c;
      const float* weights =
          spread + (c - c % kStripWidth) * in.taps + c % kStripWidth;
      float* to = output + s * row + c;
      if (row - c > kLanes) {
        LightTile<R, 2>(from, row, weights, in.taps, to, row, 2 * kLanes);
      } else {
        LightTile<R, 1>(from, row, weights, in.taps, to, row, kLanes);
      }
    }
  }
  if constexpr (R > 1) {
    if (rows > 0) LightDirectly<1>(in, x, spread, s, rows, output);
  }
}

CLINOMETER_INLINE void LightForwardTask(const ConvolutionForwardArgs& args,
                                        int64_t b, int64_t s) {
  const ConvolutionInputs& in = args.inputs;
  const int64_t end = std::min(s + kLightRows, in.length);
  const int64_t strip_size = (end - s + in.taps - 1) * kStripWidth;
  const int64_t spread_size = in.taps * RoundUp(in.channels, kStripWidth);
  Carver carver(
      ThreadScratch(Carver::Size(strip_size) + Carver::Size(spread_size)));
  float* strip = carver.Take(strip_size);
  float* spread = carver.Take(spread_size);  // [K, kStripWidth] of each strip
  for (int64_t c = 0; c < in.channels; c += kStripWidth) {
    SpreadWeights(in, b, c, std::min(kStripWidth, in.channels - c), false,
                  spread + c * in.taps);
  }
  const float* x = in.x + b * in.x_stride;
  float* output = args.output + b * in.length * in.channels;
  int64_t direct = end, direct_end = end;
  if (in.taps <= kDirectTaps && in.channels % kLanes == 0) {
    direct = std::min(std::max(in.pad_left, s), end);
    direct_end = std::min(
        std::max(in.length - (in.taps - 1 - in.pad_left), direct), end);
  }
  LightByStrips(in, x, spread, s, direct - s, strip, output);
  LightDirectly<kDirectTile>(in, x, spread, direct, direct_end - direct,
                             output);
  LightByStrips(in, x, spread, direct_end, end - direct_end, strip, output);
}

// Computes all rows of the channels [c, c + width) of some heads.
CLINOMETER_INLINE void LightBackwardTask(const ConvolutionBackwardArgs& args,
                                         int64_t b, int64_t c, int64_t width) {
  const ConvolutionInputs& in = args.inputs;
  const int64_t strip_rows = std::min(kLightRows, in.length) + in.taps - 1;
  const int64_t pad_right = in.taps - 1 - in.pad_left;
  Carver carver(ThreadScratch(2 * Carver::Size(strip_rows * kStripWidth) +
                              2 * Carver::Size(in.taps * kStripWidth)));
  float* strip = carver.Take(strip_rows * kStripWidth);
  float* grad_strip = carver.Take(strip_rows * kStripWidth);
  float* spread = carver.Take(in.taps * kStripWidth);
  float* sums = carver.Take(in.taps * kStripWidth);
  SpreadWeights(in, b, c, width, true, spread);
  std::fill_n(sums, in.taps * kStripWidth, 0.0f);
  // Groups of nearly equal size: a small one would wait for its own sums.
  const int64_t groups = (in.taps + kLightTile - 1) / kLightTile;
  for (int64_t s = 0; s < in.length; s += kLightRows) {
    const int64_t rows = std::min(kLightRows, in.length - s);
    CopyStrip(args.output_grad + b * args.output_grad_stride + c, in.channels,
              in.length, s - pad_right, rows + in.taps - 1, width, grad_strip);
    // The gradient of x is the same convolution, flipped.
    LightRows<kLightTile>(grad_strip, spread, in.taps, rows, width,
                          args.x_grad + (b * in.length + s) * in.channels + c,
                          in.channels);
    CopyStrip(in.x + b * in.x_stride + c, in.channels, in.length,
              s - in.pad_left, rows + in.taps - 1, width, strip);
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t j = g * in.taps / groups;
      SomeTapGradients<kLightTile>((g + 1) * in.taps / groups - j,
                                   strip + j * kStripWidth,
                                   grad_strip + pad_right * kStripWidth, rows,
                                   width, sums + j * kStripWidth);
    }
  }
  const int64_t head_width = in.channels / in.heads;
  for (int64_t i = 0; i < width; ++i) {
    float* gradient =
        args.weights_grad + (b * in.heads + (c + i) / head_width) * in.taps;
    for (int64_t j = 0; j < in.taps; ++j)
      gradient[j] += sums[j * kStripWidth + i];
  }
}

void LightConvForward(const ConvolutionForwardArgs& args, const Pool& pool) {
  const ConvolutionInputs& in = args.inputs;
  const int64_t parts = (in.length + kLightRows - 1) / kLightRows;
  pool.For(in.batch * parts, [&args, parts](int64_t i) {
    LightForwardTask(args, i / parts, i % parts * kLightRows);
  });
}

void LightConvBackward(const ConvolutionBackwardArgs& args, const Pool& pool) {
  const ConvolutionInputs& in = args.inputs;
  // A task owns whole heads, and so the gradients of their filters.
  const int64_t head_width = in.channels / in.heads;
  const int64_t task_heads =
      std::min(std::max<int64_t>(kStripWidth / head_width, 1), in.heads);
  const int64_t parts = (in.heads + task_heads - 1) / task_heads;
  pool.For(in.batch * parts,
           [&args, &in, head_width, task_heads, parts](int64_t i) {
             const int64_t b = i / parts, h = i % parts * task_heads;
             const int64_t heads = std::min(task_heads, in.heads - h);
             std::fill_n(args.weights_grad + (b * in.heads + h) * in.taps,
                         heads * in.taps, 0.0f);
             const int64_t end = (h + heads) * head_width;
             for (int64_t c = h * head_width; c < end; c += kStripWidth) {
               LightBackwardTask(args, b, c, std::min(kStripWidth, end - c));
             }
           });
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_LIGHT_CONV_INL_H_
