// Meta-training in the page: the outer loop. What an outer step is made of lies in the programs.

const [TRAINED_ON, VALIDATED_ON] = [2_000_000, 3_000_000]; // seeds that no instance of the explorer has
const HELD = 16; // tasks that judge, and are never trained on

/** Evolution strategies from a rate that does nothing; `tell` hears of every outer step. */
export class Learning {
  constructor(spec, pool, tell) {
    Object.assign(this, { spec, pool, tell, going: false, step: 0, curve: [], shipped: null });
    this.theta = spec.theta;
  }
  get done() {
    return this.step >= this.spec.steps;
  }
  /** Mean meta-loss on the tasks that judge; of the shipped rate where there is no theta. */
  async judge(theta) {
    const losses = [];
    const messages = Array.from({ length: HELD }, (_, task) => ({ kind: "validate", theta, tasks: [task], seed: VALIDATED_ON }));
    await this.pool.all(messages, (answer, { tasks }) => (losses[tasks[0]] = answer.losses[0]), () => this.going);
    return losses.reduce((sum, loss) => sum + loss, 0) / HELD;
  }
  /** Go on to the last outer step, or until `stop`. */
  async run() {
    if (this.going || this.done) return;
    this.going = true;
    if (!this.curve.length) {
      const [shipped, untrained] = [await this.judge(null), await this.judge(this.theta)];
      if (this.going) Object.assign(this, { shipped, curve: [[0, untrained]] });
    }
    this.tell();
    while (this.going && !this.done) {
      const { tasks } = this.spec;
      const gradients = [];
      const messages = Array.from({ length: tasks }, (_, task) => ({
        kind: "estimate", theta: this.theta, tasks: [this.step * tasks + task], seed: TRAINED_ON,
      }));
      const first = this.step * tasks;
      const keep = (answer, asked) => (gradients[asked.tasks[0] - first] = answer.answers[0].gradient);
      await this.pool.all(messages, keep, () => this.going);
      if (!this.going) break;
      const { theta } = await this.pool.one({ kind: "update", theta: this.theta, gradients, step: this.step });
      this.theta = theta;
      this.step++;
      if (this.step % 5 === 0 || this.done) {
        const loss = await this.judge(theta);
        if (this.going) this.curve.push([this.step, loss]);
      }
      this.tell();
    }
    this.going = false;
    this.tell();
  }
  stop() {
    this.going = false;
  }
}
