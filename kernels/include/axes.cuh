// Which taps meet which pixels, along one axis of a convolution's corners y and x (see conv.cu).
#pragma once
#include "minidl.cuh"

// Along one axis, tap m of the r-th row's pixel reads   start + r * stride + m * step   of the source.
struct Axis {
    int rows, taps, size;     // pixels to compute; taps that may hit; pixels of the source
    int start, stride, step;
    int first_pixel, pixel_step;  // the r-th pixel lies at first_pixel + r * pixel_step of the result
    int first_tap, tap_step;      // tap m is tap first_tap + m * tap_step of the window
};

__device__ inline Axis axis_y(int I, int K, int H, int stride, int padding, int dilation) {
    return {I, K, H, -padding, stride, dilation, 0, 1, 0, 1};
}

// Pixel h = phase + r * stride meets the taps k with   (h + padding - k * dilation) mod stride = 0,
// each at window i = (h + padding - k * dilation) / stride. If k is one, the next is a fixed step on.
__device__ inline Axis axis_x(int H, int K, int I, int stride, int padding, int dilation, int phase) {
    const int rows = ceil_div(H - phase, stride), shift = phase + padding;
    int first = 0;
    while (first < K && (shift - first * dilation) % stride != 0) first++;
    if (first == K) return {rows, 1, I, -rows, 1, 0, phase, stride, 0, 1};  // none hits: one, always outside
    int next = first + 1;
    while (next < K && (shift - next * dilation) % stride != 0) next++;
    const int tap_step = next - first, taps = ceil_div(K - first, tap_step);
    const int start = (shift - first * dilation) / stride, step = tap_step * dilation / stride;
    return {rows, taps, I, start, 1, -step, phase, stride, first, tap_step};
}
