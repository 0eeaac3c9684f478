// Updates of a training step, each in one pass over long arrays. They are plain functions, which Python calls by ctypes.
#pragma once
#include "lanes.h"

namespace {

constexpr int64_t kPart = 1 << 16;   // numbers per task of a thread
constexpr int64_t kBlock = 1 << 10;  // numbers whose sum is taken in float32

struct AdamW {
  float gradient_factor, beta1, beta2, epsilon, shrink, step;  // shrink: factor of the weights, for their decay
};

// https://arxiv.org/abs/1711.05101, algorithm 2. `step` and `epsilon` include the corrections for the first steps.
FOR_EACH_PROCESSOR
void adamw(const AdamW& a, float* __restrict w, const float* __restrict g, float* __restrict m, float* __restrict v,
           int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float gradient = a.gradient_factor * g[i];
    m[i] = a.beta1 * m[i] + (1.0f - a.beta1) * gradient;
    v[i] = a.beta2 * v[i] + (1.0f - a.beta2) * gradient * gradient;
    w[i] = a.shrink * w[i] - a.step * m[i] / (std::sqrt(v[i]) + a.epsilon);
  }
}

// average += share * (x - average)
FOR_EACH_PROCESSOR
void blend(const float* __restrict x, float share, float* __restrict average, int64_t count) {
  for (int64_t i = 0; i < count; ++i) average[i] += share * (x[i] - average[i]);
}

FOR_EACH_PROCESSOR
double sum_of_squares(const float* x, int64_t count) {
  double sum = 0.0;
  for (int64_t start = 0; start < count; start += kBlock) {
    Lane squares[4] = {};
    const int64_t end = std::min(start + kBlock, count);
    for (int64_t i = start; i < end; i += kLane) {
      const Lane value = some(x + i, end - i);
      squares[i / kLane % 4] += value * value;
    }
    sum += total(squares[0] + squares[1] + squares[2] + squares[3]);
  }
  return sum;
}

}  // namespace

extern "C" {

double mobile_backbones_sum_of_squares(const float* x, int64_t count) { return sum_of_squares(x, count); }

// `numbers`: the fields of AdamW.
void mobile_backbones_adamw(const float* numbers, float* w, const float* g, float* m, float* v, int64_t count) {
  const AdamW a{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]};
#pragma omp parallel for
  for (int64_t i = 0; i < count; i += kPart) adamw(a, w + i, g + i, m + i, v + i, std::min(kPart, count - i));
}

// Copy `arrays`, one after another, to `joined`.
void mobile_backbones_join(const float* const* arrays, const int64_t* counts, int64_t number, float* joined) {
  for (int64_t i = 0; i < number; ++i) joined = std::copy_n(arrays[i], counts[i], joined);
}

// `average` is one array for all `arrays`, one after another.
void mobile_backbones_blend(const float* const* arrays, const int64_t* counts, int64_t number, float share, float* average) {
  for (int64_t i = 0; i < number; ++i) {
    blend(arrays[i], share, average, counts[i]);
    average += counts[i];
  }
}

}  // extern "C"
