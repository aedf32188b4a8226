// Runs the printed programs: draws an instance from a seed, trains two rules on it side by side, and judges.
// What is computed lies in the programs; this file only holds numbers and calls. It runs in a worker, a page or node.

/** 32 bits scrambled: a bijection without visible pattern (Wellons' two-round hash). */
const scramble = (bits) => {
  bits = Math.imul(bits ^ (bits >>> 16), 0x21f0aaad);
  bits = Math.imul(bits ^ (bits >>> 15), 0x735a2d97);
  return (bits ^ (bits >>> 15)) >>> 0;
};

/** Random numbers of one call of one generator: the n-th depends on seed, stream and n alone. */
class Numbers {
  constructor(seed, stream) {
    this.key = [seed, ...stream].reduce((key, part) => scramble((key + Math.imul(part + 1, 0x9e3779b1)) | 0), 0x5eed);
    this.count = 0;
  }
  bits() {
    return scramble((scramble(this.count++) + this.key) | 0);
  }
  /** In (0, 1), 53 bits. */
  uniform() {
    return ((this.bits() >>> 5) * 67108864 + (this.bits() >>> 6) + 0.5) / 9007199254740992;
  }
  /** Put into `target` what torch.randn, torch.rand, torch.randint or torch.randperm would be asked for. */
  draw(target, kind, high) {
    if (kind === "randn") {
      for (let i = 0; i < target.length; i++) {
        target[i] = Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
      }
    } else if (kind === "rand") {
      for (let i = 0; i < target.length; i++) target[i] = this.uniform();
    } else if (kind === "randint") {
      for (let i = 0; i < target.length; i++) target[i] = Math.floor(this.uniform() * high);
    } else {
      for (let i = 0; i < target.length; i++) target[i] = i;
      for (let i = target.length - 1; i > 0; i--) {
        const j = Math.floor(this.uniform() * (i + 1));
        const held = target[i];
        target[i] = target[j];
        target[j] = held;
      }
    }
  }
}

/** One rule on one instance. Several runs may share a program: each keeps its state while another is in. */
class Run {
  constructor(engine, key, baseRate, theta = engine.facts.theta[key]) {
    const { programs, instance } = engine;
    Object.assign(this, { engine, instance, program: programs[`step_${key}`], step: 0, diverged: false });
    const start = programs[`start_${key}`];
    start.inputs[0].set(instance.params);
    start.inputs[1][0] = baseRate;
    if (theta) start.inputs[2].set(theta);
    start.run();
    this.state = start.outputs.map((output) => output.slice());
  }
  /** Put this run's state and instance into its program. */
  enter() {
    if (this.program.owner === this) return;
    if (this.program.owner) this.program.owner.leave();
    this.program.owner = this;
    this.program.inputs[0].set(this.instance.table);
    this.state.forEach((leaf, place) => this.program.inputs[place + 2].set(leaf));
  }
  leave() {
    this.state.forEach((leaf, place) => leaf.set(this.program.inputs[place + 2]));
  }
  /** One inner step; what it tells: [loss, gradient norm, weight norm, rate], as torch's Info has it. */
  advance() {
    this.enter();
    const { batch } = this.engine.facts;
    const rows = this.program.inputs[1];
    const first = this.step * batch;
    for (let i = 0; i < batch; i++) rows[i] = this.instance.order[first + i];
    this.program.run();
    this.step++;
    return this.program.outputs.slice(this.state.length, this.state.length + 4).map((output) => output[0]);
  }
  /** What the last step told beside that; see `Experiment.overheard`. */
  get beside() {
    return this.program.outputs[this.state.length + 4] ?? [];
  }
  get params() {
    return this.program.owner === this ? this.program.inputs[2] : this.state[0];
  }
  /** Loss on points that no rule sees. */
  heldOut() {
    const { held_out } = this.engine.programs;
    [this.params, this.instance.x, this.instance.target].forEach((value, place) => held_out.inputs[place].set(value));
    held_out.run();
    return held_out.outputs[0][0];
  }
}

