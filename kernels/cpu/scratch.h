#ifndef CLINOMETER_KERNELS_CPU_SCRATCH_H_
#define CLINOMETER_KERNELS_CPU_SCRATCH_H_

#include <cstdint>

namespace clinometer {

// This thread's working memory: at least `count` floats, aligned to 64 bytes,
// contents undefined. It is kept between tasks; the next call on the thread may
// move it.
float* ThreadScratch(int64_t count);

// Hands out consecutive pieces of one `ThreadScratch`, each aligned to 64
// bytes.
class Carver {
 public:
  explicit Carver(float* memory) : next_(memory) {}

  // Floats that `Take(count)` uses up.
  static int64_t Size(int64_t count) { return (count + 15) / 16 * 16; }

  float* Take(int64_t count) {
    float* piece = next_;
    next_ += Size(count);
    return piece;
  }

 private:
  float* next_;
};

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_SCRATCH_H_
