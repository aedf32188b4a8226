// Cross-entropy of an MLP with rectifiers, and its gradient: `loss_and_grad` of learners.py's MLP a task at a time, so
// that all of a task stays in the core's nearest cache. Arrays are tables with a row for each unit and a column for each
// point; a row is `n` floats long, the batch rounded up to whole registers.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#ifdef __AVX512F__
constexpr int LANES = 16, WIDE = 4;  // floats in a register; registers of a row that are worked on together
#else
constexpr int LANES = 8, WIDE = 2;
#endif
constexpr int ROWS = 4;
typedef float Lane __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float Quad __attribute__((vector_size(16), aligned(4), may_alias));

static inline Lane& lane(float* at) { return *reinterpret_cast<Lane*>(at); }
static inline const Lane& lane(const float* at) { return *reinterpret_cast<const Lane*>(at); }

static inline float total(const Lane& lanes) {
    const Quad* quads = reinterpret_cast<const Quad*>(&lanes);
    Quad sum = quads[0];
    for (int q = 1; q < LANES / 4; ++q) sum += quads[q];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// A matrix whose element (row, column) lies at at[row * down + column * across].
struct Matrix {
    const float* at;
    int down, across;
};

// out = bias + matrix in, for R rows and C registers of each
template <int R, int C>
static inline void tile(float* out, Matrix matrix, const float* bias, const float* in, int terms, int n) {
    Lane sum[R][C];
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) sum[r][c] = Lane{} + (bias ? bias[r] : 0.0f);
    for (int k = 0; k < terms; ++k)
        for (int c = 0; c < C; ++c) {
            const Lane value = lane(in + k * n + c * LANES);
            for (int r = 0; r < R; ++r) sum[r][c] += matrix.at[r * matrix.down + k * matrix.across] * value;
        }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) lane(out + r * n + c * LANES) = sum[r][c];
}

template <int C>
static inline void band(float* out, Matrix matrix, const float* bias, const float* in, int rows, int terms, int n) {
    int r = 0;
    for (; r + ROWS <= rows; r += ROWS, matrix.at += ROWS * matrix.down)
        tile<ROWS, C>(out + r * n, matrix, bias ? bias + r : nullptr, in, terms, n);
    for (; r < rows; ++r, matrix.at += matrix.down)
        tile<1, C>(out + r * n, matrix, bias ? bias + r : nullptr, in, terms, n);
}

static void product(float* out, Matrix matrix, const float* bias, const float* in, int rows, int terms, int n) {
    int c = 0;
    for (; c + WIDE * LANES <= n; c += WIDE * LANES) band<WIDE>(out + c, matrix, bias, in + c, rows, terms, n);
    for (; c < n; c += LANES) band<1>(out + c, matrix, bias, in + c, rows, terms, n);
}

// out[r * columns + c] = row r of left times row c of right, for R by C of them
template <int R, int C>
static inline void dots(float* out, const float* left, const float* right, int columns, int n) {
    Lane sum[R][C] = {};
    for (int b = 0; b < n; b += LANES)
        for (int c = 0; c < C; ++c)
            for (int r = 0; r < R; ++r) sum[r][c] += lane(left + r * n + b) * lane(right + c * n + b);
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) out[r * columns + c] = total(sum[r][c]);
}

template <int R>
static inline void row_of_dots(float* out, const float* left, const float* right, int columns, int n) {
    int c = 0;
    for (; c + WIDE <= columns; c += WIDE) dots<R, WIDE>(out + c, left, right + c * n, columns, n);
    for (; c < columns; ++c) dots<R, 1>(out + c, left, right + c * n, columns, n);
}

static void outer_product(float* out, const float* left, const float* right, int rows, int columns, int n) {
    int r = 0;
    for (; r + ROWS <= rows; r += ROWS) row_of_dots<ROWS>(out + r * columns, left + r * n, right, columns, n);
    for (; r < rows; ++r) row_of_dots<1>(out + r * columns, left + r * n, right, columns, n);
}

