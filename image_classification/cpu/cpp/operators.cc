// Depthwise convolution, dynamic ReLU, GELU and a layer norm over channels for a CPU, float32, with gradients. Built by
// `python -m image_classification.cpu.build_operators`.
//
// The depthwise convolution copies each map once into a frame that includes the padding. The whole frame is then one long
// vector: output i is the weighted sum of the elements i + offset, with one offset per tap of the kernel. Outputs that fall
// between the rows are dropped. With a stride of s, the frame is split into s * s frames, one for each remainder of row and
// column, so that the pixels needed by neighbouring outputs are adjacent.
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

namespace {

// A vector as wide as AVX2. On an AVX2 processor, GCC keeps wider ones in memory, which takes five times as long.
typedef float Lane __attribute__((vector_size(32), aligned(4), may_alias));
constexpr int kLane = 8;
constexpr int kSlack = 8 * kLane;  // floats that may be read or written past the end of a buffer

inline Lane& at(float* p) { return *reinterpret_cast<Lane*>(p); }
inline const Lane& at(const float* p) { return *reinterpret_cast<const Lane*>(p); }

// out[i] = sum over t of weight[t] * source[t][i]
FOR_EACH_PROCESSOR
void weighted_sum(const float* const* source, const float* weight, int taps, float* out, int count) {
  for (int i = 0; i < count; i += 8 * kLane) {
    Lane a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{};
    for (int t = 0; t < taps; ++t) {
      const float* p = source[t] + i;
      const float w = weight[t];
      a += w * at(p);
      b += w * at(p + kLane);
      c += w * at(p + 2 * kLane);
      d += w * at(p + 3 * kLane);
      e += w * at(p + 4 * kLane);
      f += w * at(p + 5 * kLane);
      g += w * at(p + 6 * kLane);
      h += w * at(p + 7 * kLane);
    }
    at(out + i) = a;
    at(out + i + kLane) = b;
    at(out + i + 2 * kLane) = c;
    at(out + i + 3 * kLane) = d;
    at(out + i + 4 * kLane) = e;
    at(out + i + 5 * kLane) = f;
    at(out + i + 6 * kLane) = g;
    at(out + i + 7 * kLane) = h;
  }
}

// sum[t] += sum over i of source[t][i] * grad[i]. Past their ends, `grad` must have zeros, and `source` finite numbers.
FOR_EACH_PROCESSOR
void products(const float* const* source, int taps, const float* grad, float* sum, int count) {
  int t = 0;
  for (; t + 4 <= taps; t += 4) {
    const float *p0 = source[t], *p1 = source[t + 1], *p2 = source[t + 2], *p3 = source[t + 3];
    Lane a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{};
    for (int i = 0; i < count; i += 2 * kLane) {
      const Lane first = at(grad + i), second = at(grad + i + kLane);
      a += first * at(p0 + i);
      b += first * at(p1 + i);
      c += first * at(p2 + i);
      d += first * at(p3 + i);
      e += second * at(p0 + i + kLane);
      f += second * at(p1 + i + kLane);
      g += second * at(p2 + i + kLane);
      h += second * at(p3 + i + kLane);
    }
    a += e;
    b += f;
    c += g;
    d += h;
    for (int j = 0; j < kLane; ++j) {
      sum[t] += a[j];
      sum[t + 1] += b[j];
      sum[t + 2] += c[j];
      sum[t + 3] += d[j];
    }
  }
  for (; t < taps; ++t) {
    Lane a{};
    for (int i = 0; i < count; i += kLane) a += at(grad + i) * at(source[t] + i);
    for (int j = 0; j < kLane; ++j) sum[t] += a[j];
  }
}

// The sizes of a convolution, and the offsets of its taps.
struct Shape {
  int height, width, out_height, out_width, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
  int pitch, frame;    // floats per row of a split frame, floats per split frame
  int count;           // length of the long vector
  int taps, frames;
  std::vector<int> offset;  // offset of each tap in the split frames, which are stored one after another

