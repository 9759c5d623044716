// Dynamic convolution in strips of rows of one head. The gradient of the
// weights is computed by small matrix products of rows with rows, which are
// read along diagonals.

#ifndef CLINOMETER_KERNELS_CPU_DYNAMIC_CONV_INL_H_
#define CLINOMETER_KERNELS_CPU_DYNAMIC_CONV_INL_H_

#include "kernels/cpu/convolution-inl.h"
#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

constexpr int64_t kDynamicRows = 48;  // per task
constexpr int kDynamicTile = 4;       // rows that share their inputs
constexpr int64_t kGradRows = 6;      // per product for weight gradients

// The weights of a tile: row r weighs row i of its window by
// data[i * window + r * tile].
struct TileWeights {
  const float* data;
  int64_t window;
  int64_t tile;
};

// Computes R rows and V vectors of channels. Row r of the output sums rows r to
// r + K - 1 of the window, as far as they are in [begin, end), the rows of the
// sequence. Other rows count as zero if they have weights.
template <int R, int V>
CLINOMETER_INLINE void DynamicTile(const float* window, int64_t window_row,
                                   TileWeights weights, int64_t taps,
                                   int64_t begin, int64_t end,
                                   bool weighs_outside, float* output,
                                   int64_t row, int64_t lanes) {
  Vec sum[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) sum[r][v] = Vec{};
  }
  const auto add = [&](int64_t i, int from, int to) {
    Vec x[V];
    for (int v = 0; v < V; ++v)
      x[v] = Load(window + i * window_row + v * kLanes);
    const float* weight = weights.data + i * weights.window;
    for (int r = from; r < to; ++r) {
      const Vec w = Set(weight[r * weights.tile]);
      for (int v = 0; v < V; ++v) sum[r][v] += w * x[v];
    }
  };
  if (begin == 0 && end == taps + R - 1 && taps >= R) {
    for (int i = 0; i < R - 1; ++i) add(i, 0, i + 1);
    for (int64_t i = R - 1; i < taps; ++i) add(i, 0, R);
    for (int i = 0; i < R - 1; ++i) add(taps + i, i + 1, R);
  } else {
    // At the ends of the sequence. Rows without a tap are skipped rather than
    // multiplied by zero, since they may be infinite; so may a zero's weight.
    for (int64_t i = 0; i < taps + R - 1; ++i) {
      const bool is_inside = begin <= i && i < end;
      for (int r = 0; r < R; ++r) {
        if (i < r || i >= r + taps) continue;
        if (is_inside) {
          add(i, r, r + 1);
        } else if (weighs_outside) {
          const float weight =
              weights.data[i * weights.window + r * weights.tile];
          for (int v = 0; v < V; ++v) sum[r][v] += Set(weight) * Vec{};
        }
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) {
      StorePart(output + r * row + v * kLanes, sum[r][v], lanes - v * kLanes);
    }
  }
}

// The arrays of a convolution of some rows from s on, for whole heads or a part
// of one head.
struct DynamicStrip {
  const float*
      data;  // row 0 is position s - pad; only those in the sequence are read
  int64_t data_row;
  int64_t width;
  int64_t head_width;  // at most `width`
  int64_t pad;
  int64_t length;
  int64_t taps;
  TileWeights weights;  // row s, first head
  int64_t weights_row;  // stride between rows of weights
  bool weighs_outside;  // whether positions outside the sequence have weights
  float* output;        // row s
  int64_t output_row;
};

template <int R>
void DynamicTiles(const DynamicStrip& in, int64_t s, int64_t rows) {
  int64_t r = 0;
  for (; r + R <= rows; r += R) {
    const int64_t first = s + r - in.pad;
    const int64_t begin = std::max<int64_t>(-first, 0);
    const int64_t end = std::min(in.taps + R - 1, in.length - first);
    TileWeights weights = in.weights;
    weights.data += r * in.weights_row;
    for (int64_t h = 0; h < in.width;
         h += in.head_width, weights.data += in.taps) {
      const float* window = in.data + r * in.data_row + h;
      float* output = in.output + r * in.output_row + h;
      for (int64_t c = 0; c < in.head_width; c += 2 * kLanes) {
        const int64_t lanes = in.head_width - c;
        if (lanes > kLanes) {
          DynamicTile<R, 2>(window + c, in.data_row, weights, in.taps, begin,
                            end, in.weighs_outside, output + c, in.output_row,
                            lanes);
        } else {
          DynamicTile<R, 1>(window + c, in.data_row, weights, in.taps, begin,
                            end, in.weighs_outside, output + c, in.output_row,
                            lanes);
        }
      }
    }
  }
  if constexpr (R > 1) {
    if (r < rows) {
      DynamicStrip rest = in;
      rest.data += r * in.data_row;
      rest.weights.data += r * in.weights_row;
      rest.output += r * in.output_row;
      DynamicTiles<1>(rest, s + r, rows - r);
    }
  }
}

