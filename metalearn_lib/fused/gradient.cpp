// Cross-entropy of an MLP with rectifiers or hyperbolic tangents, and its gradient: `loss_and_grad` of learners.py's MLP a task at a time, so
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
constexpr int BLOCK = 128;  // points that a loss without a gradient takes at a time
typedef float Lane __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int Whole __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
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

// exp(x) for x of at most 88, to a unit or two in the last place: 2^k e^r, with e^r by Cephes' polynomial (Moshier 1989)
static inline Lane exp_of(Lane x) {
    x = x < -87.0f ? Lane{} - 87.0f : x;
    const Lane shifted = x * 1.44269504f + 12582912.0f;  // adding 1.5 * 2^23 rounds to a whole number
    const Lane k = shifted - 12582912.0f;
    const Lane r = x - k * 0.693359375f + k * 2.12194440e-4f;
    Lane series = 1.9875691500e-4f * r + 1.3981999507e-3f;
    series = series * r + 8.3334519073e-3f;
    series = series * r + 4.1665795894e-2f;
    series = series * r + 1.6666665459e-1f;
    series = series * r + 5.0000001201e-1f;
    series = series * r * r + r + 1.0f;
    return series * reinterpret_cast<Lane>((reinterpret_cast<Whole>(shifted) - 0x4B400000 + 127) << 23);
}

// tanh(x), to a few units in the last place of 1
static inline Lane tanh_of(Lane x) {
    x = x > 9.0f ? Lane{} + 9.0f : x;  // 1, to rounding
    x = x < -9.0f ? Lane{} - 9.0f : x;
    return 1.0f - 2.0f / (exp_of(x + x) + 1.0f);
}

enum Activation : int { NONE, RECTIFIER, TANGENT, ACTIVATIONS };
// What becomes of a sum before it is written: a layer's activation, or, where it is a slope, its product with that of the
// activation whose values are at `gate`.
struct End {
    Activation activation;
    const float* gate;
    End at(int offset) const { return {activation, gate ? gate + offset : nullptr}; }
};

// out = bias + matrix in, for R rows and C registers of each
template <int R, int C>
static inline void tile(float* out, Matrix matrix, const float* bias, const float* in, int terms, int n, End end) {
    Lane sum[R][C];
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) sum[r][c] = Lane{} + (bias ? bias[r] : 0.0f);
    for (int k = 0; k < terms; ++k)
        for (int c = 0; c < C; ++c) {
            const Lane value = lane(in + k * n + c * LANES);
            for (int r = 0; r < R; ++r) sum[r][c] += matrix.at[r * matrix.down + k * matrix.across] * value;
        }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) {
            const int place = r * n + c * LANES;
            Lane value = sum[r][c];
            if (end.gate) {
                const Lane active = lane(end.gate + place);
                if (end.activation == RECTIFIER) value = active <= 0.0f ? Lane{} : value;
                else value *= 1.0f - active * active;
            } else if (end.activation == RECTIFIER) value = value < 0.0f ? Lane{} : value;
            else if (end.activation == TANGENT) value = tanh_of(value);
            lane(out + place) = value;
        }
}

template <int C>
static inline void band(
    float* out, Matrix matrix, const float* bias, const float* in, int rows, int terms, int n, End end
) {
    int r = 0;
    for (; r + ROWS <= rows; r += ROWS, matrix.at += ROWS * matrix.down)
        tile<ROWS, C>(out + r * n, matrix, bias ? bias + r : nullptr, in, terms, n, end.at(r * n));
    for (; r < rows; ++r, matrix.at += matrix.down)
        tile<1, C>(out + r * n, matrix, bias ? bias + r : nullptr, in, terms, n, end.at(r * n));
}

static void product(
    float* out, Matrix matrix, const float* bias, const float* in, int rows, int terms, int n, End end
) {
    int c = 0;
    for (; c + WIDE * LANES <= n; c += WIDE * LANES)
        band<WIDE>(out + c, matrix, bias, in + c, rows, terms, n, end.at(c));
    for (; c < n; c += LANES) band<1>(out + c, matrix, bias, in + c, rows, terms, n, end.at(c));
}

// Folds groups of 2 * width lanes upon themselves: of each, the first half is then `one`'s, the second `other`'s.
template <int width>
static inline Lane fold(const Lane& one, const Lane& other) {
    Whole same{}, across{};
    for (int l = 0; l < LANES; ++l) {
        same[l] = l / width % 2 ? LANES + l : l;
        across[l] = l / width % 2 ? LANES + l - width : l + width;
    }
    return __builtin_shuffle(one, other, same) + __builtin_shuffle(one, other, across);
}

