// A bias for each channel of a map or of a token, added in place.
#pragma once
#include "lanes.h"

namespace {

FOR_EACH_PROCESSOR
void add(float* x, float bias, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] += bias;
}

FOR_EACH_PROCESSOR
float sum(const float* x, int64_t count) {
  Lane sums[4] = {};
  for (int64_t i = 0; i < count; i += kLane) sums[i / kLane % 4] += some(x + i, count - i);
  return total(sums[0] + sums[1] + sums[2] + sums[3]);
}

FOR_EACH_PROCESSOR
void add_arrays(const float* __restrict x, float* __restrict to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] += x[i];
}

// x (..., C, pixels), bias (C) -> x + bias, in the memory of x.
void BiasForward(paddle::Tensor& x, const paddle::Tensor& bias, int64_t pixels) {  // NOLINT: Paddle asks for a reference
  if (x.numel() == 0) return;
  const int64_t channels = bias.numel(), maps = x.numel() / pixels;
  const float* b = bias.data<float>();
  float* to = x.data<float>();
  if (pixels == 1) {
#pragma omp parallel for
    for (int64_t i = 0; i < maps; i += channels) add_arrays(b, to + i, channels);
  } else {
#pragma omp parallel for
    for (int64_t i = 0; i < maps; ++i) add(to + i * pixels, b[i % channels], pixels);
  }
}

// Sums over all rows (rows, C) -> (C).
void sum_rows(const float* x, int64_t rows, int64_t channels, float* to) {
  const int64_t parts = std::min<int64_t>(rows, 16);
  std::vector<float> sums(parts * channels);  // separate per part of the rows: results do not depend on threads
#pragma omp parallel for
  for (int64_t part = 0; part < parts; ++part) {
    for (int64_t i = rows * part / parts; i < rows * (part + 1) / parts; ++i) {
      add_arrays(x + i * channels, sums.data() + part * channels, channels);
    }
  }
  for (int64_t part = 0; part < parts; ++part) add_arrays(sums.data() + part * channels, to, channels);
}

// The gradient of x is that of the output, in the same memory.
std::vector<paddle::Tensor> BiasBackward(const paddle::Tensor& bias, const paddle::Tensor& gradient, int64_t pixels) {
  const paddle::Tensor grad = gradient.contiguous();
  paddle::Tensor bias_grad = paddle::zeros(bias.shape(), bias.dtype(), bias.place());
  if (grad.numel() == 0) return {grad, bias_grad};
  const int64_t channels = bias.numel(), images = grad.numel() / channels / pixels;
  const float* from = grad.data<float>();
  float* to = bias_grad.data<float>();
  if (pixels == 1) {
    sum_rows(from, images, channels, to);
    return {grad, bias_grad};
  }
#pragma omp parallel for
  for (int64_t c = 0; c < channels; ++c) {
    double total = 0.0;
    for (int64_t i = 0; i < images; ++i) total += sum(from + (i * channels + c) * pixels, pixels);
    to[c] = static_cast<float>(total);
  }
  return {grad, bias_grad};
}

}  // namespace
