#ifndef CLINOMETER_KERNELS_CPU_CHECK_H_
#define CLINOMETER_KERNELS_CPU_CHECK_H_

#include <cstdint>
#include <initializer_list>
#include <string>

#include "xla/ffi/api/ffi.h"

namespace clinometer {

// Checks a handler's buffers and keeps the first complaint.
class Check {
 public:
  explicit Check(const char* op) : op_(op) {}

  // Requires exactly these dimensions.
  template <typename Buffer>
  Check& Shape(const char* name, const Buffer& buffer,
               std::initializer_list<int64_t> expected) {
    return Dimensions(name, buffer.dimensions(), expected, false);
  }

  // Requires these dimensions, where the first may be 1 (shared by all
  // examples).
  template <typename Buffer>
  Check& SharedShape(const char* name, const Buffer& buffer,
                     std::initializer_list<int64_t> expected) {
    return Dimensions(name, buffer.dimensions(), expected, true);
  }

  // Requires a condition.
  Check& That(bool condition, const std::string& complaint) {
    if (!condition && complaint_.empty()) complaint_ = complaint;
    return *this;
  }

  bool Failed() const { return !complaint_.empty(); }

  // InvalidArgument with the complaint.
  ::xla::ffi::Error Error() const {
    return ::xla::ffi::Error::InvalidArgument(std::string(op_) + ": " +
                                              complaint_);
  }

 private:
  Check& Dimensions(const char* name, ::xla::ffi::Span<const int64_t> got,
                    std::initializer_list<int64_t> expected, bool may_share);

  const char* op_;
  std::string complaint_;
};

// The stride between examples in elements; 0 if the leading axis is 1.
template <typename Buffer>
int64_t ExampleStride(const Buffer& buffer) {
  const auto dimensions = buffer.dimensions();
  if (dimensions[0] <= 1) return 0;
  return static_cast<int64_t>(buffer.element_count()) / dimensions[0];
}

}  // namespace clinometer

#endif  // CLINOMETER_KERNELS_CPU_CHECK_H_