  // Padding before and after the map: `ph` and `eh` rows, `pw` and `ew` columns.
  Shape(const paddle::Tensor& x, const paddle::Tensor& weight, int sh, int sw, int ph, int eh, int pw, int ew)
      : height(x.shape()[2]), width(x.shape()[3]), kernel_h(weight.shape()[2]), kernel_w(weight.shape()[3]), stride_h(sh),
        stride_w(sw), pad_h(ph), pad_w(pw) {
    out_height = (height + ph + eh - kernel_h) / sh + 1;
    out_width = (width + pw + ew - kernel_w) / sw + 1;
    pitch = out_width + (kernel_w - 1) / sw;
    frame = (out_height + (kernel_h - 1) / sh) * pitch + kSlack + kernel_w;
    count = (out_height - 1) * pitch + out_width;
    taps = kernel_h * kernel_w;
    frames = sh * sw;
    for (int a = 0; a < kernel_h; ++a)
      for (int b = 0; b < kernel_w; ++b)
        offset.push_back((a % sh * sw + b % sw) * frame + a / sh * pitch + b / sw);
  }

  int long_size() const { return count + kSlack; }

  // Calls f(row of the map, its position in the frames, first column, number of columns) for each row and column remainder.
  template <typename F>
  void each_row(F f) const {
    for (int y = 0; y < height; ++y) {
      const int row = y + pad_h;
      if (row / stride_h >= out_height + (kernel_h - 1) / stride_h) continue;
      for (int r = 0; r < stride_w; ++r) {
        int first = ((r - pad_w) % stride_w + stride_w) % stride_w;  // the first column that falls into this frame
        const int column = (first + pad_w) / stride_w;
        const int there = std::min((width - first + stride_w - 1) / stride_w, pitch - column);
        if (there > 0) f(y, (row % stride_h * stride_w + r) * frame + row / stride_h * pitch + column, first, there);
      }
    }
  }

  void split(const float* map, float* frames_) const {
    each_row([&](int y, int place, int first, int columns) {
      const float* from = map + y * width + first;
      if (stride_w == 1) std::memcpy(frames_ + place, from, columns * sizeof(float));
      else for (int i = 0; i < columns; ++i) frames_[place + i] = from[i * stride_w];
    });
  }

  void merge(const float* frames_, float* map) const {
    std::fill(map, map + height * width, 0.0f);  // pixels that no output reads are in no frame
    each_row([&](int y, int place, int first, int columns) {
      float* to = map + y * width + first;
      for (int i = 0; i < columns; ++i) to[i * stride_w] = frames_[place + i];
    });
  }
};

// Buffers of one thread, reused for all its maps. Elements that no map writes stay zero.
struct Workspace {
  std::vector<float> frames, line, frames_grad;
  std::vector<const float*> source;
  std::vector<float> weights;

  explicit Workspace(const Shape& s)
      : frames(s.frames * s.frame), line(2 * s.frame + s.long_size()), frames_grad(s.frames * s.frame), source(s.taps),
        weights(s.taps) {}

  void read(const Shape& s, const float* x) {
    s.split(x, frames.data());
    for (int t = 0; t < s.taps; ++t) source[t] = frames.data() + s.offset[t];
  }
};

void forward_map(const Shape& s, const float* x, const float* weight, float* out, Workspace* work) {
  work->read(s, x);
  float* line = work->line.data();
  weighted_sum(work->source.data(), weight, s.taps, line, s.count);
  for (int y = 0; y < s.out_height; ++y) std::memcpy(out + y * s.out_width, line + y * s.pitch, s.out_width * sizeof(float));
}

// Adds to `weight_grad`, writes `x_grad`.
void backward_map(const Shape& s, const float* x, const float* weight, const float* grad, float* x_grad, float* weight_grad,
                  Workspace* work) {
  work->read(s, x);
  float* line = work->line.data() + s.frame;  // taps of the first rows read the zeros before it
  for (int y = 0; y < s.out_height; ++y) std::memcpy(line + y * s.pitch, grad + y * s.out_width, s.out_width * sizeof(float));
  products(work->source.data(), s.taps, line, weight_grad, s.count);
  for (int f = 0; f < s.frames; ++f) {  // the gradient of frame f: all taps that read it, in the opposite direction
    int used = 0;
    for (int t = 0; t < s.taps; ++t) {
      if (s.offset[t] / s.frame != f) continue;
      work->source[used] = line - s.offset[t] % s.frame;
      work->weights[used++] = weight[t];
    }
    weighted_sum(work->source.data(), work->weights.data(), used, work->frames_grad.data() + f * s.frame, s.frame - kSlack);
  }
  s.merge(work->frames_grad.data(), x_grad);
}

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

}  // namespace

