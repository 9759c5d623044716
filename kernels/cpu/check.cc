#include "kernels/cpu/check.h"

#include <cstdint>
#include <initializer_list>
#include <string>

namespace clinometer {
namespace {

template <typename Range>
std::string Join(const Range& values) {
  std::string text = "[";
  for (const int64_t value : values) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(value);
  }
  return text + "]";
}

}  // namespace

Check& Check::Dimensions(const char* name, ::xla::ffi::Span<const int64_t> got,
                         std::initializer_list<int64_t> expected,
                         bool may_share) {
  bool equal = got.size() == expected.size();
  for (size_t i = 0; equal && i < got.size(); ++i) {
    const int64_t want = expected.begin()[i];
    equal = got[i] == want || (may_share && i == 0 && got[i] == 1);
  }
  return That(equal, std::string(name) + " must be " + Join(expected) +
                         (may_share ? " or have a leading 1" : "") + "; got " +
                         Join(got));
}

}  // namespace clinometer
