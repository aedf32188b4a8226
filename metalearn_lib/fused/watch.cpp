// One step of a monitor and a meta-optimizer by themselves, for whoever trains with weights of their own.
#include "loop.cpp"

// Moves the state of one run by what a step shows, and tells how far the furthest of the rule's inputs lies from its
// centre, in spreads. `parts` are those of `unroll`, of a direction that keeps nothing and of no weights. Returns why it
// refuses, or nothing.
extern "C" const char* decide(
    const Floats* parts, int num_parts, const Rule* rule, int64_t rule_size, const float* seen, float* furthest
) {
    if (rule_size != static_cast<int64_t>(sizeof(Rule))) return "a rule is laid out otherwise";
    if (rule->direction != GRADIENT || !rule->of_rate.hidden) return "there is no meta-optimizer that watches alone";
    if (const char* refusal = refusal_of(*rule, parts, num_parts, 1, 0)) return refusal;
    State state = {nullptr,     parts[1].at, parts[2].at, parts[3].at, parts[4].at,
                   parts[5].at, parts[6].at, parts[7].at, parts[8].at, {}};
    const float log_lr = std::log(*state.base_lr) + *state.log_scale, limit = rule->log_limit;
    watch(state, *rule, 0, seen[0], seen[1], seen[2]);
    // trends are above averages that have moved, so that they can be had from these
    const float log_loss = bounded_log(seen[0], limit), log_grad = bounded_log(seen[1], limit);
    const float told[TOLD] = {
        log_lr,
        log_loss,
        log_grad,
        bounded_log(seen[2], limit),
        log_loss - state.fast[0],
        log_loss - *state.slow,
        log_grad - state.fast[1],
        *state.noise
    };
    const Network& network = rule->of_rate;
    *furthest = 0.0f;
    for (int i = 0; i < network.num_inputs; ++i)
        *furthest = std::max(*furthest, std::abs(told[network.inputs[i]] - network.centre[i]) / network.spread[i]);
    return nullptr;
}
