// Dynamic ReLU: the larger of two lines, which differ by image and channel.
#pragma once
#include "lanes.h"

namespace {

// out = max(a1 * x + b1, a2 * x + b2)
FOR_EACH_PROCESSOR
void two_lines(const float* x, int count, float a1, float b1, float a2, float b2, float* out) {
  for (int i = 0; i < count; ++i) {
    const float first = x[i] * a1 + b1, second = x[i] * a2 + b2;
    out[i] = first > second ? first : second;
  }
}

// `sums` gets the gradients of a1, b1, a2, b2. Where both lines meet, each gets half of the gradient, as in paddle.maximum.
FOR_EACH_PROCESSOR
void two_lines_gradient(const float* x, const float* grad, int count, float a1, float b1, float a2, float b2, float* x_grad,
                        float* sums) {
  Lane s0{}, s1{}, s2{}, s3{};
  int i = 0;
  for (; i + kLane <= count; i += kLane) {
    const Lane v = at(x + i), g = at(grad + i), first = v * a1 + b1, second = v * a2 + b2, zero{};
    const Lane g1 = first > second ? g : first < second ? zero : 0.5f * g, g2 = g - g1;
    at(x_grad + i) = g1 * a1 + g2 * a2;
    s0 += g1 * v;
    s1 += g1;
    s2 += g2 * v;
    s3 += g2;
  }
  for (; i < count; ++i) {
    const float first = x[i] * a1 + b1, second = x[i] * a2 + b2;
    const float g1 = first > second ? grad[i] : first < second ? 0.0f : 0.5f * grad[i], g2 = grad[i] - g1;
    x_grad[i] = g1 * a1 + g2 * a2;
    sums[0] += g1 * x[i];
    sums[1] += g1;
    sums[2] += g2 * x[i];
    sums[3] += g2;
  }
  for (int j = 0; j < kLane; ++j) {
    sums[0] += s0[j];
    sums[1] += s1[j];
    sums[2] += s2[j];
    sums[3] += s3[j];
  }
}

// x (B, C, H, W); lines (4, B, C): a1, b1, a2, b2.
std::vector<paddle::Tensor> DynamicReLUForward(const paddle::Tensor& input, const paddle::Tensor& coefficients) {
  const paddle::Tensor x = input.contiguous(), lines = coefficients.contiguous();
  const int64_t maps = x.shape()[0] * x.shape()[1];
  const int pixels = static_cast<int>(x.shape()[2] * x.shape()[3]);
  paddle::Tensor out = paddle::empty(x.shape(), x.dtype(), x.place());
  const float *from = x.data<float>(), *l = lines.data<float>();
  float* to = out.data<float>();
#pragma omp parallel for
  for (int64_t i = 0; i < maps; ++i) {
    two_lines(from + i * pixels, pixels, l[i], l[maps + i], l[2 * maps + i], l[3 * maps + i], to + i * pixels);
  }
  return {out};
}

std::vector<paddle::Tensor> DynamicReLUBackward(const paddle::Tensor& input, const paddle::Tensor& coefficients,
                                                const paddle::Tensor& gradient) {
  const paddle::Tensor x = input.contiguous(), lines = coefficients.contiguous(), grad = gradient.contiguous();
  const int64_t maps = x.shape()[0] * x.shape()[1];
  const int pixels = static_cast<int>(x.shape()[2] * x.shape()[3]);
  paddle::Tensor x_grad = paddle::empty(x.shape(), x.dtype(), x.place());
  paddle::Tensor lines_grad = paddle::empty(lines.shape(), lines.dtype(), lines.place());
  const float *from = x.data<float>(), *l = lines.data<float>(), *g = grad.data<float>();
  float *to = x_grad.data<float>(), *l_to = lines_grad.data<float>();
#pragma omp parallel for
  for (int64_t i = 0; i < maps; ++i) {
    float sums[4] = {};
    two_lines_gradient(from + i * pixels, g + i * pixels, pixels, l[i], l[maps + i], l[2 * maps + i], l[3 * maps + i],
                       to + i * pixels, sums);
    for (int j = 0; j < 4; ++j) {
      l_to[j * maps + i] = sums[j];
    }
  }
  return {x_grad, lines_grad};
}

std::vector<std::vector<int64_t>> DynamicReLUShape(const std::vector<int64_t>& x, const std::vector<int64_t>&) { return {x}; }

}  // namespace
