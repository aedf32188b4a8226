// `InnerLoop.unroll` at the learned rate: what inner_loop.py, monitor.py, meta_optimizer.py and directions/ say in
// PyTorch, with the steps of a task one after another, so that its points and weights stay in the core's nearest caches.
#include "gradient.cpp"

constexpr float LOG_LIMIT = 30.0f, LOG_SCALE_LIMIT = 20.0f;

// The states of all runs, which the steps overwrite; `own` are the direction's.
struct State {
    float *params, *theta, *base_lr, *log_scale, *memory, *num_steps, *fast, *slow, *noise, *own[6];
};
// What each step of each run tells.
struct Info {
    float *loss, *grad_norm, *weight_norm, *lr;
};
// A meta-optimizer; `inputs` are places in the list of what it could be told.
struct Network {
    int hidden, num_inputs, num_memories, num_theta;
    const int* inputs;
    const float *centre, *spread, *memory_decay;
    float bound;
};
enum Direction { GRADIENT, MOMENTUM, ADAM, LAYER_RATES };
struct Rule {
    Network of_rate, of_layer;
    float fast_decay, slow_decay, layer_decay;  // of running averages
    Direction direction;
    float decay, square_decay, eps;
    const int* layers;  // weights of each
    int num_layers;
    float scale_limit;
};

static float clamp(float value, float limit) {  // nan stays
    return value < -limit ? -limit : value > limit ? limit : value;
}

static float bounded_log(float value) {
    const float log = std::log(value);
    return std::isnan(log) ? LOG_LIMIT : clamp(log, LOG_LIMIT);
}

static float norm(const float* at, int count) {
    constexpr int ABREAST = 4;
    Lane sums[ABREAST] = {};
    int i = 0;
    for (; i + ABREAST * LANES <= count; i += ABREAST * LANES)
        for (int s = 0; s < ABREAST; ++s) sums[s] += lane(at + i + s * LANES) * lane(at + i + s * LANES);
    float sum = total(sums[0] + sums[1] + (sums[2] + sums[3]));
    for (; i < count; ++i) sum += at[i] * at[i];
    return std::sqrt(sum);
}

// moves an average towards a value, as torch.lerp does, and returns how far the value lies above it
static float follow(float& average, float value, float share) {
    const float above = value - average;
    average = share < 0.5f ? average + share * above : value - above * (1.0f - share);
    return value - average;
}

static float dot(const float* row, const std::vector<float>& values) {
    float sum = 0.0f;
    for (size_t i = 0; i < values.size(); ++i) sum += row[i] * values[i];
    return sum;
}

// The change of a log scale that a meta-optimizer wants, once it has seen what it is `told`.
static float propose(const Network& network, const float* theta, const float* told, float* memory) {
    const int width = network.num_inputs + network.num_memories, outputs = 1 + network.num_memories;
    std::vector<float> seen(width), hidden(network.hidden), out(outputs);
    for (int i = 0; i < network.num_inputs; ++i)
        seen[i] = (told[network.inputs[i]] - network.centre[i]) / network.spread[i];
    std::copy_n(memory, network.num_memories, seen.begin() + network.num_inputs);
    const float *const bias = theta + network.hidden * width, *const outer = bias + network.hidden;
    const float *const linear = outer + outputs * network.hidden, *const offset = linear + outputs * width;
    for (int h = 0; h < network.hidden; ++h) hidden[h] = std::tanh(dot(theta + h * width, seen) + bias[h]);
    for (int o = 0; o < outputs; ++o)
        out[o] = dot(outer + o * network.hidden, hidden) + dot(linear + o * width, seen) + offset[o];
    for (int m = 0; m < network.num_memories; ++m) {
        const float decay = network.memory_decay[m];
        memory[m] = decay * memory[m] + (1.0f - decay) * std::tanh(out[1 + m]);
    }
    return network.bound * std::tanh(out[0] / network.bound);
}

// The monitor, then the meta-optimizer, of one run: what it sees of this step in, the rate out.
static float watch(const State& state, const Rule& rule, int64_t run, float loss, float grad_norm, float weight_norm) {
    const float log_loss = bounded_log(loss), log_grad = bounded_log(grad_norm);
    const float share = 1.0f / (state.num_steps[run] += 1.0f);
    const float of_fast = std::max(share, 1.0f - rule.fast_decay), of_slow = std::max(share, 1.0f - rule.slow_decay);
    const float fast_trend = follow(state.fast[2 * run], log_loss, of_fast);
    const float grad_trend = follow(state.fast[2 * run + 1], log_grad, of_fast);
    const float slow_trend = follow(state.slow[run], log_loss, of_slow);
    follow(state.noise[run], std::abs(fast_trend), of_fast);
    float& log_scale = state.log_scale[run];
    const float told[] = {
        std::log(state.base_lr[run]) + log_scale,
        log_loss,
        log_grad,
        bounded_log(weight_norm),
        fast_trend,
        slow_trend,
        grad_trend,
        state.noise[run]
    };
    const Network& network = rule.of_rate;
    const float change =
        propose(network, state.theta + run * network.num_theta, told, state.memory + run * network.num_memories);
    log_scale = clamp(log_scale + change, LOG_SCALE_LIMIT);
    return state.base_lr[run] * std::exp(log_scale);
}

