// The weights and biases of a norm (see norm.cu), and which of them belongs to which place of x.
#pragma once
#include "minidl.cuh"

// Along the memory of x each weight is that of `inner` neighbours, and all `weights` of them take turns.
struct Turns {
    int inner, weights;
};

__device__ inline int turn_of(const Turns& turns, int place) { return place / turns.inner % turns.weights; }
