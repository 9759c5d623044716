#include "kernels/cpu/scratch.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace clinometer {

float* ThreadScratch(int64_t count, bool second) {
  constexpr int64_t kAlignment = 16;  // floats
  static thread_local std::vector<float> memories[2];
  std::vector<float>& memory = memories[second ? 1 : 0];
  const size_t needed = static_cast<size_t>(count + kAlignment);
  if (memory.size() < needed) {
    memory.clear();  // The last task's contents are not copied.
    memory.resize(needed);
  }
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  const uintptr_t bytes = kAlignment * sizeof(float);
  return memory.data() + (bytes - address % bytes) % bytes / sizeof(float);
}

}  // namespace clinometer