// the loss at scores, both `classes` rows; what `delta` holds then is the loss' derivative by the scores
static float cross_entropy(float* delta, const float* scores, const float* truth, int classes, int batch, int n) {
    double sum = 0;
    for (int b = 0; b < n; ++b) {
        float most = scores[b], mass = 0, right = 0, share = 0;
        for (int k = 1; k < classes; ++k) most = std::max(most, scores[k * n + b]);
        for (int k = 0; k < classes; ++k) {
            const float above = scores[k * n + b] - most;
            mass += delta[k * n + b] = std::exp(above);
            right += truth[k * n + b] * above;
            share += truth[k * n + b];
        }
        if (b < batch) sum += share * std::log(mass) - right;
        for (int k = 0; k < classes; ++k)
            delta[k * n + b] = b < batch ? (delta[k * n + b] / mass - truth[k * n + b]) / batch : 0;
    }
    return static_cast<float>(sum / batch);
}

// One task of `loss_and_grad` below. `room` begins with the inputs; then come the outputs of each layer.
static float one_task(
    const float* params, float* grad, const std::vector<int>& sizes, float* room, const float* truth, float* delta,
    float* next, int batch, int n
) {
    const int layers = static_cast<int>(sizes.size()) - 1;
    const float* weights = params;
    float* entering = room;
    for (int l = 0; l < layers; ++l) {
        const int in = sizes[l], out = sizes[l + 1];
        float* leaving = entering + in * n;
        product(leaving, {weights, in, 1}, weights + in * out, entering, out, in, n);
        if (l + 1 < layers)
            for (int k = 0; k < out * n; ++k) leaving[k] = leaving[k] < 0 ? 0 : leaving[k];
        weights += (in + 1) * out;
        entering = leaving;
    }
    const float loss = cross_entropy(delta, entering, truth, sizes[layers], batch, n);
    if (!grad) return loss;
    grad += weights - params;
    for (int l = layers - 1; l >= 0; --l) {
        const int in = sizes[l], out = sizes[l + 1];
        weights -= (in + 1) * out;
        grad -= (in + 1) * out;
        entering -= in * n;
        outer_product(grad, delta, entering, out, in, n);
        for (int o = 0; o < out; ++o) {
            Lane sum{};
            for (int b = 0; b < n; b += LANES) sum += lane(delta + o * n + b);
            grad[in * out + o] = total(sum);
        }
        if (l) {
            product(next, {weights, 1, in}, nullptr, delta, in, out, n);
            for (int k = 0; k < in * n; ++k) next[k] = entering[k] <= 0 ? 0 : next[k];
            std::swap(delta, next);
        }
    }
    return loss;
}

// Of every task: the loss, and the gradient beside params, both `tasks` rows. Strides are in floats. Without a place for
// the gradient there is none.
extern "C" void loss_and_grad(
    const float* params, float* grad, float* loss, const int* widths, int num_widths, int tasks, int batch, const float* x,
    int64_t x_task, int64_t x_point, const float* target, int64_t target_task, int64_t target_point
) {
    const std::vector<int> sizes(widths, widths + num_widths);
    const int n = (batch + LANES - 1) / LANES * LANES, features = sizes.front(), classes = sizes.back();
    int64_t num_params = 0, units = 0;
    for (int l = 0; l < num_widths; ++l) {
        units += sizes[l];
        if (l) num_params += (sizes[l - 1] + 1) * sizes[l];
    }
    const int widest = *std::max_element(sizes.begin(), sizes.end());
    std::vector<float> memory((units + classes + 2 * widest) * n + LANES);
    float* const room = memory.data() + LANES - reinterpret_cast<uintptr_t>(memory.data()) / 4 % LANES;
    float *const truth = room + units * n, *const delta = truth + classes * n;
    for (int task = 0; task < tasks; ++task) {
        for (int b = 0; b < batch; ++b) {
            for (int i = 0; i < features; ++i) room[i * n + b] = x[task * x_task + b * x_point + i];
            for (int k = 0; k < classes; ++k) truth[k * n + b] = target[task * target_task + b * target_point + k];
        }
        loss[task] = one_task(
            params + task * num_params, grad ? grad + task * num_params : nullptr, sizes, room, truth, delta, delta + widest * n, batch, n
        );
    }
}
