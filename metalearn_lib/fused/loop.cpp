// `InnerLoop.unroll` at a learned rate or a constant one: what inner_loop.py, monitor.py, meta_optimizer.py and
// directions/ say in PyTorch, with the steps of a task one after another, so that its points and weights stay in the
// core's nearest caches.
#include <cstring>
#include <numeric>

#include "gradient.cpp"

// Numbers that Python lends.
struct Floats {
    float* at;
    int64_t count;
};
// The states of all runs, which the steps overwrite; `own` are the direction's.
struct State {
    float *params, *theta, *base_lr, *log_scale, *memory, *num_steps, *fast, *slow, *noise, *own[7];
};
// What each step of each run tells.
struct Info {
    float *loss, *grad_norm, *weight_norm, *lr;
};
constexpr int TOLD = 8;  // what a meta-optimizer could be told, in the order of `watch`
// A meta-optimizer; `inputs` are places in that list.
struct Network {
    int hidden, num_inputs, num_memories, num_theta;
    const int* inputs;
    const float *centre, *spread, *memory_decay;
    float bound;
};
enum Direction : int { GRADIENT, MOMENTUM, ADAM, LAYER_RATES, LEARNED_UPDATE, ADAM_LAYER_RATES };
// of a learned update: averages, inputs of each weight and of each tensor, terms of its law
constexpr int MEANS = 3, SQUARES = 2, SEEN = 6, SHARED = 2, LAW = 6, CENTRES = 4;
struct Update {
    int hidden, num_theta, num_tensors;
    const int *sizes, *fans;  // weights and fan-in of each tensor
    float mean_decay[MEANS], square_decay[SQUARES], eps, largest, magnitude, smallest, grown, centre[CENTRES];
};
struct Rule {
    Network of_rate, of_layer;                  // a constant rate has no network: all is 0
    float fast_decay, slow_decay, layer_decay;  // of running averages
    float log_limit, log_scale_limit;           // logarithms and the rate's log scale are kept within
    Direction direction;
    float decay, square_decay, eps;
    const int* layers;  // weights of each
    int num_layers;
    float scale_limit;
    Update update;
};

static float clamp(float value, float limit) {  // nan stays
    return value < -limit ? -limit : value > limit ? limit : value;
}

