// Vectors of the instruction set that this translation unit is compiled for.
// Included only by isa_*.cc, inside the namespace and target that they set.

#ifndef CLINOMETER_KERNELS_CPU_SIMD_INL_H_
#define CLINOMETER_KERNELS_CPU_SIMD_INL_H_

#define CLINOMETER_INLINE static inline __attribute__((always_inline))

namespace clinometer {
namespace CLINOMETER_ISA {

// As wide as a register: a wider one would be lowered through memory.
constexpr int64_t kLanes = CLINOMETER_LANES;
typedef float Vec __attribute__((vector_size(4 * CLINOMETER_LANES)));
typedef float UnalignedVec
    __attribute__((vector_size(4 * CLINOMETER_LANES), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(4 * CLINOMETER_LANES)));
typedef int32_t UnalignedIntVec
    __attribute__((vector_size(4 * CLINOMETER_LANES), aligned(4), may_alias));

CLINOMETER_INLINE Vec Load(const float* p) {
  return *reinterpret_cast<const UnalignedVec*>(p);
}

CLINOMETER_INLINE IntVec LoadInt(const int32_t* p) {
  return *reinterpret_cast<const UnalignedIntVec*>(p);
}

CLINOMETER_INLINE void Store(float* p, Vec x) {
  *reinterpret_cast<UnalignedVec*>(p) = x;
}

// Subtracts 0, which changes no value and is optimized away; adding 0 would
// turn -0 into 0.
CLINOMETER_INLINE Vec Set(float x) { return x - Vec{}; }

CLINOMETER_INLINE IntVec SetInt(int32_t x) { return IntVec{} + x; }

// 0, 1, 2, ...
CLINOMETER_INLINE IntVec Iota() {
  IntVec lanes;
  for (int i = 0; i < kLanes; ++i) lanes[i] = i;
  return lanes;
}

// Returns sum + a * b or, of pairs of bfloat16 numbers (operands-inl.h), sum +
// both products.
CLINOMETER_INLINE Vec MultiplyAdd(Vec sum, Vec a, Vec b) {
#ifdef CLINOMETER_BFLOAT16
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
#else
  return sum + a * b;
#endif
}

CLINOMETER_INLINE Vec Max(Vec a, Vec b) { return a > b ? a : b; }

CLINOMETER_INLINE float Sum(Vec x) {
  float sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += x[i];
  return sum;
}

CLINOMETER_INLINE float Dot(const float* a, const float* b, int64_t width) {
  Vec even = Vec{}, odd = Vec{};  // Two sums hide the latency of one.
  int64_t j = 0;
  for (; j + 2 * kLanes <= width; j += 2 * kLanes) {
    even += Load(a + j) * Load(b + j);
    odd += Load(a + j + kLanes) * Load(b + j + kLanes);
  }
  float sum = Sum(even + odd);
  for (; j < width; ++j) sum += a[j] * b[j];
  return sum;
}

CLINOMETER_INLINE float MaxLane(Vec x) {
  float most = x[0];
  for (int i = 1; i < kLanes; ++i) most = most > x[i] ? most : x[i];
  return most;
}

// e^x for x <= 0 (and up to about 80), to 2 ulp; exactly 0 below -87, where the
// result would leave the normal range. Cody-Waite reduction, polynomial of
// degree 6.
CLINOMETER_INLINE Vec Exp(Vec x) {
  const Vec low = Set(-87.0f);
  const Vec y = x < low ? low : x;  // Not `Max`: NaN must stay.
  const Vec scaled = y * 1.44269504f;
  const IntVec exponent = __builtin_convertvector(
      scaled + (scaled < 0 ? Set(-0.5f) : Set(0.5f)), IntVec);
  const Vec n = __builtin_convertvector(exponent, Vec);
  Vec r = y - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Vec p = Set(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const IntVec bits = (exponent + 127) << 23;
  Vec power;
  __builtin_memcpy(&power, &bits, sizeof(power));
  return x < low ? Vec{} : p * power;
}

// The lanes of a and then of b that kLane names. Clang has no
// `__builtin_shuffle`, and GCC before 12 has no `__builtin_shufflevector`.
template <int... kLane>
CLINOMETER_INLINE Vec Shuffle(Vec a, Vec b) {
#ifdef __clang__
  return __builtin_shufflevector(a, b, kLane...);
#else
  return __builtin_shuffle(a, b, IntVec{kLane...});
#endif
}

// Swaps bit kBit of the row number with the same bit of the lane number, for
// rows i and i + kBit of a square: `Low` is the new row i and `High` the new
// row i + kBit.
template <int kBit, int... kLane>
CLINOMETER_INLINE Vec Low(Vec a, Vec b, std::integer_sequence<int, kLane...>) {
  return Shuffle<(kLane & kBit ? CLINOMETER_LANES + kLane - kBit : kLane)...>(
      a, b);
}

template <int kBit, int... kLane>
CLINOMETER_INLINE Vec High(Vec a, Vec b, std::integer_sequence<int, kLane...>) {
  return Shuffle<(kLane & kBit ? CLINOMETER_LANES + kLane : kLane + kBit)...>(
      a, b);
}

// Transposes a square of kLanes vectors in registers.
template <int kBit = 1>
CLINOMETER_INLINE void Transpose(Vec* rows) {
  if constexpr (kBit < kLanes) {
    constexpr std::make_integer_sequence<int, CLINOMETER_LANES> lanes;
    for (int i = 0; i < kLanes; ++i) {
      if (i & kBit) continue;
      const Vec a = rows[i], b = rows[i + kBit];
      rows[i] = Low<kBit>(a, b, lanes);
      rows[i + kBit] = High<kBit>(a, b, lanes);
    }
    Transpose<2 * kBit>(rows);
  }
}

// Returns a rounded up to a multiple of b.
CLINOMETER_INLINE int64_t RoundUp(int64_t a, int64_t b) {
  return (a + b - 1) / b * b;
}

}  // namespace CLINOMETER_ISA
}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_SIMD_INL_H_
