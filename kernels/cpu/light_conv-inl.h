// Lightweight convolution by strips of rows and channels. The filters are
// spread over the channels once a strip, so that any number of heads costs the
// same.

#ifndef CLINOMETER_KERNELS_CPU_LIGHT_CONV_INL_H_
#define CLINOMETER_KERNELS_CPU_LIGHT_CONV_INL_H_

#include "kernels/cpu/convolution-inl.h"
#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

constexpr int64_t kLightRows = 192;  // of a strip, without its halo
// Accumulators of a tile: they, a filter and a product fill 16 registers.
constexpr int kLightTile = 12;

// Writes [K, kStripWidth] weights of channels [c, c + width), zero up to whole
// vectors.
CLINOMETER_INLINE void SpreadWeights(const LightConvInputs& in, int64_t b,
                                     int64_t c, int64_t width, bool flip,
                                     float* spread) {
  const int64_t head_width = in.channels / in.heads;
  const float* weights = in.weights + b * in.weights_stride;
  const int64_t padded = RoundUp(width, kLanes);
  for (int64_t i = 0; i < padded; ++i) {
    const float* from = weights + (c + i) / head_width * in.taps;
    for (int64_t j = 0; j < in.taps; ++j) {
      spread[(flip ? in.taps - 1 - j : j) * kStripWidth + i] =
          i < width ? from[j] : 0.0f;
    }
  }
}

// R rows of one vector of channels: every tap reads a row of the strip from the
// first-level cache, about one load for each multiply-add.
template <int R>
CLINOMETER_INLINE void LightTile(const float* strip, const float* spread,
                                 int64_t taps, float* output, int64_t row,
                                 int64_t lanes) {
  Vec sum[R];
  for (int r = 0; r < R; ++r) sum[r] = Vec{};
  for (int64_t j = 0; j < taps; ++j) {
    const Vec weight = Load(spread + j * kStripWidth);
    for (int r = 0; r < R; ++r)
      sum[r] += weight * Load(strip + r * kStripWidth);
    strip = NextRow(strip);
  }
  for (int r = 0; r < R; ++r) StorePart(output + r * row, sum[r], lanes);
}

// Tiles of R rows, then what is left by halves.
template <int R>
void LightRows(const float* strip, const float* spread, int64_t taps,
               int64_t rows, int64_t width, float* output, int64_t row) {
  int64_t r = 0;
  for (; r + R <= rows; r += R) {
    for (int64_t c = 0; c < width; c += kLanes) {
      LightTile<R>(strip + r * kStripWidth + c, spread + c, taps,
                   output + r * row + c, row, width - c);
    }
  }
  if constexpr (R > 1) {
    if (r < rows) {
      LightRows<R / 2>(strip + r * kStripWidth, spread, taps, rows - r, width,
                       output + r * row, row);
    }
  }
}

// Adds to `sums` [T, kStripWidth] the gradients of T taps: of the first tap,
// row r of the output's gradient meets row r of the strip.
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
    strip = NextRow(strip);
  }
  for (int t = 0; t < T; ++t) Store(sums + t * kStripWidth, sum[t]);
}

// Calls TapGradients for `taps` <= T of them.
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

CLINOMETER_INLINE void LightForwardTask(const LightConvForwardArgs& args,
                                        int64_t b, int64_t s, int64_t c) {
  const LightConvInputs& in = args.inputs;
  const int64_t rows = std::min(kLightRows, in.length - s);
  const int64_t width = std::min(kStripWidth, in.channels - c);
  const int64_t strip_rows = rows + in.taps - 1;
  Carver carver(ThreadScratch(Carver::Size(strip_rows * kStripWidth) +
                              Carver::Size(in.taps * kStripWidth)));
  float* strip = carver.Take(strip_rows * kStripWidth);
  float* spread = carver.Take(in.taps * kStripWidth);
  SpreadWeights(in, b, c, width, false, spread);
  CopyStrip(in.x + b * in.x_stride + c, in.channels, in.length, s - in.pad_left,
            strip_rows, width, strip);
  LightRows<kLightTile>(strip, spread, in.taps, rows, width,
                        args.output + (b * in.length + s) * in.channels + c,
                        in.channels);
}

// All rows of the channels [c, c + width) of some heads.
CLINOMETER_INLINE void LightBackwardTask(const LightConvBackwardArgs& args,
                                         int64_t b, int64_t c, int64_t width) {
  const LightConvInputs& in = args.inputs;
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
  // Groups of taps as equal as can be: a small one would wait for its own sums.
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

void LightConvForward(const LightConvForwardArgs& args, const Pool& pool) {
  const LightConvInputs& in = args.inputs;
  const int64_t parts = (in.length + kLightRows - 1) / kLightRows;
  const int64_t strips = (in.channels + kStripWidth - 1) / kStripWidth;
  pool.For(in.batch * parts * strips, [&args, parts, strips](int64_t i) {
    LightForwardTask(args, i / strips / parts, i / strips % parts * kLightRows,
                     i % strips * kStripWidth);
  });
}

void LightConvBackward(const LightConvBackwardArgs& args, const Pool& pool) {
  const LightConvInputs& in = args.inputs;
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