// The totals of as many registers as a register has lanes: lane l is that of sums[mirrored(l)]. `sums` is lost.
template <int width = LANES / 2>
static inline Lane totals(Lane* sums) {
    for (int s = 0; s < width; ++s) sums[s] = fold<width>(sums[2 * s], sums[2 * s + 1]);
    if constexpr (width > 1) return totals<width / 2>(sums);
    else return sums[0];
}

// l with its bits in reverse
constexpr int mirrored(int l) {
    int mirror = 0;
    for (int bit = 1; bit < LANES; bit *= 2) mirror = 2 * mirror + (l & bit ? 1 : 0);
    return mirror;
}

// out[r * columns + c] = row r of left times row c of right, for R by C of them
template <int R, int C>
static inline void dots(float* out, const float* left, const float* right, int columns, int n) {
    constexpr bool together = R * C == LANES;
    Lane sum[R][C] = {};
    for (int b = 0; b < n; b += LANES)
        for (int c = 0; c < C; ++c)
            for (int r = 0; r < R; ++r) sum[r][c] += lane(left + r * n + b) * lane(right + c * n + b);
    Lane all{};
    if constexpr (together) {
        Lane mirror[LANES];
        for (int l = 0; l < R * C; ++l) mirror[mirrored(l)] = sum[l / C][l % C];
        all = totals(mirror);
    }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) out[r * columns + c] = together ? all[r * C + c] : total(sum[r][c]);
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

// log(x) for x of at least 1: e log 2 + log m, with log m by Cephes' polynomial
static inline Lane log_of(Lane x) {
    const Whole bits = reinterpret_cast<Whole>(x);
    Lane m = reinterpret_cast<Lane>((bits & 0x007FFFFF) | 0x3F000000);
    Lane e = __builtin_convertvector((bits >> 23) - 126, Lane);
    e = m < 0.707106781f ? e - 1.0f : e;
    m = m < 0.707106781f ? m + m - 1.0f : m - 1.0f;
    Lane series = 7.0376836292e-2f * m - 1.1514610310e-1f;
    series = series * m + 1.1676998740e-1f;
    series = series * m - 1.2420140846e-1f;
    series = series * m + 1.4249322787e-1f;
    series = series * m - 1.6668057665e-1f;
    series = series * m + 2.0000714765e-1f;
    series = series * m - 2.4999993993e-1f;
    series = series * m + 3.3333331174e-1f;
    const Lane square = m * m;
    return m + (series * m * square - 2.12194440e-4f * e - 0.5f * square) + 0.693359375f * e + (x - x);  // nan stays
}

// the loss at scores, both `classes` rows; what `delta` holds then is the loss' derivative by the scores
static float cross_entropy(float* delta, const float* scores, const float* truth, int classes, int batch, int n) {
    Lane sum{};
    for (int b = 0; b < n; b += LANES) {
        Lane most = lane(scores + b), mass{}, right{}, share{};
        Whole here{};  // -1 for points, 0 for what fills up the last register
        for (int l = 0; l < LANES; ++l) here[l] = -(b + l < batch);
        for (int k = 1; k < classes; ++k) {
            const Lane score = lane(scores + k * n + b);
            most = most < score ? score : most;
        }
        for (int k = 0; k < classes; ++k) {
            const Lane above = lane(scores + k * n + b) - most, part = exp_of(above);
            mass += lane(delta + k * n + b) = part;
            right += lane(truth + k * n + b) * above;
            share += lane(truth + k * n + b);
        }
        sum += here ? share * log_of(mass) - right : Lane{};
        for (int k = 0; k < classes; ++k) {
            Lane& slope = lane(delta + k * n + b);
            slope = here ? (slope / mass - lane(truth + k * n + b)) / static_cast<float>(batch) : Lane{};
        }
    }
    return total(sum) / batch;
}

// What a network of these widths needs.
struct Extent {
    int64_t params, units, widest;
    int n;
};

static Extent extent_of(const std::vector<int>& sizes, int batch) {
    Extent extent{0, 0, *std::max_element(sizes.begin(), sizes.end()), (batch + LANES - 1) / LANES * LANES};
    for (size_t l = 0; l < sizes.size(); ++l) {
        extent.units += sizes[l];
        if (l) extent.params += static_cast<int64_t>(sizes[l - 1] + 1) * sizes[l];
    }
    return extent;
}