// Tiles have as many rows as there are taps, at most kDynamicTile. With more
// rows, no row of a window would be read by all of them.
CLINOMETER_INLINE void ConvolveStrip(const DynamicStrip& in, int64_t s,
                                     int64_t rows) {
  if (in.taps >= kDynamicTile) {
    DynamicTiles<kDynamicTile>(in, s, rows);
  } else if (in.taps > 1) {
    DynamicTiles<2>(in, s, rows);
  } else {
    DynamicTiles<1>(in, s, rows);
  }
}

// The channels of the strip that starts at channel c: as many heads as fit, or
// a part of one; only one head if its vectors would reach into the next.
CLINOMETER_INLINE int64_t StripChannels(const ConvolutionInputs& in,
                                        int64_t c) {
  const int64_t head_width = in.channels / in.heads;
  if (head_width >= kStripWidth || head_width % kLanes != 0) {
    return std::min(kStripWidth, head_width - c % head_width);
  }
  return std::min(kStripWidth / head_width * head_width, in.channels - c);
}

// Transposes kLanes x kLanes floats.
CLINOMETER_INLINE void TransposeSquare(const float* from, int64_t from_row,
                                       float* to, int64_t to_row) {
  Vec rows[kLanes];
  for (int i = 0; i < kLanes; ++i) rows[i] = Load(from + i * from_row);
  Transpose(rows);
  for (int i = 0; i < kLanes; ++i) Store(to + i * to_row, rows[i]);
}

// Floats per row of a strip transposed by `TransposeStrip`; products read past
// its end.
CLINOMETER_INLINE int64_t TransposedRow(int64_t rows) {
  return RoundUp(rows, kLanes) + kTileColumns;
}

CLINOMETER_INLINE void TransposeStrip(const float* strip, int64_t rows,
                                      int64_t width, float* transposed) {
  const int64_t row = TransposedRow(rows);
  for (int64_t r = 0; r < rows; r += kLanes) {
    for (int64_t c = 0; c < width; c += kLanes) {
      TransposeSquare(strip + r * kStripWidth + c, kStripWidth,
                      transposed + c * row + r, row);
    }
  }
}

// Adds to the weights' gradients (or sets them, for a head's first channels):
// weights_grad[r, j] = sum over c of output_grad[r, c] * x[r + j, c].
CLINOMETER_INLINE void WeightGradients(const float* output_grad,
                                       const float* transposed, int64_t x_row,
                                       int64_t taps, int64_t rows,
                                       int64_t width, bool accumulate,
                                       float* products, float* weights_grad,
                                       int64_t weights_row) {
  const int64_t products_row = kGradRows + taps + kTileColumns;
  for (int64_t r = 0; r < rows; r += kGradRows) {
    const int64_t count = std::min(kGradRows, rows - r);
    Matmul(count, count + taps - 1, width,
           {output_grad + r * kStripWidth, kStripWidth, 1},
           RowMajor(transposed + r, x_row), products, products_row, false);
    for (int64_t i = 0; i < count; ++i) {
      const float* from = products + i * products_row + i;
      float* to = weights_grad + (r + i) * weights_row;
      if (accumulate) {
        for (int64_t j = 0; j < taps; ++j) to[j] += from[j];
      } else {
        for (int64_t j = 0; j < taps; ++j) to[j] = from[j];
      }
    }
  }
}

CLINOMETER_INLINE void DynamicForwardTask(const ConvolutionForwardArgs& args,
                                          int64_t b, int64_t s) {
  const ConvolutionInputs& in = args.inputs;
  const int64_t rows = std::min(kDynamicRows, in.length - s);
  const int64_t strip_rows = rows + in.taps - 1;
  const int64_t weights_row = in.heads * in.taps;
  const int64_t head_width = in.channels / in.heads;
  const bool direct = in.taps <= kDirectTaps && head_width % kLanes == 0;
  const float* x = in.x + b * in.x_stride;
  float* copy = ThreadScratch(strip_rows * kStripWidth);
  DynamicStrip strip;
  strip.pad = in.pad_left;
  strip.length = in.length;
  strip.taps = in.taps;
  strip.weights_row = weights_row;
  strip.weighs_outside = true;
  strip.output_row = in.channels;
  for (int64_t c = 0; c < in.channels; c += strip.width) {
    if (direct) {
      strip.data = x + (s - in.pad_left) * in.channels;
      strip.data_row = in.channels;
      strip.width = in.channels;
    } else {
      strip.data = copy;
      strip.data_row = kStripWidth;
      strip.width = StripChannels(in, c);
      CopyStrip(x + c, in.channels, in.length, s - in.pad_left, strip_rows,
                strip.width, copy);
    }
    strip.head_width = std::min(head_width, strip.width);
    // Row r weighs row i of its window by weights[r, i - r].
    strip.weights = {in.weights + b * in.weights_stride + s * weights_row +
                         c / head_width * in.taps,
                     1, weights_row - 1};
    strip.output = args.output + (b * in.length + s) * in.channels + c;
    ConvolveStrip(strip, s, rows);
  }
}

