#include "kernels/cpu/pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

namespace clinometer {
namespace {

// Outlives the call: a helper that starts late finds no task left and exits.
struct Work {
  explicit Work(int64_t count, const std::function<void(int64_t)>& task)
      : count(count), task(task) {}

  void Run() {
    int64_t finished = 0;
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      task(i);
      ++finished;
    }
    if (finished > 0 && done.fetch_add(finished) + finished == count) {
      const std::lock_guard<std::mutex> lock(mutex);
      all_done.notify_all();
    }
  }

  void Wait() {
    std::unique_lock<std::mutex> lock(mutex);
    all_done.wait(lock, [this] { return done.load() == count; });
  }

  const int64_t count;
  // Refers to the caller's function; used only while a task is left.
  const std::function<void(int64_t)>& task;
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> done{0};
  std::mutex mutex;
  std::condition_variable all_done;
};

}  // namespace

void Pool::For(int64_t count, const std::function<void(int64_t)>& task) const {
  if (count <= 0) return;
  ::xla::ffi::ThreadPool threads = threads_;
  const int64_t helpers =
      std::min<int64_t>(std::max<int64_t>(threads.num_threads(), 1), count) - 1;
  if (helpers == 0) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  auto work = std::make_shared<Work>(count, task);
  for (int64_t i = 0; i < helpers; ++i) {
    threads.Schedule(std::function<void()>([work] { work->Run(); }));
  }
  work->Run();
  work->Wait();
}

}  // namespace clinometer
