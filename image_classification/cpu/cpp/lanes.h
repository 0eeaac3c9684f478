// Vectors of eight floats, and functions compiled for several processors.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "paddle/extension.h"

// The loops below are compiled for several processors; the right version is chosen at run time.
#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif
// Marks a helper of such a function, which is compiled with it for each processor.
#define PART inline __attribute__((always_inline))

// A vector as wide as AVX2. On an AVX2 processor, GCC keeps wider ones in memory, which takes five times as long.
typedef float Lane __attribute__((vector_size(32), aligned(4), may_alias));
constexpr int kLane = 8;
constexpr int kSlack = 8 * kLane;  // floats that may be read or written past the end of a buffer

inline Lane& at(float* p) { return *reinterpret_cast<Lane*>(p); }
inline const Lane& at(const float* p) { return *reinterpret_cast<const Lane*>(p); }

// Loads eight numbers, or the remaining `count` ones and zeros.
PART Lane some(const float* p, int64_t count) {
  if (count >= kLane) return at(p);
  Lane x{};
  std::memcpy(&x, p, sizeof(float) * count);
  return x;
}

PART void keep(float* p, Lane x, int64_t count) {
  if (count >= kLane) {
    at(p) = x;
  } else {
    std::memcpy(p, &x, sizeof(float) * count);
  }
}

PART float total(Lane x) {
  float sum = 0.0f;
  for (int j = 0; j < kLane; ++j) sum += x[j];
  return sum;
}
