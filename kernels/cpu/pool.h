#ifndef CLINOMETER_KERNELS_CPU_POOL_H_
#define CLINOMETER_KERNELS_CPU_POOL_H_

#include <cstdint>
#include <functional>

#include "xla/ffi/api/ffi.h"

namespace clinometer {

// Runs independent tasks on XLA's threads and the calling thread.
class Pool {
 public:
  explicit Pool(::xla::ffi::ThreadPool threads) : threads_(threads) {}

  // Calls task(0) ... task(count - 1), each once, in any order, and returns
  // when all are done. Does not deadlock on a full pool: the caller runs tasks
  // too, and waits only for tasks that have started, not for helpers to start.
  void For(int64_t count, const std::function<void(int64_t)>& task) const;

 private:
  ::xla::ffi::ThreadPool threads_;
};

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_POOL_H_