std::vector<paddle::Tensor> DepthwiseForward(const paddle::Tensor& input, const paddle::Tensor& weights, int stride_h,
                                             int stride_w, int top, int bottom, int left, int right) {
  const paddle::Tensor x = input.contiguous(), weight = weights.contiguous();
  const Shape s(x, weight, stride_h, stride_w, top, bottom, left, right);
  const int64_t maps = x.shape()[0] * x.shape()[1], channels = x.shape()[1];
  paddle::Tensor out = paddle::empty({x.shape()[0], channels, s.out_height, s.out_width}, x.dtype(), x.place());
  const float *from = x.data<float>(), *w = weight.data<float>();
  float* to = out.data<float>();
#pragma omp parallel
  {
    Workspace work(s);
#pragma omp for
    for (int64_t i = 0; i < maps; ++i) {
      forward_map(s, from + i * s.height * s.width, w + i % channels * s.taps, to + i * s.out_height * s.out_width, &work);
    }
  }
  return {out};
}

std::vector<paddle::Tensor> DepthwiseBackward(const paddle::Tensor& input, const paddle::Tensor& weights,
                                              const paddle::Tensor& gradient, int stride_h, int stride_w, int top, int bottom,
                                              int left, int right) {
  const paddle::Tensor x = input.contiguous(), weight = weights.contiguous(), grad = gradient.contiguous();
  const Shape s(x, weight, stride_h, stride_w, top, bottom, left, right);
  const int64_t batch = x.shape()[0], channels = x.shape()[1];
  paddle::Tensor x_grad = paddle::empty(x.shape(), x.dtype(), x.place());
  paddle::Tensor weight_grad = paddle::full(weight.shape(), 0.0, weight.dtype(), weight.place());
  const float *from = x.data<float>(), *w = weight.data<float>(), *g = grad.data<float>();
  float *to = x_grad.data<float>(), *w_to = weight_grad.data<float>();
#pragma omp parallel
  {
    Workspace work(s);
#pragma omp for
    for (int64_t c = 0; c < channels; ++c) {  // one thread per channel, images in order: reproducible bits
      for (int64_t b = 0; b < batch; ++b) {
        const int64_t i = b * channels + c;
        backward_map(s, from + i * s.height * s.width, w + c * s.taps, g + i * s.out_height * s.out_width,
                     to + i * s.height * s.width, w_to + c * s.taps, &work);
      }
    }
  }
  return {x_grad, weight_grad};
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

// out = x * normal(x). With `grad`, the gradient of the output, it writes the gradient of x instead.
FOR_EACH_PROCESSOR
void gelu(const float* x, const float* grad, float* out, int64_t count) {
  for (int64_t i = 0; i < count; i += kLane) {
    const Lane value = some(x + i, count - i);
    Lane below, density;
    normal(value, &below, &density);
    keep(out + i, grad ? some(grad + i, count - i) * (below + value * density) : value * below, count - i);
  }
}

constexpr int64_t kChunk = 1 << 14;  // numbers per task of a thread

void gelu_of_chunks(const paddle::Tensor& x, const float* grad, paddle::Tensor* out) {
  const float* from = x.data<float>();
  float* to = out->data<float>();
  const int64_t count = x.numel();
#pragma omp parallel for
  for (int64_t i = 0; i < count; i += kChunk) {
    gelu(from + i, grad ? grad + i : nullptr, to + i, std::min(kChunk, count - i));
  }
}

std::vector<paddle::Tensor> GeluForward(const paddle::Tensor& input) {
  const paddle::Tensor x = input.contiguous();
  paddle::Tensor out = paddle::empty(x.shape(), x.dtype(), x.place());
  gelu_of_chunks(x, nullptr, &out);
  return {out};
}

std::vector<paddle::Tensor> GeluBackward(const paddle::Tensor& input, const paddle::Tensor& gradient) {
  const paddle::Tensor x = input.contiguous(), grad = gradient.contiguous();
  paddle::Tensor out = paddle::empty(x.shape(), x.dtype(), x.place());
  gelu_of_chunks(x, grad.data<float>(), &out);
  return {out};
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
  paddle::Tensor x_grad = paddle::empty(x.shape(), x.dtype(), x.place());
  paddle::Tensor weight_grad = paddle::empty({channels}, x.dtype(), x.place());
  paddle::Tensor bias_grad = paddle::empty({channels}, x.dtype(), x.place());
  const float *from = x.data<float>(), *g = grad.data<float>(), *w = weight.data<float>();
  const float *m = mean.data<float>(), *f = factor.data<float>();
  float* to = x_grad.data<float>();
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
    weight_grad.data<float>()[c] = of[0];
    bias_grad.data<float>()[c] = of[1];
  }
  return {x_grad, weight_grad, bias_grad};
}

