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
  /** Fill `target` with what torch.randn, torch.rand, torch.randint or torch.randperm would be asked for. */
  fill(target, kind, high) {
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
  constructor(engine, key, baseRate) {
    const { programs, instance } = engine;
    Object.assign(this, { engine, instance, program: programs[`step_${key}`], step: 0, diverged: false });
    const start = programs[`start_${key}`];
    const theta = engine.facts.theta[key];
    start.inputs[0].set(instance.params);
    start.inputs[1][0] = baseRate;
    if (theta) start.inputs[2].set(Float32Array.from(theta));
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
  /** One inner step; what it tells, [loss, gradient norm, weight norm, rate], as torch's Info has it. */
  advance() {
    this.enter();
    const { batch } = this.engine.facts;
    const rows = this.program.inputs[1];
    const first = this.step * batch;
    for (let i = 0; i < batch; i++) rows[i] = this.instance.order[first + i];
    this.program.run();
    this.step++;
    return this.program.outputs.slice(this.state.length).map((output) => output[0]);
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
  }

  /** Draw the instance of a seed, after a shift. */
  draw({ shift, severity, seed, noise = 0 }) {
    const program = this.programs[`draw_${shift}`];
    program.inputs[0].set([severity, noise]);
    let place = 1;
    for (const [kind, high, generator, first, calls] of this.facts.draws[shift]) {
      for (let call = first; call < first + calls; call++) {
        new Numbers(seed, [generator, call]).fill(program.inputs[place++], kind, high);
      }
    }
    program.run();
    const [table, order, params, x, target] = program.outputs.map((output) => output.slice());
    this.instance = { table, order, params, x, target };
  }

  /** Draw an instance and put both rules at its start. */
  open({ settings, bases }) {
    this.draw(settings);
    this.runs = {};
    for (const key of ["meta", settings.rival]) this.runs[key] = new Run(this, key, bases[key]);
    return { table: Float32Array.from(this.instance.table) };
  }

  /** Up to `steps` steps of both rules, and how they then divide the plane. */
  advance({ steps, box }) {
    const told = {};
    for (const [key, run] of Object.entries(this.runs)) {
      const rows = [];
      for (let i = 0; i < steps && !run.diverged; i++) {
        const row = [...run.advance(), run.heldOut()];
        run.diverged = !row.every(Number.isFinite);
        rows.push(row);
      }
      told[key] = { rows, map: box && !run.diverged ? this.look(run, box) : null };
    }
    return { told };
  }

  /** Class probabilities over a square, 0 to 255. */
  look(run, box) {
    const { look } = this.programs;
    look.inputs[0].set(run.params);
    look.inputs[1].set(box);
    look.run();
    return Uint8ClampedArray.from(look.outputs[0], (probability) => 255 * probability);
  }

  /** The threshold of an instance, and the step at which each rule crosses it, null where it does not. */
  judge({ settings, bases, limit }) {
    const { rule, rates, steps, cadence } = this.facts.reference;
    const { line } = this.programs;
    this.draw(settings);
    rates.forEach((rate, row) => {
      const run = new Run(this, rule, rate);
      for (let i = 1; i <= steps; i++) {
        run.advance();
        if (i % cadence === 0) line.inputs[0][(row * steps + i) / cadence - 1] = run.heldOut();
      }
    });
    line.inputs[1].set(this.instance.target);
    line.run();
    const [prior, best, threshold] = line.outputs.map((output) => output[0]);
    if (!(best < prior)) return { threshold: null, crossed: {} };
    const crossed = {};
    for (const key of ["meta", settings.rival]) {
      const run = new Run(this, key, bases[key]);
      crossed[key] = null;
      for (let below = false; run.step < limit && crossed[key] === null; ) {
        run.advance();
        const loss = run.heldOut();
        if (!Number.isFinite(loss)) break;
        if (loss < threshold && below) crossed[key] = run.step - 1;
        below = loss < threshold;
      }
    }
    return { threshold, crossed };
  }

  /** Answer a message; the same messages are answered by torch in a live kernel. */
  answer({ id, kind, ...message }) {
    return { id, kind, ...this[kind](message) };
  }
}
