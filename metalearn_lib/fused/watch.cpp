// One step of a monitor and a meta-optimizer by themselves, for whoever trains with weights of their own.
#include "loop.cpp"

// after those of `see`
enum Beyond : int { RELATIVE_STEP = TOLD, RELATIVE_SIGN_STEP, ELASTICITY, LOG_STEPS, LOSS_TREND_SLOWEST, WATCHED };
// What inputs keep that a loop does not know, and for each input of the rule the middle of where it has been in
// meta-training, and how far that reaches, in spreads.
struct Own {
    float *log_root_count, *steps, *slowest, *slowest_steps;
    float slowest_decay;
    const float *middle, *reach;
};

// Moves the state of one run by what a step shows, and tells how far the furthest of the rule's inputs lies from the
// middle of where it has been, over how far that reaches. `parts` are those of `unroll`, of a direction that keeps
// nothing and of no weights. Returns why it refuses, or nothing.
extern "C" const char* decide(
    const Floats* parts, int num_parts, const Rule* rule, int64_t rule_size, const Own* own, int64_t own_size,
    const float* seen, float* furthest
) {
    if (rule_size != static_cast<int64_t>(sizeof(Rule)) || own_size != static_cast<int64_t>(sizeof(Own)))
        return "a rule is laid out otherwise";
    if (rule->direction != GRADIENT || !rule->of_rate.hidden) return "there is no meta-optimizer that watches alone";
    if (const char* refusal = refusal_of(*rule, parts, num_parts, 1, 0, WATCHED)) return refusal;
    State state = {nullptr,     parts[1].at, parts[2].at, parts[3].at, parts[4].at,
                   parts[5].at, parts[6].at, parts[7].at, parts[8].at, {}};
    float told[WATCHED];
    see(state, *rule, 0, seen[0], seen[1], seen[2], told);
    const float log_lr = told[0], log_loss = told[1], log_grad = told[2], log_weight = told[3];
    told[RELATIVE_STEP] = log_lr + log_grad - log_weight;
    told[RELATIVE_SIGN_STEP] = log_lr + *own->log_root_count - log_weight;
    told[ELASTICITY] = log_grad + log_weight - log_loss;
    told[LOG_STEPS] = std::log1p((*own->steps)++);
    const float share = 1.0f / (*own->slowest_steps += 1.0f);
    told[LOSS_TREND_SLOWEST] = follow(*own->slowest, log_loss, std::max(share, 1.0f - own->slowest_decay));
    const Network& network = rule->of_rate;
    *furthest = 0.0f;
    for (int i = 0; i < network.num_inputs; ++i) {
        const float input = (told[network.inputs[i]] - network.centre[i]) / network.spread[i];
        *furthest = std::max(*furthest, std::abs(input - own->middle[i]) / own->reach[i]);
    }
    act(state, *rule, 0, told);
    return nullptr;
}
