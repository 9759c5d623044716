// All headers that the kernels include, without the kernels themselves.

#ifndef CLINOMETER_KERNELS_CPU_HEADERS_H_
#define CLINOMETER_KERNELS_CPU_HEADERS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/cpu/convolution.h"
#include "kernels/cpu/expert_matmul.h"
#include "kernels/cpu/performer_attention.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/relative_attention.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/switch_route.h"
#include "kernels/cpu/switch_rows.h"

#endif  // CLINOMETER_KERNELS_CPU_HEADERS_H_
