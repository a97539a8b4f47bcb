// Sliding windows, as in minidl/compute/windows.py: tap (k, l) of window (i, j) lies on the pixel
//
//     h = i * stride_h + k * dilation_h - padding_h        (and so w from j, l)
//
// and on nothing where that is outside of the image.
#pragma once

struct Windows {
    int H, W;                    // image
    int K, L;                    // window
    int I, J;                    // output
    int stride_h, stride_w;
    int padding_h, padding_w;    // above, and on the left
    int dilation_h, dilation_w;
};