// Why these counts cannot be, or nothing: what is let pass here is read and written within what it names.
static const char* refusal_of(
    const int* widths, int num_widths, int activation, int runs, int tasks, int batch, int64_t features,
    int64_t classes, int64_t num_params
) {
    constexpr int MOST = 1 << 14;  // so that every offset is an int
    if (num_widths < 2 || std::any_of(widths, widths + num_widths, [](int width) { return width < 1; }))
        return "a network has two widths or more, each of 1 or more";
    if (activation <= NONE || activation >= ACTIVATIONS) return "there is no such activation";
    if (tasks < 1 || runs < 1 || batch < 1 || runs % tasks) return "each task has as many runs, and 1 point or more";
    if (features != widths[0] || classes != widths[num_widths - 1])
        return "the points have another number of features or classes than the network";
    if (num_widths > MOST || batch > MOST || *std::max_element(widths, widths + num_widths) > MOST)
        return "a width, or the number of points, is above 16,384";
    const Extent extent = extent_of({widths, widths + num_widths}, batch);
    if (num_params != extent.params) return "the weights are not as many as the network has";
    if (extent.params > INT32_MAX || (extent.units + classes + 2 * extent.widest) * extent.n > INT32_MAX)
        return "the network is too large for its offsets";
    return nullptr;
}

// One run of `loss_and_grad` below. `room` begins with the inputs; then come the outputs of each layer.
static float one_run(
    const float* params, float* grad, const std::vector<int>& sizes, Activation activation, float* room,
    const float* truth, float* delta, float* next, int batch, int n
) {
    const int layers = static_cast<int>(sizes.size()) - 1;
    const float* weights = params;
    float* entering = room;
    for (int l = 0; l < layers; ++l) {
        const int in = sizes[l], out = sizes[l + 1];
        float* leaving = entering + in * n;
        product(
            leaving, {weights, in, 1}, weights + in * out, entering, out, in, n,
            {l + 1 < layers ? activation : NONE, nullptr}
        );
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
            product(next, {weights, 1, in}, nullptr, delta, in, out, n, {activation, entering});
            std::swap(delta, next);
        }
    }
    return loss;
}

// Of every run: the loss, and the gradient beside params, both `runs` rows; run i meets the points of task i % tasks.
// Strides are in floats. Without a place for the gradient there is none. Returns why it refuses, or nothing.
extern "C" const char* loss_and_grad(
    const float* params, int64_t num_params, float* grad, float* loss, const int* widths, int num_widths,
    int activation, int runs, int tasks, int batch, int features, int classes, const float* x, int64_t x_task,
    int64_t x_point, const float* target, int64_t target_task, int64_t target_point
) {
    const int most = grad ? batch : std::min(batch, BLOCK);
    const char* const refusal =
        refusal_of(widths, num_widths, activation, runs, tasks, most, features, classes, num_params);
    if (refusal) return refusal;
    const std::vector<int> sizes(widths, widths + num_widths);
    const Extent extent = extent_of(sizes, most);
    const int n = extent.n;
    std::vector<float> memory((extent.units + classes + 2 * extent.widest) * n + LANES);
    float* const room = memory.data() + LANES - reinterpret_cast<uintptr_t>(memory.data()) / 4 % LANES;
    float *const truth = room + extent.units * n, *const delta = truth + classes * n;
    std::fill(loss, loss + runs, 0.0f);
    for (int task = 0; task < tasks; ++task)
        for (int first = 0; first < batch; first += most) {
            const int count = std::min(most, batch - first);
            for (int b = 0; b < count; ++b) {
                const float* const point = x + task * x_task + (first + b) * x_point;
                const float* const right = target + task * target_task + (first + b) * target_point;
                for (int i = 0; i < features; ++i) room[i * n + b] = point[i];
                for (int k = 0; k < classes; ++k) truth[k * n + b] = right[k];
            }
            for (int run = task; run < runs; run += tasks) {
                const float mean = one_run(
                    params + run * num_params, grad ? grad + run * num_params : nullptr, sizes,
                    static_cast<Activation>(activation), room, truth, delta, delta + extent.widest * n, count, n
                );
                loss[run] += mean * count / batch;
            }
        }
    return nullptr;
}
