#ifndef CLINOMETER_KERNELS_CPU_SCRATCH_H_
#define CLINOMETER_KERNELS_CPU_SCRATCH_H_

#include <cstdint>

namespace clinometer {

// Returns this thread's scratch memory, or a second one of it: at least `count`
// floats, aligned to 64 bytes, with undefined contents. It is kept between
// tasks; the next call on the thread for the same one may move it.
float* ThreadScratch(int64_t count, bool second = false);

// Hands out consecutive pieces of one `ThreadScratch`, each aligned to 64
// bytes.
class Carver {
 public:
  explicit Carver(float* memory) : next_(memory) {}

  // The number of floats that `Take(count)` uses.
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
