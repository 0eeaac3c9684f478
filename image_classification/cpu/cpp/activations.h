// Activations: GELU and hard-swish.
#pragma once
#include "lanes.h"

namespace {

// e^x for x <= 0: 2^n times a polynomial (Cephes' expf), to 2 units in the last place.
PART Lane exponential(Lane x) {
  typedef int Whole __attribute__((vector_size(32)));
  x = x < -87.0f ? Lane{} - 87.0f : x;
  const Whole n = __builtin_convertvector(x * 1.44269504f - 0.5f, Whole);  // rounds towards zero, i.e. up, as x <= 0
  const Lane whole = __builtin_convertvector(n, Lane);
  const Lane r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  Lane sum = Lane{} + 1.9875691500e-4f;
  for (const float factor : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) {
    sum = sum * r + factor;
  }
  const Lane power = (sum * r * r + r + 1.0f) * reinterpret_cast<Lane>((n + 127) << 23);
  return x > -87.0f ? power : Lane{};  // smaller results would be subnormal, which is slow
}

// The cumulative normal distribution at x, and its density: Abramowitz and Stegun 7.1.26, with an error below 1.5e-7.
PART void normal(Lane x, Lane* below, Lane* density) {
  const Lane bell = exponential(-0.5f * x * x);
  const Lane t = 1.0f / (1.0f + 0.3275911f * 0.70710678f * (x < 0.0f ? -x : x));
  Lane sum = Lane{} + 1.061405429f;
  for (const float factor : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) sum = sum * t + factor;
  const Lane tail = 0.5f * sum * t * bell;
  *below = x < 0.0f ? tail : 1.0f - tail;
  *density = 0.39894228f * bell;
}

// GELU at x, and its slope.
PART void smooth(Lane x, Lane* y, Lane* slope) {
  Lane below, density;
  normal(x, &below, &density);
  *y = x * below;
  *slope = below + x * density;
}

// Hard-swish at x, with the bits of Paddle's, and its slope.
PART void hard(Lane x, Lane* y, Lane* slope) {
  const Lane above = x + 3.0f, part = above < 0.0f ? Lane{} : above > 6.0f ? Lane{} + 6.0f : above;
  *y = x * part / 6.0f;
  *slope = (part + (x > -3.0f && x < 3.0f ? x : Lane{})) / 6.0f;
}

enum class Curve { kSmooth, kHard };

template <void (*curve)(Lane, Lane*, Lane*)>
PART void activation(const float* x, const float* grad, float* out, int64_t count) {
  for (int64_t i = 0; i < count; i += kLane) {
    Lane y, slope;
    curve(some(x + i, count - i), &y, &slope);
    keep(out + i, grad ? some(grad + i, count - i) * slope : y, count - i);
  }
}

// out = the activation of x. With `grad`, the gradient of the output, it writes the gradient of x instead.
FOR_EACH_PROCESSOR
void activate(Curve curve, const float* x, const float* grad, float* out, int64_t count) {
  if (curve == Curve::kSmooth) activation<smooth>(x, grad, out, count);
  if (curve == Curve::kHard) activation<hard>(x, grad, out, count);
}

constexpr int64_t kChunk = 1 << 14;  // numbers per task of a thread

paddle::Tensor in_chunks(Curve curve, const paddle::Tensor& x, const float* grad) {
  paddle::Tensor out = paddle::empty(x.shape(), x.dtype(), x.place());
  const float* from = x.data<float>();
  float* to = out.data<float>();
  const int64_t count = x.numel();
#pragma omp parallel for
  for (int64_t i = 0; i < count; i += kChunk) {
    activate(curve, from + i, grad ? grad + i : nullptr, to + i, std::min(kChunk, count - i));
  }
  return out;
}

template <Curve curve>
std::vector<paddle::Tensor> ActivationForward(const paddle::Tensor& x) {
  return {in_chunks(curve, x.contiguous(), nullptr)};
}

template <Curve curve>
std::vector<paddle::Tensor> ActivationBackward(const paddle::Tensor& x, const paddle::Tensor& gradient) {
  const paddle::Tensor grad = gradient.contiguous();
  return {in_chunks(curve, x.contiguous(), grad.data<float>())};
}

std::vector<std::vector<int64_t>> ActivationShape(const std::vector<int64_t>& x) { return {x}; }

std::vector<paddle::DataType> ActivationType(const paddle::DataType& x) { return {x}; }

}  // namespace