CLINOMETER_INLINE void DynamicBackwardTask(const ConvolutionBackwardArgs& args,
                                           int64_t b, int64_t s) {
  const ConvolutionInputs& in = args.inputs;
  const int64_t rows = std::min(kDynamicRows, in.length - s);
  const int64_t pad_right = in.taps - 1 - in.pad_left;
  const int64_t strip_rows = RoundUp(rows + in.taps - 1, kLanes);
  const int64_t x_row = TransposedRow(strip_rows);
  const int64_t weights_row = in.heads * in.taps;
  const int64_t head_width = in.channels / in.heads;
  const int64_t products_size =
      kGradRows * (kGradRows + in.taps + kTileColumns);
  Carver carver(ThreadScratch(2 * Carver::Size(strip_rows * kStripWidth) +
                              Carver::Size(kStripWidth * x_row) +
                              Carver::Size(products_size)));
  float* x_copy = carver.Take(strip_rows * kStripWidth);
  float* grad_copy = carver.Take(strip_rows * kStripWidth);
  float* transposed = carver.Take(kStripWidth * x_row);
  float* products = carver.Take(products_size);
  // Products read past the rows of the strip; those lanes are discarded.
  std::fill_n(transposed, kStripWidth * x_row, 0.0f);
  DynamicStrip strip;  // of the gradient of x
  strip.data = grad_copy;
  strip.data_row = kStripWidth;
  strip.pad = pad_right;
  strip.length = in.length;
  strip.taps = in.taps;
  strip.weights_row = weights_row;
  strip.weighs_outside = false;
  strip.output_row = in.channels;
  for (int64_t c = 0; c < in.channels; c += strip.width) {
    strip.width = StripChannels(in, c);
    strip.head_width = std::min(head_width, strip.width);
    const int64_t h = c / head_width;
    CopyStrip(args.output_grad + b * args.output_grad_stride + c, in.channels,
              in.length, s - pad_right, strip_rows, strip.width, grad_copy);
    // Row r weighs row i of its window, position s + i - pad_right, by the
    // weight that this position has for row r: tap K - 1 - (i - r).
    strip.weights = {in.weights + b * in.weights_stride +
                         (s - pad_right) * weights_row + h * in.taps + in.taps -
                         1,
                     weights_row - 1, 1};
    strip.output = args.x_grad + (b * in.length + s) * in.channels + c;
    ConvolveStrip(strip, s, rows);
    CopyStrip(in.x + b * in.x_stride + c, in.channels, in.length,
              s - in.pad_left, strip_rows, strip.width, x_copy);
    TransposeStrip(x_copy, strip_rows, strip.width, transposed);
    float* weights_grad =
        args.weights_grad + ((b * in.length + s) * in.heads + h) * in.taps;
    for (int64_t i = 0; i < strip.width; i += strip.head_width) {
      WeightGradients(grad_copy + pad_right * kStripWidth + i,
                      transposed + i * x_row, x_row, in.taps, rows,
                      strip.head_width, c % head_width != 0, products,
                      weights_grad, weights_row);
      weights_grad += in.taps;
    }
  }
}

void DynamicConvForward(const ConvolutionForwardArgs& args, const Pool& pool) {
  const ConvolutionInputs& in = args.inputs;
  const int64_t parts = (in.length + kDynamicRows - 1) / kDynamicRows;
  pool.For(in.batch * parts, [&args, parts](int64_t i) {
    DynamicForwardTask(args, i / parts, i % parts * kDynamicRows);
  });
}

void DynamicConvBackward(const ConvolutionBackwardArgs& args,
                         const Pool& pool) {
  const ConvolutionInputs& in = args.inputs;
  const int64_t parts = (in.length + kDynamicRows - 1) / kDynamicRows;
  pool.For(in.batch * parts, [&args, parts](int64_t i) {
    DynamicBackwardTask(args, i / parts, i % parts * kDynamicRows);
  });
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_DYNAMIC_CONV_INL_H_