std::vector<std::vector<int64_t>> DepthwiseShape(const std::vector<int64_t>& x, const std::vector<int64_t>& weight, int stride_h,
                                                 int stride_w, int top, int bottom, int left, int right) {
  return {{x[0], x[1], (x[2] + top + bottom - weight[2]) / stride_h + 1, (x[3] + left + right - weight[3]) / stride_w + 1}};
}

std::vector<paddle::DataType> DepthwiseType(const paddle::DataType& x, const paddle::DataType&) { return {x}; }

std::vector<std::vector<int64_t>> DynamicReLUShape(const std::vector<int64_t>& x, const std::vector<int64_t>&) { return {x}; }

PD_BUILD_OP(mobile_backbones_depthwise)
    .Inputs({"X", "Weight"})
    .Outputs({"Out"})
    .Attrs({"stride_h: int", "stride_w: int", "top: int", "bottom: int", "left: int", "right: int"})
    .SetKernelFn(PD_KERNEL(DepthwiseForward))
    .SetInferShapeFn(PD_INFER_SHAPE(DepthwiseShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(DepthwiseType));

PD_BUILD_GRAD_OP(mobile_backbones_depthwise)
    .Inputs({"X", "Weight", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight")})
    .Attrs({"stride_h: int", "stride_w: int", "top: int", "bottom: int", "left: int", "right: int"})
    .SetKernelFn(PD_KERNEL(DepthwiseBackward));

PD_BUILD_OP(mobile_backbones_dynamic_relu)
    .Inputs({"X", "Lines"})
    .Outputs({"Out"})
    .SetKernelFn(PD_KERNEL(DynamicReLUForward))
    .SetInferShapeFn(PD_INFER_SHAPE(DynamicReLUShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(DepthwiseType));

PD_BUILD_GRAD_OP(mobile_backbones_dynamic_relu)
    .Inputs({"X", "Lines", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Lines")})
    .SetKernelFn(PD_KERNEL(DynamicReLUBackward));

std::vector<std::vector<int64_t>> GeluShape(const std::vector<int64_t>& x) { return {x}; }

std::vector<paddle::DataType> GeluType(const paddle::DataType& x) { return {x}; }

PD_BUILD_OP(mobile_backbones_gelu)
    .Inputs({"X"})
    .Outputs({"Out"})
    .SetKernelFn(PD_KERNEL(GeluForward))
    .SetInferShapeFn(PD_INFER_SHAPE(GeluShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(GeluType));

PD_BUILD_GRAD_OP(mobile_backbones_gelu)
    .Inputs({"X", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X")})
    .SetKernelFn(PD_KERNEL(GeluBackward));

std::vector<std::vector<int64_t>> ChannelNormShape(const std::vector<int64_t>& x, const std::vector<int64_t>&,
                                                   const std::vector<int64_t>&, float) {
  return {x, {x[0], x[2] * x[3]}, {x[0], x[2] * x[3]}};
}

std::vector<paddle::DataType> ChannelNormType(const paddle::DataType& x, const paddle::DataType&, const paddle::DataType&) {
  return {x, x, x};
}

PD_BUILD_OP(mobile_backbones_channel_norm)
    .Inputs({"X", "Weight", "Bias"})
    .Outputs({"Out", "Mean", "Factor"})
    .Attrs({"epsilon: float"})
    .SetKernelFn(PD_KERNEL(ChannelNormForward))
    .SetInferShapeFn(PD_INFER_SHAPE(ChannelNormShape))
    .SetInferDtypeFn(PD_INFER_DTYPE(ChannelNormType));

PD_BUILD_GRAD_OP(mobile_backbones_channel_norm)
    .Inputs({"X", "Weight", "Mean", "Factor", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight"), paddle::Grad("Bias")})
    .Attrs({"epsilon: float"})
    .SetKernelFn(PD_KERNEL(ChannelNormBackward));