// Moves the weights of one run, each layer at a rate of its own.
static void move_layers(
    const State& state, const Rule& rule, int64_t run, float* weights, const float* grad, float lr
) {
    const Network& network = rule.of_layer;
    const float share = std::max(1.0f / (state.own[4][run] += 1.0f), 1.0f - rule.layer_decay);
    for (int64_t l = 0, part = run * rule.num_layers; l < rule.num_layers; ++l, ++part) {
        const int count = rule.layers[l];
        float& log_scale = state.own[1][part];
        const float log_grad = bounded_log(norm(grad, count)), log_weight = bounded_log(norm(weights, count));
        const float trend = follow(state.own[3][part], log_grad, share);
        const float told[] = {log_scale, 0.0f, log_grad, log_weight, 0.0f, 0.0f, trend};  // as in `watch`
        const float change =
            propose(network, state.own[0] + run * network.num_theta, told, state.own[2] + part * network.num_memories);
        log_scale = clamp(log_scale + change, rule.scale_limit);
        const float rate = lr * std::exp(log_scale);
        for (int i = 0; i < count; ++i) weights[i] -= rate * grad[i];
        weights += count;
        grad += count;
    }
}

// Moves the weights of one run along its direction.
static void move(
    const State& state, const Rule& rule, int64_t run, float* weights, const float* grad, float lr, int count
) {
    float *const mean = state.own[0] + run * count, *const square = state.own[1] + run * count;
    if (rule.direction == LAYER_RATES) return move_layers(state, rule, run, weights, grad, lr);
    if (rule.direction == GRADIENT)
        for (int i = 0; i < count; ++i) weights[i] -= lr * grad[i];
    else if (rule.direction == MOMENTUM)
        for (int i = 0; i < count; ++i) weights[i] -= lr * (mean[i] = rule.decay * mean[i] + grad[i]);
    else {
        const float steps = state.own[2][run] += 1.0f;
        const float whole = 1.0f - std::pow(rule.decay, steps);
        const float whole_square = 1.0f - std::pow(rule.square_decay, steps);
        for (int i = 0; i < count; ++i) {
            mean[i] += (1.0f - rule.decay) * (grad[i] - mean[i]);
            square[i] = rule.square_decay * square[i] + (1.0f - rule.square_decay) * grad[i] * grad[i];
            weights[i] -= lr * (mean[i] / whole / (std::sqrt(square[i] / whole_square) + rule.eps));
        }
    }
}

// Run i meets the points of task i % tasks: at each step, the rows of `table` that `order` (tasks, steps, batch) names.
extern "C" void unroll(
    const State* state, const Info* info, const Rule* rule, const int* widths, int num_widths, int runs, int tasks,
    int steps, int batch, const float* table, const int64_t* order
) {
    const std::vector<int> sizes(widths, widths + num_widths);
    const int features = sizes.front(), classes = sizes.back(), columns = features + classes;
    const int n = (batch + LANES - 1) / LANES * LANES, widest = *std::max_element(sizes.begin(), sizes.end());
    int num_params = 0, units = features;
    for (int l = 1; l < num_widths; ++l) num_params += (sizes[l - 1] + 1) * sizes[l], units += sizes[l];
    std::vector<float> grad(num_params), memory((units + classes + 2 * widest) * n + LANES);
    float* const room = memory.data() + LANES - reinterpret_cast<uintptr_t>(memory.data()) / 4 % LANES;
    float *const truth = room + units * n, *const delta = truth + classes * n, *const next = delta + widest * n;
    for (int task = 0; task < tasks; ++task)
        for (int step = 0; step < steps; ++step, order += batch) {
            for (int b = 0; b < batch; ++b) {
                const float* const point = table + order[b] * columns;
                for (int i = 0; i < features; ++i) room[i * n + b] = point[i];
                for (int k = 0; k < classes; ++k) truth[k * n + b] = point[features + k];
            }
            for (int64_t run = task; run < runs; run += tasks) {
                float* const weights = state->params + run * num_params;
                const float loss = one_run(weights, grad.data(), sizes, room, truth, delta, next, batch, n);
                const float grad_norm = norm(grad.data(), num_params), weight_norm = norm(weights, num_params);
                const float lr = watch(*state, *rule, run, loss, grad_norm, weight_norm);
                move(*state, *rule, run, weights, grad.data(), lr, num_params);
                const int64_t place = run * steps + step;
                info->loss[place] = loss;
                info->grad_norm[place] = grad_norm;
                info->weight_norm[place] = weight_norm;
                info->lr[place] = lr;
            }
        }
}
