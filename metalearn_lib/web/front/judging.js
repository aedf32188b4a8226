// Who arrived when: the target loss of an instance is kept, and so is the step at which a rule reaches it.

/** What was judged, under the setting that `now` tells: {settings, shown, mine, bases}. */
export class Judging {
  constructor(limit, now) {
    Object.assign(this, { limit, now, targets: new Map(), arrivals: new Map(), judged: { of: "", seeds: [] } });
  }
  instance(seed = this.now().settings.seed) {
    const { data, shift, severity, noise, points } = this.now().settings;
    return JSON.stringify([data, shift, severity, noise, data === "own" && points, seed]);
  }
  meeting(key, seed) {
    const { settings, mine } = this.now();
    return JSON.stringify([key, key === "mine" && mine[0], settings.rate, this.instance(seed)]);
  }
  missing(seed) {
    if (this.hopeless(seed)) return [];
    return this.now().shown.filter((key) => !this.arrivals.has(this.meeting(key, seed)));
  }
  /** Whether something must be computed before the instance is judged. */
  unknown(seed) {
    return !this.targets.has(this.instance(seed)) || this.missing(seed).length > 0;
  }
  target(seed) {
    return this.targets.get(this.instance(seed)) ?? null;
  }
  /** Whether the reference learns nothing on the instance, so that there is nothing to reach. */
  hopeless(seed) {
    return this.targets.get(this.instance(seed)) === null;
  }
  arrival(key, seed) {
    return this.arrivals.get(this.meeting(key, seed)) ?? null;
  }
  /** The instances judged under this setting; with a seed, that one too. */
  count(seed) {
    const { settings, mine } = this.now();
    const of = JSON.stringify([settings.rate, settings.rival, this.instance(-1), mine?.[0]]);
    if (this.judged.of !== of) this.judged = { of, seeds: [] };
    if (seed !== undefined && !this.judged.seeds.includes(seed)) this.judged.seeds.push(seed);
    return this.judged.seeds;
  }
  question(seed) {
    const { settings, mine, bases } = this.now();
    const known = this.targets.has(this.instance(seed)) ? { target: this.target(seed) } : {};
    return { kind: "judge", settings: { ...settings, seed }, bases: bases(this.missing(seed)), limit: this.limit, mine, ...known };
  }
  learn(answer, asked) {
    const { seed } = asked.settings;
    this.targets.set(this.instance(seed), answer.target);
    for (const [key, at] of Object.entries(answer.reached)) this.arrivals.set(this.meeting(key, seed), at);
    this.count(seed);
  }
  /** How many times sooner `key` arrives than `rival`, with a 95 % interval over instances by the bootstrap. */
  speedup(key, rival, seeds) {
    const restricted = (each, seed) => Math.log(Math.max(1, this.arrival(each, seed) ?? this.limit));
    const logs = seeds.map((seed) => restricted(rival, seed) - restricted(key, seed));
    let state = 1;
    const pick = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return logs[Math.floor((state / 4294967296) * logs.length)];
    };
    const means = Array.from({ length: 500 }, () => logs.reduce((sum) => sum + pick(), 0) / logs.length).toSorted((a, b) => a - b);
    const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
    return { value: Math.exp(mean), low: Math.exp(means[12]), high: Math.exp(means[487]) };
  }
}