class Engine {
  /** `build` is what the generator printed; `facts` are those of the programs. */
  constructor(build, facts) {
    this.programs = build();
    this.facts = facts;
    for (const key of Object.keys(facts.theta)) facts.theta[key] = Float32Array.from(facts.theta[key]);
  }

  /** Fill a program's inputs from `place` on with what it draws. */
  fill(program, name, seed, place) {
    for (const [kind, high, generator, first, calls] of this.facts.draws[name]) {
      for (let call = first; call < first + calls; call++) {
        new Numbers(seed, [generator, call]).draw(program.inputs[place++], kind, high);
      }
    }
    program.run();
    return program.outputs.map((output) => output.slice());
  }

  /** Draw the instance of a seed, after a shift. */
  draw({ data = "home", points = [], shift, severity, seed, noise = 0 }) {
    const program = this.programs[`draw_${data}_${shift}`];
    program.inputs[0].set([severity, noise]);
    if (data === "own") {
      program.inputs[1].set(points.flat());
      program.inputs[2][0] = points.length;
    }
    const [table, x, target] = this.fill(program, `${data}_${shift}`, seed, data === "own" ? 3 : 1);
    const [order, params] = this.fill(this.programs.start, "start", seed, 0);
    this.instance = { table, order, params, x, target };
  }

  /** A rule at the start of the instance; `mine` is what was learned in the page, by the network of `meta`. */
  begin(key, rate, mine) {
    return key === "mine" ? new Run(this, "meta", rate, mine) : new Run(this, key, rate);
  }

  /** Draw an instance and put rules at its start. */
  open({ settings, bases, mine }) {
    this.draw(settings);
    this.runs = {};
    for (const key of Object.keys(bases)) this.runs[key] = this.begin(key, bases[key], mine);
    return { table: Float32Array.from(this.instance.table) };
  }

  /** Up to `steps` steps of every rule, and how they then divide the plane. */
  advance({ steps, box }) {
    const told = {};
    for (const [key, run] of Object.entries(this.runs)) {
      const rows = [];
      for (let i = 0; i < steps && !run.diverged; i++) {
        const row = [...run.advance(), run.heldOut()];
        run.diverged = !row.every(Number.isFinite);
        rows.push([...row, ...run.beside]);
      }
      told[key] = { rows, ...(box && !run.diverged ? this.colour(this.look(run, box)) : { map: null }) };
    }
    return { told };
  }

  /** Class probabilities over a square. */
  look(run, box) {
    const { look } = this.programs;
    look.inputs[0].set(run.params);
    look.inputs[1].set(box);
    look.run();
    return look.outputs[0];
  }

  /** Their colours, red, green, blue and opacity, and whether they are the same everywhere, and then grey. */
  colour(seen) {
    const { classes, colours, flat } = this.facts;
    const map = new Uint8ClampedArray((4 * seen.length) / classes).fill(150);
    let same = true;
    for (let c = 0; c < classes && same; c++) {
      let [low, high] = [Infinity, -Infinity];
      for (let place = c; place < seen.length; place += classes) {
        if (seen[place] < low) low = seen[place];
        if (seen[place] > high) high = seen[place];
      }
      same = high - low < flat;
    }
    if (same) return { map, flat: true };
    for (let place = 0; place < seen.length; place += classes) {
      let [red, green, blue, total] = [0, 0, 0, 0];
      for (let c = 0; c < classes; c++) {
        const weight = seen[place + c] ** 3;
        const [r, g, b] = colours[c];
        red += weight * r;
        green += weight * g;
        blue += weight * b;
        total += weight;
      }
      map.set([red / total, green / total, blue / total], (4 * place) / classes);
    }
    return { map, flat: false };
  }