static float bounded_log(float value, float limit) {
    const float log = std::log(value);
    return std::isnan(log) ? limit : clamp(log, limit);
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

// The monitor of one run: it moves its averages by what it sees of this step, and fills in what a meta-optimizer could
// be told.
static void see(
    const State& state, const Rule& rule, int64_t run, float loss, float grad_norm, float weight_norm, float* told
) {
    const float limit = rule.log_limit;
    const float log_loss = bounded_log(loss, limit), log_grad = bounded_log(grad_norm, limit);
    const float share = 1.0f / (state.num_steps[run] += 1.0f);
    const float of_fast = std::max(share, 1.0f - rule.fast_decay), of_slow = std::max(share, 1.0f - rule.slow_decay);
    const float fast_trend = follow(state.fast[2 * run], log_loss, of_fast);
    const float grad_trend = follow(state.fast[2 * run + 1], log_grad, of_fast);
    const float slow_trend = follow(state.slow[run], log_loss, of_slow);
    follow(state.noise[run], std::abs(fast_trend), of_fast);
    const float all[TOLD] = {
        std::log(state.base_lr[run]) + state.log_scale[run],
        log_loss,
        log_grad,
        bounded_log(weight_norm, limit),
        fast_trend,
        slow_trend,
        grad_trend,
        state.noise[run]
    };
    std::copy_n(all, TOLD, told);
}

// The meta-optimizer of one run: what it is told in, the rate out.
static float act(const State& state, const Rule& rule, int64_t run, const float* told) {
    const Network& network = rule.of_rate;
    if (!network.hidden) return state.base_lr[run];
    const float change =
        propose(network, state.theta + run * network.num_theta, told, state.memory + run * network.num_memories);
    state.log_scale[run] = clamp(state.log_scale[run] + change, rule.log_scale_limit);
    return state.base_lr[run] * std::exp(state.log_scale[run]);
}

static float watch(const State& state, const Rule& rule, int64_t run, float loss, float grad_norm, float weight_norm) {
    float told[TOLD];
    see(state, rule, run, loss, grad_norm, weight_norm, told);
    return act(state, rule, run, told);
}

// Moves the weights of one run along a direction, each layer at a rate of its own.
static void move_layers(
    const State& state, const Rule& rule, int64_t run, float* weights, const float* grad, const float* along, float lr
) {
    const Network& network = rule.of_layer;
    const float share = std::max(1.0f / (state.own[4][run] += 1.0f), 1.0f - rule.layer_decay);
    for (int64_t l = 0, part = run * rule.num_layers; l < rule.num_layers; ++l, ++part) {
        const int count = rule.layers[l];
        float& log_scale = state.own[1][part];
        const float log_grad = bounded_log(norm(grad, count), rule.log_limit);
        const float log_weight = bounded_log(norm(weights, count), rule.log_limit);
        const float trend = follow(state.own[3][part], log_grad, share);
        const float told[TOLD] = {log_scale, 0.0f, log_grad, log_weight, 0.0f, 0.0f, trend};  // as in `watch`
        const float change =
            propose(network, state.own[0] + run * network.num_theta, told, state.own[2] + part * network.num_memories);
        log_scale = clamp(log_scale + change, rule.scale_limit);
        const float rate = lr * std::exp(log_scale);
        for (int i = 0; i < count; ++i) weights[i] -= rate * along[i];
        weights += count;
        grad += count;
        along += count;
    }
}

// What is left of `values` in a register, and 0 beyond it.
static inline Lane part(const float* values, int left) {
    if (left >= LANES) return lane(values);
    float some[LANES] = {};
    std::copy_n(values, left, some);
    return lane(some);
}

static float mean_square(const float* values, int count) { return std::pow(norm(values, count), 2.0f) / count; }

// Moves the weights of one run, each by the step that its network works out: learned_update.py's LearnedUpdate.
static void move_each(
    const State& state, const Rule& rule, int64_t run, float* weights, const float* grad, float lr, int count
) {
    const Update& update = rule.update;
    const int hidden = update.hidden, width = SEEN + SHARED;
    const float *const inner = state.own[0] + run * update.num_theta, *const bias = inner + hidden * width;
    const float *const outer = bias + hidden, *const offset = outer + 2 * hidden, *const law = offset + 2;
    float *const means = state.own[1] + run * MEANS * count, *const squares = state.own[2] + run * SQUARES * count;
    const float taken = state.own[3][run] += 1.0f;
    std::vector<float> roots(SQUARES * count), steps(MEANS * count), biases(hidden);
    for (int s = 0; s < SQUARES; ++s) {
        const float decay = update.square_decay[s], full = 1.0f - std::pow(decay, taken);
        float *const square = squares + s * count, *const root = roots.data() + s * count;
        for (int i = 0; i < count; ++i) square[i] = decay * square[i] + (1.0f - decay) * grad[i] * grad[i];
        for (int i = 0; i < count; ++i) root[i] = std::sqrt(square[i] / full) + update.eps;
    }
    const float* const slowest = roots.data() + count;
    for (int m = 0; m < MEANS; ++m) {
        const float decay = update.mean_decay[m], whole = 1.0f - std::pow(decay, taken);
        float *const mean = means + m * count, *const step = steps.data() + m * count;
        for (int i = 0; i < count; ++i) mean[i] += (1.0f - decay) * (grad[i] - mean[i]);
        for (int i = 0; i < count; ++i) step[i] = mean[i] / whole / slowest[i];
    }
    for (int t = 0, start = 0; t < update.num_tensors; start += update.sizes[t++]) {
        const int size = update.sizes[t], end = start + size;
        const float noise = std::sqrt(mean_square(slowest + start, size));
        const float own = std::sqrt(mean_square(weights + start, size));
        const float fan_out = static_cast<float>(update.fans[t] ? size / update.fans[t] : size);
        float power = law[0] + law[1] * (std::log(taken) - update.centre[0]);
        power += law[4] * (std::log(fan_out) - update.centre[3]);
        if (update.fans[t]) {
            const float log_own = std::log(std::max(own, update.smallest));
            const float log_begun = std::log(std::max(state.own[4][run * update.num_tensors + t], update.smallest));
            power += law[2] * (log_own - update.centre[1]) +
                     law[3] * (std::log(static_cast<float>(update.fans[t])) - update.centre[2]) +
                     law[5] * clamp(log_own - log_begun, update.grown);
        }
        const float rate = lr * std::exp(power), per_own = 1.0f / std::max(own, update.eps);
        std::copy_n(bias, hidden, biases.begin());
        for (int k = 0; k < SHARED; ++k) {
            const float agreement = std::sqrt(mean_square(steps.data() + (1 + k) * count + start, size));
            for (int h = 0; h < hidden; ++h) biases[h] += inner[h * width + SEEN + k] * agreement;
        }
        for (int i = start; i < end; i += LANES) {
            const int left = end - i;
            const Lane fast = part(roots.data() + i, left), slow = part(slowest + i, left);
            const Lane weight = part(weights + i, left);
            Lane seen[SEEN];
            for (int m = 0; m < MEANS; ++m) seen[m] = part(steps.data() + m * count + i, left);
            seen[3] = (fast - slow) / (fast + slow);
            seen[4] = (slow - noise) / (slow + noise);
            seen[5] = weight * per_own;
            seen[5] = seen[5] > update.largest ? Lane{} + update.largest : seen[5];
            seen[5] = seen[5] < -update.largest ? Lane{} - update.largest : seen[5];
            const Lane sign =
                seen[1] < 0.0f ? Lane{} - 1.0f : Lane{} + 1.0f;  // all is seen from the side of Adam's step
            for (const int k : {0, 1, 2, 5}) seen[k] *= sign;
            Lane turn = Lane{} + offset[0], magnitude = Lane{} + offset[1];
            for (int h = 0; h < hidden; ++h) {
                Lane unit = Lane{} + biases[h];
                for (int k = 0; k < SEEN; ++k) unit += inner[h * width + k] * seen[k];
                unit = unit < 0.0f ? Lane{} : unit;
                turn += outer[h] * unit;
                magnitude += outer[hidden + h] * unit;
            }
            magnitude = magnitude > update.magnitude ? Lane{} + update.magnitude : magnitude;
            magnitude = magnitude < -update.magnitude ? Lane{} - update.magnitude : magnitude;
            const Lane moved = weight - rate * exp_of(magnitude) * sign * (seen[1] + turn);
            if (left >= LANES) lane(weights + i) = moved;
            else std::copy_n(reinterpret_cast<const float*>(&moved), left, weights + i);
        }
    }
}

// Adam's direction of one run, with its averages moved; `steps` counts this one.
static void adam_of(
    float* out, const Rule& rule, float* mean, float* square, float steps, const float* grad, int count
) {
    const float whole = 1.0f - std::pow(rule.decay, steps), whole_square = 1.0f - std::pow(rule.square_decay, steps);
    for (int i = 0; i < count; ++i) {
        mean[i] += (1.0f - rule.decay) * (grad[i] - mean[i]);
        square[i] = rule.square_decay * square[i] + (1.0f - rule.square_decay) * grad[i] * grad[i];
        out[i] = mean[i] / whole / (std::sqrt(square[i] / whole_square) + rule.eps);
    }
}

// Moves the weights of one run along its direction.
static void move(
    const State& state, const Rule& rule, int64_t run, float* weights, const float* grad, float lr, int count
) {
    float *const mean = state.own[0] + run * count, *const square = state.own[1] + run * count;
    if (rule.direction == LAYER_RATES) return move_layers(state, rule, run, weights, grad, grad, lr);
    if (rule.direction == LEARNED_UPDATE) return move_each(state, rule, run, weights, grad, lr, count);
    if (rule.direction == GRADIENT)
        for (int i = 0; i < count; ++i) weights[i] -= lr * grad[i];
    else if (rule.direction == MOMENTUM)
        for (int i = 0; i < count; ++i) weights[i] -= lr * (mean[i] = rule.decay * mean[i] + grad[i]);
    else if (rule.direction == ADAM_LAYER_RATES) {
        std::vector<float> along(count);
        float *const own_mean = state.own[5] + run * count, *const own_square = state.own[6] + run * count;
        adam_of(along.data(), rule, own_mean, own_square, state.own[4][run] + 1.0f, grad, count);
        move_layers(state, rule, run, weights, grad, along.data(), lr);
    } else {
        std::vector<float> along(count);
        adam_of(along.data(), rule, mean, square, state.own[2][run] += 1.0f, grad, count);
        for (int i = 0; i < count; ++i) weights[i] -= lr * along[i];
    }
}

static const char* refusal_of(const Network& network, int num_told = TOLD) {
    if (network.hidden < 1 || network.num_inputs < 1 || network.num_memories < 0)
        return "a meta-optimizer has no units or sees nothing";
    const int64_t hidden = network.hidden, outputs = 1 + network.num_memories;
    const int64_t width = network.num_inputs + network.num_memories;
    if (network.num_theta != hidden * (width + 1) + outputs * (hidden + width + 1))
        return "a meta-optimizer has another number of weights than its layers";
    for (int i = 0; i < network.num_inputs; ++i)
        if (network.inputs[i] < 0 || network.inputs[i] >= num_told)
            return "a meta-optimizer is not told of such an input";
    return nullptr;
}

static const char* refusal_of(const Update& update, int64_t num_params) {
    if (update.hidden < 1 || update.num_theta != int64_t{update.hidden} * (SEEN + SHARED + 3) + 2 + LAW)
        return "an update has another number of weights than its layers";
    const int* const end = update.sizes + update.num_tensors;
    if (update.num_tensors < 1 ||
        std::any_of(
            update.sizes, end, [](int size) { return size < 1; }
        ) ||
        std::accumulate(update.sizes, end, int64_t{0}) != num_params)
        return "the tensors do not make up the weights";
    return nullptr;
}

static const char* refusal_of(
    const Rule& rule, const Floats* state, int num_parts, int64_t runs, int64_t num_params, int num_told = TOLD
) {
    const Network& of_rate = rule.of_rate;
    const bool constant = !(of_rate.hidden | of_rate.num_inputs | of_rate.num_memories | of_rate.num_theta);
    if (const char* refusal = constant ? nullptr : refusal_of(of_rate, num_told)) return refusal;
    std::vector<int64_t> counts = {num_params, rule.of_rate.num_theta, 1, 1, rule.of_rate.num_memories, 1, 2, 1, 1};
    const int64_t layers = rule.num_layers;
    switch (rule.direction) {
        case GRADIENT:
            break;
        case MOMENTUM:
            counts.push_back(num_params);
            break;
        case ADAM:
            counts.insert(counts.end(), {num_params, num_params, 1});
            break;
        case LAYER_RATES:
        case ADAM_LAYER_RATES:
            if (const char* refusal = refusal_of(rule.of_layer)) return refusal;
            if (layers < 1 ||
                std::any_of(
                    rule.layers, rule.layers + layers, [](int count) { return count < 1; }
                ) ||
                std::accumulate(rule.layers, rule.layers + layers, int64_t{0}) != num_params)
                return "the layers do not make up the weights";
            counts.insert(
                counts.end(), {rule.of_layer.num_theta, layers, layers * rule.of_layer.num_memories, layers, 1, 0}
            );
            if (rule.direction == ADAM_LAYER_RATES) {
                counts.back() = num_params;
                counts.push_back(num_params);
            }
            break;
        case LEARNED_UPDATE:
            if (const char* refusal = refusal_of(rule.update, num_params)) return refusal;
            counts.insert(
                counts.end(),
                {rule.update.num_theta, MEANS * num_params, SQUARES * num_params, 1, rule.update.num_tensors}
            );
            break;
        default:
            return "there is no such direction";
    }
    if (static_cast<size_t>(num_parts) != counts.size()) return "the state has another number of parts than the rule";
    for (int part = 0; part < num_parts; ++part)
        if (state[part].count != runs * counts[part]) return "a part of the state has another size than the rule";
    return nullptr;
}

// Run i meets the points of task i % tasks: at each step, the rows of `table` that `order` (tasks, steps, batch) names.
// Returns why it refuses, or nothing; `rule_size` is what the caller takes a rule to be, in bytes.
extern "C" const char* unroll(
    const Floats* parts, int num_parts, const Floats* infos, int num_infos, const Rule* rule, int64_t rule_size,
    const int* widths, int num_widths, int activation, int runs, int tasks, int steps, int batch, const float* table,
    int64_t rows, int64_t columns, const int64_t* order
) {
    constexpr int PLACES = sizeof(State) / sizeof(float*), INFOS = sizeof(Info) / sizeof(float*);
    if (rule_size != static_cast<int64_t>(sizeof(Rule))) return "a rule is laid out otherwise";
    if (num_widths < 2 || columns <= widths[num_widths - 1]) return "the table has too few columns";
    const int64_t classes = widths[num_widths - 1], features = columns - classes;
    const std::vector<int> sizes(widths, widths + num_widths);
    const Extent extent = extent_of(sizes, batch);
    const char* refusal =
        refusal_of(widths, num_widths, activation, runs, tasks, batch, features, classes, extent.params);
    if (!refusal) refusal = refusal_of(*rule, parts, num_parts, runs, extent.params);
    if (refusal) return refusal;
    if (num_infos != INFOS || std::any_of(infos, infos + INFOS, [&](const Floats& info) {
            return info.count != static_cast<int64_t>(runs) * steps;
        }))
        return "what the steps tell is not four numbers of each step of each run";
    if (std::any_of(order, order + static_cast<int64_t>(tasks) * steps * batch, [&](int64_t row) {
            return row < 0 || row >= rows;
        }))
        return "the order names a row that the table has not";

    float *places[PLACES] = {}, *tells[INFOS];
    for (int part = 0; part < num_parts; ++part) places[part] = parts[part].at;
    for (int which = 0; which < INFOS; ++which) tells[which] = infos[which].at;
    State state;
    Info info;
    std::memcpy(&state, places, sizeof state);
    std::memcpy(&info, tells, sizeof info);

    const int n = extent.n, num_params = static_cast<int>(extent.params);
    std::vector<float> grad(num_params), memory((extent.units + classes + 2 * extent.widest) * n + LANES);
    float* const room = memory.data() + LANES - reinterpret_cast<uintptr_t>(memory.data()) / 4 % LANES;
    float *const truth = room + extent.units * n, *const delta = truth + classes * n;
    float* const next = delta + extent.widest * n;
    for (int task = 0; task < tasks; ++task)
        for (int step = 0; step < steps; ++step, order += batch) {
            for (int b = 0; b < batch; ++b) {
                const float* const point = table + order[b] * columns;
                for (int i = 0; i < features; ++i) room[i * n + b] = point[i];
                for (int k = 0; k < classes; ++k) truth[k * n + b] = point[features + k];
            }
            for (int64_t run = task; run < runs; run += tasks) {
                float* const weights = state.params + run * num_params;
                const float loss = one_run(
                    weights, grad.data(), sizes, static_cast<Activation>(activation), room, truth, delta, next, batch, n
                );
                const float grad_norm = norm(grad.data(), num_params), weight_norm = norm(weights, num_params);
                const float lr = watch(state, *rule, run, loss, grad_norm, weight_norm);
                move(state, *rule, run, weights, grad.data(), lr, num_params);
                const int64_t place = run * steps + step;
                info.loss[place] = loss;
                info.grad_norm[place] = grad_norm;
                info.weight_norm[place] = weight_norm;
                info.lr[place] = lr;
            }
        }
    return nullptr;
}
