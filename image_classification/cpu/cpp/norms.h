// Layer norms: over the channels of each pixel, and over the last axis.
#pragma once
#include "lanes.h"

namespace {

// Arrays for the gradients of x, weight and bias.
std::vector<paddle::Tensor> empty_gradients(const paddle::Tensor& x, int64_t channels) {
  return {paddle::empty(x.shape(), x.dtype(), x.place()), paddle::empty({channels}, x.dtype(), x.place()),
          paddle::empty({channels}, x.dtype(), x.place())};
}

// y = (x - mean) / deviation * weight + bias, for eight pixels. Their channels are `pixels` floats apart.
FOR_EACH_PROCESSOR
void norm_of_pixels(const float* x, int channels, int64_t pixels, int64_t left, const float* weight, const float* bias,
                    float epsilon, float* y, float* mean, float* factor) {
  Lane sum{}, squares{};
  for (int c = 0; c < channels; ++c) sum += some(x + c * pixels, left);
  const Lane middle = sum / static_cast<float>(channels);
  for (int c = 0; c < channels; ++c) {
    const Lane far = some(x + c * pixels, left) - middle;
    squares += far * far;
  }
  Lane scale = squares / static_cast<float>(channels) + epsilon;
  for (int j = 0; j < kLane; ++j) scale[j] = 1.0f / std::sqrt(scale[j]);
  for (int c = 0; c < channels; ++c) {
    keep(y + c * pixels, (some(x + c * pixels, left) - middle) * scale * weight[c] + bias[c], left);
  }
  keep(mean, middle, left);
  keep(factor, scale, left);
}

// The gradients of `norm_of_pixels`. Those of weight and bias, eight sums per channel, are added to the given arrays.
FOR_EACH_PROCESSOR
void norm_of_pixels_gradient(const float* x, const float* grad, int channels, int64_t pixels, int64_t left, const float* weight,
                             const float* mean, const float* factor, float* x_grad, float* weight_grad, float* bias_grad) {
  const Lane middle = some(mean, left), scale = some(factor, left);
  Lane sum{}, along{};
  for (int c = 0; c < channels; ++c) {
    const Lane own = some(grad + c * pixels, left), unit = (some(x + c * pixels, left) - middle) * scale;
    const Lane with_unit = own * unit;
    at(weight_grad + c * kLane) += with_unit;
    at(bias_grad + c * kLane) += own;
    sum += own * weight[c];
    along += with_unit * weight[c];
  }
  sum /= static_cast<float>(channels);
  along /= static_cast<float>(channels);
  for (int c = 0; c < channels; ++c) {
    const Lane own = some(grad + c * pixels, left), unit = (some(x + c * pixels, left) - middle) * scale;
    keep(x_grad + c * pixels, (own * weight[c] - sum - unit * along) * scale, left);
  }
}

// x (B, C, H, W), weight and bias (C) -> y, and for each pixel its mean and 1 / deviation, (B, H * W) each.
std::vector<paddle::Tensor> ChannelNormForward(const paddle::Tensor& input, const paddle::Tensor& weight,
                                               const paddle::Tensor& bias, float epsilon) {
  const paddle::Tensor x = input.contiguous();
  const int64_t batch = x.shape()[0], channels = x.shape()[1], pixels = x.shape()[2] * x.shape()[3];
  paddle::Tensor y = paddle::empty(x.shape(), x.dtype(), x.place());
  paddle::Tensor mean = paddle::empty({batch, pixels}, x.dtype(), x.place());
  paddle::Tensor factor = paddle::empty({batch, pixels}, x.dtype(), x.place());
  const float *from = x.data<float>(), *w = weight.data<float>(), *b = bias.data<float>();
  float *to = y.data<float>(), *m = mean.data<float>(), *f = factor.data<float>();
#pragma omp parallel for
  for (int64_t i = 0; i < batch; ++i) {
    for (int64_t p = 0; p < pixels; p += kLane) {
      const int64_t start = i * channels * pixels + p;
      norm_of_pixels(from + start, channels, pixels, pixels - p, w, b, epsilon, to + start, m + i * pixels + p,
                     f + i * pixels + p);
    }
  }
  return {y, mean, factor};
}

std::vector<paddle::Tensor> ChannelNormBackward(const paddle::Tensor& input, const paddle::Tensor& weight,
                                                const paddle::Tensor& mean, const paddle::Tensor& factor,
                                                const paddle::Tensor& gradient) {
  const paddle::Tensor x = input.contiguous(), grad = gradient.contiguous();
  const int64_t batch = x.shape()[0], channels = x.shape()[1], pixels = x.shape()[2] * x.shape()[3];
  std::vector<paddle::Tensor> grads = empty_gradients(x, channels);
  const float *from = x.data<float>(), *g = grad.data<float>(), *w = weight.data<float>();
  const float *m = mean.data<float>(), *f = factor.data<float>();
  float* to = grads[0].data<float>();
  const int64_t width = channels * kLane;
  std::vector<float> sums(2 * batch * width);  // separate per image: results do not depend on threads
#pragma omp parallel for
  for (int64_t i = 0; i < batch; ++i) {
    float* own = sums.data() + 2 * i * width;
    for (int64_t p = 0; p < pixels; p += kLane) {
      const int64_t start = i * channels * pixels + p;
      norm_of_pixels_gradient(from + start, g + start, channels, pixels, pixels - p, w, m + i * pixels + p, f + i * pixels + p,
                              to + start, own, own + width);
    }
  }
  for (int64_t c = 0; c < channels; ++c) {
    float of[2] = {};
    for (int64_t i = 0; i < 2 * batch; ++i) {
      for (int j = 0; j < kLane; ++j) of[i % 2] += sums[i * width + c * kLane + j];
    }
    grads[1].data<float>()[c] = of[0];
    grads[2].data<float>()[c] = of[1];
  }
  return grads;
}

std::vector<std::vector<int64_t>> ChannelNormShape(const std::vector<int64_t>& x, const std::vector<int64_t>&,
                                                   const std::vector<int64_t>&, float) {
  return {x, {x[0], x[2] * x[3]}, {x[0], x[2] * x[3]}};
}

std::vector<paddle::DataType> NormType(const paddle::DataType& x, const paddle::DataType&, const paddle::DataType&) {
  return {x, x, x};
}

// The first `count` numbers, and zeros.
PART Lane only(Lane x, int64_t count) {
  for (int64_t j = count; j < kLane; ++j) x[j] = 0.0f;
  return x;
}

// y = (x - mean) / deviation * weight + bias, for a row of adjacent channels.
FOR_EACH_PROCESSOR
void norm_of_row(const float* x, int64_t channels, const float* weight, const float* bias, float epsilon, float* y, float* mean,
                 float* factor) {
  Lane sum{}, squares{};
  for (int64_t c = 0; c < channels; c += kLane) sum += some(x + c, channels - c);
  *mean = total(sum) / static_cast<float>(channels);
  for (int64_t c = 0; c < channels; c += kLane) {
    const Lane far = only(some(x + c, channels - c) - *mean, channels - c);
    squares += far * far;
  }
  *factor = 1.0f / std::sqrt(total(squares) / static_cast<float>(channels) + epsilon);
  for (int64_t c = 0; c < channels; c += kLane) {
    const int64_t left = channels - c;
    keep(y + c, (some(x + c, left) - *mean) * *factor * some(weight + c, left) + some(bias + c, left), left);
  }
}

// The gradients of `norm_of_row`. Those of weight and bias are added to the given arrays, whose lengths are multiples of eight.
FOR_EACH_PROCESSOR
void norm_of_row_gradient(const float* x, const float* grad, int64_t channels, const float* weight, float mean, float factor,
                          float* x_grad, float* weight_grad, float* bias_grad) {
  Lane sums{}, products{};
  for (int64_t c = 0; c < channels; c += kLane) {
    const int64_t left = channels - c;
    const Lane own = some(grad + c, left), with_unit = own * (some(x + c, left) - mean) * factor, w = some(weight + c, left);
    at(weight_grad + c) += with_unit;
    at(bias_grad + c) += own;
    sums += own * w;
    products += with_unit * w;
  }
  const float sum = total(sums) / static_cast<float>(channels), along = total(products) / static_cast<float>(channels);
  for (int64_t c = 0; c < channels; c += kLane) {
    const int64_t left = channels - c;
    const Lane unit = (some(x + c, left) - mean) * factor;
    keep(x_grad + c, (some(grad + c, left) * some(weight + c, left) - sum - unit * along) * factor, left);
  }
}

// x (rows, C) with any number of axes before the last, weight and bias (C) -> y, and each row's mean and 1 / deviation.
std::vector<paddle::Tensor> RowNormForward(const paddle::Tensor& input, const paddle::Tensor& weight, const paddle::Tensor& bias,
                                           float epsilon) {
  const paddle::Tensor x = input.contiguous();
  const int64_t channels = weight.numel(), rows = x.numel() / channels;
  paddle::Tensor y = paddle::empty(x.shape(), x.dtype(), x.place());
  paddle::Tensor mean = paddle::empty({rows}, x.dtype(), x.place()), factor = paddle::empty({rows}, x.dtype(), x.place());
  const float *from = x.data<float>(), *w = weight.data<float>(), *b = bias.data<float>();
  float *to = y.data<float>(), *m = mean.data<float>(), *f = factor.data<float>();
#pragma omp parallel for
  for (int64_t i = 0; i < rows; ++i) {
    norm_of_row(from + i * channels, channels, w, b, epsilon, to + i * channels, m + i, f + i);
  }
  return {y, mean, factor};
}

std::vector<paddle::Tensor> RowNormBackward(const paddle::Tensor& input, const paddle::Tensor& weight, const paddle::Tensor& mean,
                                            const paddle::Tensor& factor, const paddle::Tensor& gradient) {
  const paddle::Tensor x = input.contiguous(), grad = gradient.contiguous();
  const int64_t channels = weight.numel(), rows = x.numel() / channels;
  std::vector<paddle::Tensor> grads = empty_gradients(x, channels);
  const float *from = x.data<float>(), *g = grad.data<float>(), *w = weight.data<float>();
  const float *m = mean.data<float>(), *f = factor.data<float>();
  float* to = grads[0].data<float>();
  const int64_t width = (channels + kLane - 1) / kLane * kLane, parts = std::min<int64_t>(rows, 16);
  std::vector<float> sums(2 * parts * width);  // separate per part of the rows: results do not depend on threads
#pragma omp parallel for
  for (int64_t part = 0; part < parts; ++part) {
    float* own = sums.data() + 2 * part * width;
    for (int64_t i = rows * part / parts; i < rows * (part + 1) / parts; ++i) {
      norm_of_row_gradient(from + i * channels, g + i * channels, channels, w, m[i], f[i], to + i * channels, own, own + width);
    }
  }
  for (int64_t c = 0; c < channels; ++c) {
    float of[2] = {};
    for (int64_t i = 0; i < 2 * parts; ++i) of[i % 2] += sums[i * width + c];
    grads[1].data<float>()[c] = of[0];
    grads[2].data<float>()[c] = of[1];
  }
  return grads;
}

std::vector<std::vector<int64_t>> RowNormShape(const std::vector<int64_t>& x, const std::vector<int64_t>&,
                                               const std::vector<int64_t>&, float) {
  int64_t rows = 1;
  for (size_t axis = 0; axis + 1 < x.size(); ++axis) rows *= x[axis];
  return {x, {rows}, {rows}};
}

}  // namespace
