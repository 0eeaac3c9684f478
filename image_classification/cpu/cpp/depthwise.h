// Depthwise convolution.
//
// It copies each map once into a frame that includes the padding. The whole frame is then one long
// vector: output i is the weighted sum of the elements i + offset, with one offset per tap of the kernel. Outputs that fall
// between the rows are dropped. With a stride of s, the frame is split into s * s frames, one for each remainder of row and
// column, so that the pixels needed by neighbouring outputs are adjacent.
#pragma once
#include "lanes.h"

namespace {

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

std::vector<std::vector<int64_t>> DepthwiseShape(const std::vector<int64_t>& x, const std::vector<int64_t>& weight, int stride_h,
                                                 int stride_w, int top, int bottom, int left, int right) {
  return {{x[0], x[1], (x[2] + top + bottom - weight[2]) / stride_h + 1, (x[3] + left + right - weight[3]) / stride_w + 1}};
}

std::vector<paddle::DataType> DepthwiseType(const paddle::DataType& x, const paddle::DataType&) { return {x}; }

}  // namespace
