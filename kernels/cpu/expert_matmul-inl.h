// Products of many matrices with few rows each. Reading the weights is the
// bottleneck, so a block of weights is packed once and multiplied with the rows
// of every group.

#ifndef CLINOMETER_KERNELS_CPU_EXPERT_MATMUL_INL_H_
#define CLINOMETER_KERNELS_CPU_EXPERT_MATMUL_INL_H_

#include "kernels/cpu/matmul-inl.h"
#include "kernels/cpu/simd-inl.h"

namespace clinometer {
namespace CLINOMETER_ISA {

constexpr int64_t kDepthBlock = 256;   // A panel of it fills half the L1 cache.
constexpr int64_t kColumnBlock = 256;  // per task; a multiple of kTileColumns
constexpr int64_t kInputBlock =
    120;  // rows of the weights; a multiple of kTileRows

// The number of slots of expert e that hold a token, in example b.
CLINOMETER_INLINE int64_t FilledSlots(const ExpertMatmulInputs& in, int64_t b,
                                      int64_t e) {
  const int64_t count = in.counts[b * in.counts_stride + e];
  return std::min(std::max<int64_t>(count, 0), in.capacity);
}

// A block of the output. If its rows have no room for whole vectors, it goes
// through a buffer; otherwise it is written in place.
class OutputBlock {
 public:
  OutputBlock(float* output, int64_t row, int64_t columns, float* padded)
      : output_(output), row_(row), columns_(columns), padded_(padded) {}

  static int64_t Size(int64_t rows, int64_t columns) {
    return Carver::Size(rows * RoundUp(columns, kLanes));
  }

  // Adds A B to the block, or sets the block to it.
  void Product(int64_t rows, int64_t k, Strided a, Panels b, bool accumulate) {
    if (columns_ % kLanes == 0) {
      Matmul(rows, columns_, k, a, b, output_, row_, accumulate);
      return;
    }
    const int64_t padded_row = RoundUp(columns_, kLanes);
    for (int64_t i = 0; accumulate && i < rows; ++i) {
      std::copy_n(output_ + i * row_, columns_, padded_ + i * padded_row);
    }
    Matmul(rows, columns_, k, a, b, padded_, padded_row, accumulate);
    for (int64_t i = 0; i < rows; ++i) {
      std::copy_n(padded_ + i * padded_row, columns_, output_ + i * row_);
    }
  }

  void Zero(int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::fill_n(output_ + i * row_, columns_, 0.0f);
    }
  }

 private:
  float* const output_;
  const int64_t row_;
  const int64_t columns_;
  float* const padded_;
};

// output[b, e] = input[b, e] w[b, e], or times the transpose of w.
struct ExpertProduct {
  const ExpertMatmulInputs& in;
  bool transposed;
  const float* input;  // [B, E, C, k]
  float* output;       // [B, E, C, n]
  int64_t k;
  int64_t n;

  int64_t ColumnBlocks() const { return (n + kColumnBlock - 1) / kColumnBlock; }
  int64_t Tasks() const { return in.experts * ColumnBlocks(); }

  Panels Pack(int64_t b, int64_t e, int64_t p, int64_t depth, int64_t j,
              int64_t columns, float* packed) const {
    const float* w = in.w + b * in.w_stride + e * k * n;
    return transposed ? PackColumns(w + j * k + p, k, depth, columns, packed)
                      : PackRows(w + p * n + j, n, depth, columns, packed);
  }

  // Computes the columns of a block, for one expert's rows in all examples.
  void Run(int64_t task) const {
    const int64_t e = task / ColumnBlocks();
    const int64_t j = task % ColumnBlocks() * kColumnBlock;
    const int64_t columns = std::min(kColumnBlock, n - j);
    Carver carver(ThreadScratch(Carver::Size(PackedSize(kDepthBlock, columns)) +
                                OutputBlock::Size(in.capacity, columns)));
    float* packed = carver.Take(PackedSize(kDepthBlock, columns));
    float* padded = carver.Take(OutputBlock::Size(in.capacity, columns));
    for (int64_t p = 0; p < k; p += kDepthBlock) {
      const int64_t depth = std::min(kDepthBlock, k - p);
      Panels weights{};
      for (int64_t b = 0; b < in.batch; ++b) {
        const int64_t rows = FilledSlots(in, b, e);
        const int64_t first = (b * in.experts + e) * in.capacity;
        OutputBlock block(output + first * n + j, n, columns, padded);
        if (p == 0) block.Zero(rows, in.capacity);
        if (rows == 0) continue;
        if (weights.data == nullptr || in.w_stride != 0) {
          weights = Pack(b, e, p, depth, j, columns, packed);
        }
        block.Product(rows, depth, {input + first * k + p, k, 1}, weights,
                      p > 0);
      }
    }
  }
};

// Computes w_grad[i, e], the sum of x[b, e]^T y_grad[b, e] over the i-th part
// of the batch.
struct ExpertWeightGradient {
  const ExpertMatmulBackwardArgs& args;
  const ExpertMatmulInputs& in;

  int64_t ColumnBlocks() const {
    return (in.output_width + kColumnBlock - 1) / kColumnBlock;
  }
  int64_t Tasks() const { return args.w_groups * in.experts * ColumnBlocks(); }

