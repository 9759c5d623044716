#ifndef CLINOMETER_KERNELS_CPU_POOL_H_
#define CLINOMETER_KERNELS_CPU_POOL_H_

#include <cstdint>
#include <functional>

#include "xla/ffi/api/ffi.h"

namespace clinometer {

// Runs independent tasks on XLA's threads and the calling one.
class Pool {
 public:
  explicit Pool(::xla::ffi::ThreadPool threads) : threads_(threads) {}

  // Calls task(0) ... task(count - 1), each once, in any order, and returns
  // when all are done. Deadlock-free on a full pool: the caller works too, and
  // waits for tasks that were begun, never for a helper to start.
  void For(int64_t count, const std::function<void(int64_t)>& task) const;

 private:
  ::xla::ffi::ThreadPool threads_;
};

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_POOL_H_