  /** The target loss of an instance, null where the reference learns nothing; found once, and then given back. */
  target() {
    const { rule, rates, steps, cadence } = this.facts.reference;
    const { line } = this.programs;
    rates.forEach((rate, row) => {
      const run = new Run(this, rule, rate);
      for (let i = 1; i <= steps; i++) {
        run.advance();
        if (i % cadence === 0) line.inputs[0][(row * steps + i) / cadence - 1] = run.heldOut();
      }
    });
    line.inputs[1].set(this.instance.target);
    line.run();
    const [prior, best, target] = line.outputs.map((output) => output[0]);
    return best < prior ? target : null;
  }

  /** The target loss of an instance, and the step at which each rule reaches it, null where it does not. */
  judge({ settings, bases, limit, mine, target }) {
    this.draw(settings);
    if (target === undefined) target = this.target();
    const reached = {};
    for (const key of target === null ? [] : Object.keys(bases)) {
      const run = this.begin(key, bases[key], mine);
      reached[key] = null;
      for (let below = false; run.step < limit && reached[key] === null; ) {
        run.advance();
        const loss = run.heldOut();
        if (!Number.isFinite(loss)) break;
        if (loss < target && below) reached[key] = run.step - 1;
        below = loss < target;
      }
    }
    return { target, reached };
  }

  // meta-training: evolution strategies over tasks as they are before any shift

  /** The losses of an untrained network's first steps on the task of a number, under meta-parameters. */
  losses(number, theta) {
    const { learn_rate } = this.programs;
    const { base, horizon } = this.facts.learning;
    learn_rate.inputs[0][0] = number;
    learn_rate.inputs[1][0] = base;
    learn_rate.run();
    const run = new Run(this, "meta", learn_rate.outputs[0][0], theta);
    return Float64Array.from({ length: horizon }, () => run.advance()[0]);
  }

  /** Each task's estimate of the gradient of the meta-loss, and the meta-loss there. */
  estimate({ theta, tasks, seed }) {
    const { learn_arms, learn_gradient } = this.programs;
    const answers = tasks.map((number) => {
      const noise = new Float64Array(theta.length);
      new Numbers(seed, [9, number]).draw(noise, "randn");
      learn_arms.inputs[0].set(theta);
      learn_arms.inputs[1].set(noise);
      learn_arms.run();
      const arms = learn_arms.outputs[0].slice();
      this.draw({ ...this.facts.learning.home, seed: seed + number });
      [0, 1].forEach((arm) => {
        const losses = this.losses(number, arms.subarray(arm * theta.length, (arm + 1) * theta.length));
        learn_gradient.inputs[0].set(losses, arm * losses.length);
      });
      learn_gradient.inputs[1].set(noise);
      learn_gradient.run();
      return { gradient: Array.from(learn_gradient.outputs[0]), loss: learn_gradient.outputs[1][0] };
    });
    return { answers };
  }

  /** The meta-loss of tasks that are not trained on, of the shipped rate where there is no theta. */
  validate({ theta, tasks, seed }) {
    const { learn_value } = this.programs;
    const losses = tasks.map((number) => {
      this.draw({ ...this.facts.learning.home, seed: seed + number });
      learn_value.inputs[0].set(this.losses(number, theta ?? this.facts.theta.meta));
      learn_value.run();
      return learn_value.outputs[0][0];
    });
    return { losses };
  }

  /** Meta-parameters after an outer step along the mean of gradients. */
  update({ theta, gradients, step }) {
    const { learn_update } = this.programs;
    const [before, mean, rate, ...moments] = learn_update.inputs;
    if (step === 0) moments.forEach((moment) => moment.fill(0));
    before.set(theta);
    mean.fill(0);
    for (const gradient of gradients) gradient.forEach((value, place) => (mean[place] += value / gradients.length));
    rate[0] = this.facts.learning.rates[step];
    learn_update.run();
    moments.forEach((moment, place) => moment.set(learn_update.outputs[1 + place]));
    return { theta: Array.from(learn_update.outputs[0]) };
  }

  /** Answer a message; the same messages are answered by torch in a live kernel. */
  answer({ id, kind, ...message }) {
    return { id, kind, ...this[kind](message) };
  }
}