  // Writes the next filled rows from (b, s) on to `rows`, up to a block of
  // them, and returns their number.
  int64_t NextRows(int64_t e, int64_t end, int64_t* b, int64_t* s,
                   int64_t* rows) const {
    int64_t depth = 0;
    while (*b < end && depth < kDepthBlock) {
      if (*s == FilledSlots(in, *b, e)) {
        ++*b;
        *s = 0;
        continue;
      }
      rows[depth++] = (*b * in.experts + e) * in.capacity + (*s)++;
    }
    return depth;
  }

  // Writes rows of y_grad as a right operand.
  Panels PackGradient(const int64_t* rows, int64_t depth, int64_t j,
                      int64_t columns, float* packed) const {
    for (int64_t p = 0; p < depth; ++p) {
      const float* from = args.y_grad + rows[p] * in.output_width + j;
      for (int64_t c = 0; c < columns; c += kTileColumns) {
        const int64_t width = std::min(kTileColumns, columns - c);
        float* to = packed + c * depth + p * kTileColumns;
        std::copy_n(from + c, width, to);
        std::fill_n(to + width, kTileColumns - width, 0.0f);
      }
    }
    return {packed, depth * kTileColumns, kTileColumns};
  }

  // Writes columns [i, i + count) of rows of x as rows of a left operand.
  void TransposeInputs(const int64_t* rows, int64_t depth, int64_t i,
                       int64_t count, float* to) const {
    const float* x = args.inputs.x + i;
    int64_t p = 0;
    for (; p + kLanes <= depth; p += kLanes) {
      int64_t c = 0;
      for (; c + kLanes <= count; c += kLanes) {
        Vec square[kLanes];
        for (int64_t q = 0; q < kLanes; ++q) {
          square[q] = Load(x + rows[p + q] * in.input_width + c);
        }
        Transpose(square);
        for (int64_t q = 0; q < kLanes; ++q) {
          Store(to + (c + q) * kDepthBlock + p, square[q]);
        }
      }
      for (; c < count; ++c) {
        for (int64_t q = 0; q < kLanes; ++q) {
          to[c * kDepthBlock + p + q] = x[rows[p + q] * in.input_width + c];
        }
      }
    }
    for (; p < depth; ++p) {
      for (int64_t c = 0; c < count; ++c) {
        to[c * kDepthBlock + p] = x[rows[p] * in.input_width + c];
      }
    }
  }

  void Run(int64_t task) const {
    const int64_t blocks = ColumnBlocks();
    const int64_t part = task / blocks / in.experts;
    const int64_t e = task / blocks % in.experts;
    const int64_t j = task % blocks * kColumnBlock;
    const int64_t columns = std::min(kColumnBlock, in.output_width - j);
    const int64_t size = in.batch / args.w_groups, end = (part + 1) * size;
    Carver carver(ThreadScratch(Carver::Size(PackedSize(kDepthBlock, columns)) +
                                Carver::Size(kInputBlock * kDepthBlock) +
                                OutputBlock::Size(kInputBlock, columns) +
                                Carver::Size(2 * kDepthBlock)));
    float* packed = carver.Take(PackedSize(kDepthBlock, columns));
    float* left = carver.Take(kInputBlock * kDepthBlock);
    float* padded = carver.Take(OutputBlock::Size(kInputBlock, columns));
    auto* rows = reinterpret_cast<int64_t*>(carver.Take(2 * kDepthBlock));
    float* output = args.w_grad +
                    (part * in.experts + e) * in.input_width * in.output_width +
                    j;
    bool accumulate = false;
    int64_t b = part * size, s = 0;
    while (const int64_t depth = NextRows(e, end, &b, &s, rows)) {
      const Panels right = PackGradient(rows, depth, j, columns, packed);
      for (int64_t i = 0; i < in.input_width; i += kInputBlock) {
        const int64_t count = std::min(kInputBlock, in.input_width - i);
        TransposeInputs(rows, depth, i, count, left);
        OutputBlock(output + i * in.output_width, in.output_width, columns,
                    padded)
            .Product(count, depth, {left, kDepthBlock, 1}, right, accumulate);
      }
      accumulate = true;
    }
    if (accumulate) return;
    OutputBlock(output, in.output_width, columns, padded)
        .Zero(0, in.input_width);
  }
};

void ExpertMatmulForward(const ExpertMatmulForwardArgs& args,
                         const Pool& pool) {
  const ExpertMatmulInputs& in = args.inputs;
  const ExpertProduct product = {in,     false,          in.x,
                                 args.y, in.input_width, in.output_width};
  pool.For(product.Tasks(), [&product](int64_t task) { product.Run(task); });
}

void ExpertMatmulBackward(const ExpertMatmulBackwardArgs& args,
                          const Pool& pool) {
  const ExpertMatmulInputs& in = args.inputs;
  const ExpertProduct product = {
      in, true, args.y_grad, args.x_grad, in.output_width, in.input_width};
  const ExpertWeightGradient gradient = {args, in};
  pool.For(product.Tasks() + gradient.Tasks(), [&](int64_t task) {
    if (task < product.Tasks()) {
      product.Run(task);
    } else {
      gradient.Run(task - product.Tasks());
    }
  });
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_EXPERT_MATMUL_INL_H_
