// ShiftExplorer's controls and what follows from them. What is drawn is computed elsewhere; see workers.js.

import { DASHES, Sheet, boxOf, clamp, drawArrivals, drawChart, drawIntervals, drawLearning, drawMap, drawPoints, inks, mark, number } from "./drawing.js";
import { Judging } from "./judging.js";
import { Learning } from "./learning.js";
import { CHARTS, MARKUP, TOUR } from "./markup.js";
import { NAMES, SPAN, fromHash, nearest, toHash } from "./settings.js";
import { Kernel, Pool, Workers } from "./workers.js";

const [LOSS, GRAD, WEIGHT, RATE, HELD_OUT, BESIDE] = [0, 1, 2, 3, 4, 5];
const COLUMNS = { loss: HELD_OUT, rate: RATE, grad: GRAD, weight: WEIGHT };
const BLOWN_UP = 1e4; // a weight norm that no useful run comes near
const MINE = { label: "yours", colour: "#5B5B00", learned: true, tuned: [] };
function render({ model, el }) {
  const spec = model.get("spec");
  const packed = model.get("worker");
  const hashed = Boolean(packed);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  el.classList.add("sx");
  el.setAttribute("role", "region");
  el.setAttribute("aria-label", "Shift explorer: rules train on the same instance");
  el.innerHTML = MARKUP;
  const find = (selector) => el.querySelector(selector);
  const all = (selector) => [...el.querySelectorAll(selector)];
  const out = (name) => find(`[data-out=${name}]`);
  const control = Object.fromEntries(all("[name]").map((each) => [each.name, each]));
  const button = Object.fromEntries(all("[data-do]").map((each) => [each.dataset.do, each]));
  const office = hashed ? new Workers(packed) : new Kernel(model);
  const trainer = office.desk();
  const pool = new Pool(office);

  // rules

  let mine = null; // meta-parameters that were learned in the page
  const rules = { ...spec.rules };
  const order = () => Object.keys(rules).filter((key) => key !== "meta");
  const dash = (key) => DASHES[Object.keys(rules).indexOf(key) % DASHES.length];
  const look = (key) => ({ colour: rules[key].colour, dash: dash(key), wide: key === "meta" });
  const line = (key) =>
    `<span class="sx-key"><svg width="26" height="8" aria-hidden="true"><path d="M0 4H26" stroke="${rules[key].colour}"
    stroke-width="${key === "meta" ? 3 : 2}" stroke-dasharray="${dash(key).join(" ")}"/></svg>${rules[key].label}</span>`;

  // settings

  const hidden = hashed ? (new URLSearchParams(location.hash.slice(1)).get("hide") ?? "") : "";
  let { settings } = nearest(spec, model.get("settings"));
  const rivals = () => settings.rival.split(",");
  const shown = () => [...rivals(), "meta"];

  for (const [name, choices] of Object.entries({ shift: spec.shifts, data: spec.data })) {
    control[name].append(...Object.entries(choices).map(([key, choice]) => new Option(choice.label ?? choice, key)));
  }
  for (const name of hidden.split(",")) find(`[data-control="${CSS.escape(name)}"]`)?.setAttribute("hidden", "");

  const showRivals = () => {
    find(".sx-rivals").replaceChildren(
      ...order().map((key) => {
        const label = document.createElement("label");
        label.innerHTML = `<input type="checkbox" name="rival-${key}"${rivals().includes(key) ? " checked" : ""}>${line(key)}`;
        label.firstChild.onchange = ({ target }) => {
          const chosen = order().filter((each) => (each === key ? target.checked : rivals().includes(each)));
          change({ rival: (chosen.length ? chosen : [key]).join(",") });
        };
        return label;
      }),
    );
  };
  const colourOf = (label) => spec.colours[label];
  find(".sx-classes").replaceChildren(
    ...Array.from({ length: spec.classes }, (_, label) => {
      const choice = document.createElement("label");
      choice.innerHTML = `<input type="radio" name="class" value="${label}"${label ? "" : " checked"}><canvas width="36" height="36"></canvas>${label + 1}`;
      const context = choice.querySelector("canvas").getContext("2d");
      context.fillStyle = colourOf(label);
      context.strokeStyle = "#777";
      context.lineWidth = 2;
      context.beginPath();
      mark(context, label, 18, 18, 11);
      context.fill();
      context.stroke();
      return choice;
    }),
  );

  const show = () => {
    const { stops, told, unit } = spec.shifts[settings.shift];
    for (const name of ["shift", "data", "noise", "seed"]) control[name].value = settings[name];
    control.severity.max = stops.length - 1;
    control.severity.value = stops.indexOf(settings.severity);
    control.severity.title = unit;
    control.rate.value = Math.log10(settings.rate);
    find("[data-part=own]").hidden = settings.data !== "own";
    const severity = told[stops.indexOf(settings.severity)];
    out("severity").textContent = severity;
    out("rate").textContent = `× ${number(settings.rate)}`;
    out("noise").textContent = `${Math.round(100 * settings.noise)} %`;
    control.severity.setAttribute("aria-valuetext", `${severity}, ${unit}`);
    control.rate.setAttribute("aria-valuetext", `${number(settings.rate)} times the rate tuned on task A`);
    control.noise.setAttribute("aria-valuetext", `${Math.round(100 * settings.noise)} per cent of the training labels`);
    const { tuned } = rules[rivals()[0]];
    find("[data-weights]").replaceChildren(
      ...tuned.map(([factor, weight]) => {
        const place = document.createElement("i");
        place.style.setProperty("--at", (Math.log10(factor) + 2) / 4);
        place.style.setProperty("--weight", weight);
        return place;
      }),
    );
    const weights = tuned.map(([factor, weight]) => `× ${number(factor)} in ${Math.round(100 * weight)} %`);
    find("[data-weights]").title = tuned.length ? `tuning on task A gives ${weights.join(", ")}` : "";
    showRivals();
    for (const keys of all(".sx-keys")) keys.innerHTML = shown().map(line).join("");
    const { maps: figures } = views;
    if (Object.keys(figures).join() !== shown().join()) showMaps();
  };

  let writing = 0;
  /** Write the address a while after the last change: browsers refuse many writes in a row. */
  const remember = () => {
    if (!hashed) return;
    clearTimeout(writing);
    writing = setTimeout(() => {
      try {
        history.replaceState(null, "", toHash(settings, hidden));
      } catch {
        // the page goes on without: its address is then that of an earlier setting
      }
    }, 250);
  };
  const say = (sentences) => {
    out("note").textContent = sentences.join(" ");
    out("note").hidden = !sentences.length;
  };

  /** Take what is asked for, or the nearest to it; what has been computed under other settings goes. */
  const change = (wanted, { aloud = false } = {}) => {
    const answer = nearest({ ...spec, rules }, { ...settings, ...wanted });
    settings = answer.settings;
    say(aloud ? answer.told : []);
    model.set("settings", { ...settings });
    model.save_changes();
    going = scrubbed = null;
    show();
    remember();
    keen = !still;
    setPlaying(keen);
    open().then(() => still && advance(60));
  };
  const rateOf = (key) => (key === "mine" ? spec.rules.meta.base : spec.rules[key].base);
  const bases = (keys = shown()) => Object.fromEntries(keys.map((key) => [key, settings.rate * rateOf(key)]));

  // what has been computed

  let runs = {};
  let points = null;
  let box = [0, 0, 1];
  let layer = null;
  let epoch = 0;
  let playing = false;
  let keen = false;
  let visible = true;
  let busy = false;

  const step = () => Math.max(0, ...Object.values(runs).map((run) => run.rows.length));
  const finished = () => step() >= spec.limit || Object.values(runs).every((run) => run.over);

  /** Draw the instance of the settings; what is asked for meanwhile waits as one. */
  let opening = null;
  let again = false;
  const open = () => {
    epoch++;
    again = true;
    opening ??= (async () => {
      while (again) {
        again = false;
        const asked = epoch;
        const { table } = await trainer.ask({ kind: "open", settings, bases: bases(), mine });
        if (asked !== epoch) continue;
        [points, layer] = [table, null];
        box = settings.data === "own" && untouched() ? [0, 0, SPAN] : boxOf(points, spec.classes);
        runs = Object.fromEntries(shown().map((key) => [key, { rows: [], map: null }]));
      }
      opening = null;
      await advance(0);
      judgeThis();
      run();
    })();
    return opening;
  };
  const untouched = () => settings.severity === spec.shifts[settings.shift].identity;

  const advance = async (steps) => {
    const asked = epoch;
    busy = true;
    const { told } = await trainer.ask({ kind: "advance", steps: Math.min(steps, spec.limit - step()), box });
    busy = false;
    if (asked !== epoch) return;
    for (const [key, run] of Object.entries(runs)) {
      const { rows, map, flat } = told[key];
      run.rows.push(...rows);
      if (map) Object.assign(run, { map, flat });
      const fine = (row) => row.slice(0, BESIDE).every(Number.isFinite);
      run.over = run.rows.length > 0 && !fine(run.rows.at(-1));
      const blown = run.rows.findIndex((row) => !fine(row) || row[WEIGHT] > BLOWN_UP);
      run.diverged = blown < 0 ? null : blown + 1;
    }
    redraw();
  };

  // judging

  const judging = new Judging(spec.limit, () => ({ settings, shown: shown(), mine, bases }));
  /** Of each rule, the step at which it arrived on every instance judged; for scripts, as in a lesson. */
  el.arrivals = (...keys) => keys.map((key) => judging.count().map((seed) => judging.arrival(key, seed)));

  const judgeThis = async () => {
    const asked = epoch;
    const { seed } = settings;
    await new Promise((resolve) => setTimeout(resolve, 200));
    if (asked !== epoch) return;
    if (judging.unknown(seed)) {
      const message = judging.question(seed);
      const answer = await pool.one(message);
      if (asked !== epoch) return;
      judging.learn(answer, message);
    }
    judging.count(seed);
    redraw();
  };

  let going = null; // what is being judged, and how far
  const judgeMore = async (total) => {
    const bar = find("progress");
    const task = (going = { done: 0 });
    const seeds = [];
    for (let seed = settings.seed; seeds.length < total; seed++) if (total === 100 || !judging.count().includes(seed)) seeds.push(seed);
    const told = (seed) => {
      judging.count(seed);
      bar.value = ++task.done / seeds.length;
      tell();
      drawRace();
    };
    [bar.hidden, bar.value, button.halt.disabled] = [false, 0, false];
    button.tally.disabled = button.race.disabled = true;
    seeds.filter((seed) => !judging.unknown(seed)).forEach(told);
    const questions = function* () {
      for (const seed of seeds) if (judging.unknown(seed)) yield judging.question(seed);
    };
    const keep = (answer, asked) => {
      judging.learn(answer, asked);
      told(asked.settings.seed);
    };
    await pool.all(questions(), keep, () => going === task);
    [bar.hidden, button.halt.disabled] = [true, true];
    button.tally.disabled = button.race.disabled = false;
    if (going === task) going = null;
  };

  // time

  const setPlaying = (on) => {
    playing = on;
    button.play.textContent = on ? "Pause" : "Play";
  };
  /** What the reader wants, until told otherwise. */
  const play = (on) => {
    keen = on;
    if (on && finished()) open();
    setPlaying(on);
    if (!on) announce();
    run();
  };
  let scheduled = false;
  let lately = null;
  const run = () => {
    if (!playing || scheduled) return;
    scheduled = true;
    const next = () => requestAnimationFrame(tick);
    if (still) setTimeout(next, 400);
    else next();
  };
  const tick = async () => {
    scheduled = false;
    if (!playing || !visible || document.hidden || opening) return;
    if (finished()) {
      setPlaying(false);
      return announce();
    }
    if (!busy) {
      // sixty steps a second, whatever the frame rate
      const now = performance.now();
      const steps = clamp(Math.round((now - (lately ?? now)) * 0.06), 1, 4);
      lately = now;
      await advance(still ? 20 : steps);
    }
    run();
  };

  // words

  const arrived = (key) => {
    const at = judging.arrival(key);
    return at !== null && at <= step() ? at : null;
  };
  const fate = (key) => {
    if (!runs[key]) return "";
    if (runs[key].diverged) return `diverged at step ${runs[key].diverged}`;
    if (arrived(key) !== null) return `reached it at step ${arrived(key)}`;
    return step() >= spec.limit ? `not there in ${spec.limit} steps` : "";
  };
  const sentence = () => {
    const parts = shown().map((key) => {
      const last = runs[key]?.rows.at(-1)?.[HELD_OUT];
      const level = Number.isFinite(last) ? `loss ${last.toFixed(2)}` : "no loss yet";
      const text = `${rules[key].label}: ${fate(key) || level}`;
      return text[0].toUpperCase() + text.slice(1);
    });
    const end = step() >= spec.limit ? ", where runs end" : "";
    return `Step ${step()}${end}. ${parts.join(". ")}.`;
  };
  const announce = () => (out("spoken").textContent = sentence());

  const tell = () => {
    out("status").textContent = sentence();
    for (const key of shown()) {
      const words = find(`[data-map=${key}] .sx-fate`);
      if (words) words.textContent = [fate(key), runs[key]?.flat ? "answers the same everywhere" : ""].filter(Boolean).join(", ");
    }
    const seeds = judging.count();
    const first = rivals()[0];
    const hopeless = seeds.filter((seed) => judging.hopeless(seed)).length;
    const pairs = seeds.map((seed) => ["meta", first].map((key) => judging.arrival(key, seed) ?? Infinity));
    const of = (test) => pairs.filter(([a, b]) => test(a, b)).length;
    out("tally").textContent = seeds.length
      ? `Sooner at the target loss: ${rules.meta.label} on ${of((a, b) => a < b)} of ${seeds.length} ` +
        `instance${seeds.length > 1 ? "s" : ""}, ${rules[first].label} on ${of((a, b) => a > b)}; level on ` +
        `${of((a, b) => a === b && a < Infinity)}, neither there on ${of((a, b) => a === b && a === Infinity)}` +
        `${hopeless ? `, on ${hopeless} of which there is nothing to learn` : ""}.`
      : "Judging this instance …";
  };

  // drawings

  const views = { maps: {}, charts: {} };
  const showMaps = () => {
    for (const sheet of Object.values(views.maps)) sheet.observer.disconnect();
    views.maps = {};
    find(".sx-maps").replaceChildren(
      ...shown().map((key) => {
        const figure = document.createElement("div");
        figure.className = "sx-map";
        figure.dataset.map = key;
        figure.innerHTML = `<div class="sx-caption">${line(key)}<span class="sx-fate"></span></div><canvas></canvas>`;
        figure.firstChild.querySelector(".sx-key").style.fontWeight = 600;
        views.maps[key] = new Sheet(figure.querySelector("canvas"), () => redraw());
        figure.querySelector("canvas").onclick = (event) => addPoint(event);
        return figure;
      }),
    );
    find(".sx-views").style.setProperty("--maps", shown().length);
    find(".sx-views").dataset.maps = shown().length;
  };
  const addPoint = ({ target: canvas, offsetX, offsetY }) => {
    if (settings.data !== "own") return;
    const label = Number(find("[name=class]:checked").value);
    const size = canvas.clientWidth;
    const [x, y] = [(offsetX / size) * 2 - 1, 1 - (offsetY / size) * 2].map((at, axis) => clamp(box[axis] + at * box[2], -SPAN, SPAN));
    const calm = untouched() ? {} : { severity: spec.shifts[settings.shift].identity };
    change({ points: [...settings.points, [x, y, label]].slice(-spec.most), ...calm });
  };

  const redraw = () => {
    if (!points) return;
    const ink = inks(el);
    tell();
    const size = views.maps.meta?.width;
    const drawn = JSON.stringify([size, box, ink]);
    if (size && layer?.of !== drawn) {
      layer = { of: drawn, canvas: drawPoints(size, views.maps.meta.ratio, ink, { points, classes: spec.classes, colours: spec.colours, box }) };
    }
    for (const [key, sheet] of Object.entries(views.maps)) {
      const { map, diverged, flat } = runs[key] ?? {};
      const note = diverged ? `diverged at step ${diverged}` : flat && step() > 0 ? "the same answer everywhere" : "";
      drawMap(sheet, ink, { map, grid: spec.grid, box, note, layer: layer?.canvas });
      sheet.canvas.setAttribute("aria-label", `Points, and how ${rules[key].label} divides the plane. ${fate(key)}`);
    }
    out("foot").textContent =
      `Dashed circle: where nearly all of task A’s inputs lie. A map is ${Number((2 * box[2]).toPrecision(2))} of their standard deviations wide. ` +
      `Runs end after ${spec.limit} steps.`;
    for (const [chart, column] of Object.entries(COLUMNS)) drawCurves(ink, chart, column);
    drawRace(ink);
    drawSees();
  };
  const layers = (key) => {
    const sees = rules[key]?.sees?.length ?? 0;
    const first = BESIDE + (sees ? sees + 1 : 0);
    const width = runs[key].rows.at(-1)?.length ?? 0;
    return Array.from({ length: Math.max(0, width - first) }, (_, part) => first + part);
  };
  const drawCurves = (ink, chart, column) => {
    const present = shown().filter((key) => runs[key]);
    const values = (key, at) => runs[key].rows.map((row) => row[at]);
    const curves = present.map((key) => ({ ...look(key), values: values(key, column) }));
    const marks = [];
    if (chart === "loss") {
      curves.unshift(...present.map((key) => ({ ...look(key), values: values(key, LOSS), faint: true })));
      for (const key of present) {
        const { diverged } = runs[key];
        if (diverged) marks.push({ ...look(key), step: diverged, text: `${rules[key].label} diverged` });
        else if (arrived(key) !== null && judging.target()) marks.push({ ...look(key), step: arrived(key), value: judging.target() });
      }
    }
    if (chart === "rate") {
      for (const key of present) {
        const of = (part) => runs[key].rows.map((row) => row[RATE] * Math.exp(row[part]));
        curves.unshift(...layers(key).map((part) => ({ ...look(key), wide: false, values: of(part) })));
      }
    }
    drawChart(views.charts[chart], ink, {
      curves, marks, limit: spec.limit, now: scrubbed, least: chart === "loss" ? 0.3 : 1, most: chart === "loss" ? 4 : 1e12,
      line: chart === "loss" ? judging.target() : null,
    });
    const ends = present.map((key) => `${rules[key].label} ${number(values(key, column).at(-1) ?? NaN)}`);
    const [, title] = CHARTS.find(([each]) => each === chart);
    views.charts[chart].canvas.setAttribute("aria-label", `${title}: ${ends.join(", ")}`);
  };

  const panel = (which) => !find(`[data-panel=${which}]`).hidden;
  const drawRace = (ink = inks(el)) => {
    if (!panel("race")) return;
    const seeds = judging.count().filter((seed) => !judging.unknown(seed) && !judging.hopeless(seed));
    const keys = shown();
    drawArrivals(views.arrivals, ink, {
      limit: spec.limit, runs: keys.map((key) => ({ ...look(key), steps: seeds.map((seed) => judging.arrival(key, seed)) })),
    });
    const many = seeds.length > 1;
    const rows = many ? keys.filter((key) => key !== rivals()[0]).map((key) => ({ key, ...look(key), ...judging.speedup(key, rivals()[0], seeds) })) : [];
    drawIntervals(views.intervals, ink, { rows });
    out("ratios").textContent = `How many times sooner than ${rules[rivals()[0]].label}, with 95 % over ${seeds.length} instances`;
    const told = rows.map(({ key, value, low, high }) => `${rules[key].label}: ${value.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]`);
    find(".sx-ratios").replaceChildren(
      ...rows.map(({ key }, at) => {
        const item = document.createElement("li");
        item.innerHTML = line(key);
        item.firstChild.lastChild.textContent = told[at];
        return item;
      }),
    );
    views.intervals.canvas.setAttribute("aria-label", told.join("; ") || "no interval yet");
    views.arrivals.canvas.setAttribute("aria-label", keys.map((key) => `${rules[key].label} arrived on ${seeds.filter((seed) => judging.arrival(key, seed) !== null).length} of ${seeds.length}`).join("; "));
  };

  // what the learned rate sees

  let scrubbed = null; // a step that the reader looks at; null is the last
  const { sees } = spec.rules.meta;
  find(".sx-sees").replaceChildren(
    ...sees.map((what) => {
      const row = document.createElement("li");
      row.innerHTML = `<span>${what}</span><i><b></b></i><output></output>`;
      return row;
    }),
  );
  const drawSees = () => {
    if (!panel("sees")) return;
    const rows = runs.meta?.rows ?? [];
    control.scrub.max = Math.max(1, rows.length);
    const at = scrubbed === null ? rows.length : Math.min(scrubbed, rows.length);
    control.scrub.value = Math.max(1, at);
    out("scrub").textContent = at || "–";
    const row = rows[at - 1];
    if (!row) return void (out("change").textContent = "Nothing yet: press Play.");
    const factor = Math.exp(row[BESIDE + sees.length]);
    out("change").textContent = `It ${factor > 1.005 ? "raises" : factor < 0.995 ? "lowers" : "keeps"} the rate: × ${number(factor)}, to ${number(row[RATE])}.`;
    all(".sx-sees li").forEach((item, place) => {
      const value = row[BESIDE + place];
      item.querySelector("b").style.setProperty("--from", clamp(Math.min(0, value) / 6 + 0.5, 0, 1));
      item.querySelector("b").style.setProperty("--to", clamp(Math.max(0, value) / 6 + 0.5, 0, 1));
      item.querySelector("output").textContent = value.toFixed(2).replace("-", "−");
    });
  };
  control.scrub.oninput = () => {
    scrubbed = Number(control.scrub.value) >= step() ? null : Number(control.scrub.value);
    if (scrubbed !== null) play(false);
    redraw();
  };

  // meta-training

  const learning = spec.learning && new Learning(spec.learning, new Pool(office), () => drawLearn());
  const drawLearn = () => {
    if (!learning) return;
    const { step: outer, curve, shipped, going: on, done } = learning;
    button.learn.textContent = on ? "Stop" : done ? "Learnt" : outer ? "Go on" : "Learn";
    button.learn.disabled = done;
    button.mine.disabled = outer === 0;
    if (on || outer) {
      const last = curve.at(-1)?.[1];
      out("learn").textContent =
        `Outer step ${outer} of ${spec.learning.steps}. ` +
        (last === undefined ? "Judging where it starts …" : `On instances that it is not trained on the log loss lies ${(-last).toFixed(2)} below the first, on average over a run; with the shipped learned rate, ${(-shipped).toFixed(2)}.`);
    }
    if (panel("learn")) drawLearning(views.learning, inks(el), { curve, shipped, limit: spec.learning.steps, colour: MINE.colour });
    views.learning.canvas.setAttribute("aria-label", out("learn").textContent);
  };
  button.learn.onclick = () => (learning.going ? learning.stop() : learning.run());
  button.mine.onclick = () => {
    learning.stop();
    mine = [...learning.theta];
    rules.mine = MINE;
    change({ rival: [...new Set([...rivals(), "mine"])].join(",") });
    tab("race");
  };
  if (!learning) find("[data-tab=learn]").hidden = true;

  // the panels, and the tour

  const tab = (which) => {
    for (const each of all("[role=tab]")) {
      each.setAttribute("aria-selected", each.dataset.tab === which);
      each.tabIndex = each.dataset.tab === which ? 0 : -1;
    }
    for (const each of all("[role=tabpanel]")) each.hidden = each.dataset.panel !== which;
    redraw();
    drawLearn();
  };
  all("[role=tab]").forEach((each, at, tabs) => {
    const id = `sx-${Math.random().toString(36).slice(2)}`;
    const body = find(`[data-panel=${each.dataset.tab}]`);
    Object.assign(each, { id, onclick: () => tab(each.dataset.tab) });
    each.setAttribute("aria-controls", (body.id = `${id}-panel`));
    body.setAttribute("aria-labelledby", id);
    each.onkeydown = ({ key }) => {
      const offered = tabs.filter((one) => !one.hidden);
      const next = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (!next) return;
      const other = offered[(offered.indexOf(each) + next + offered.length) % offered.length];
      tab(other.dataset.tab);
      other.focus();
    };
  });

  let stop = null; // of the tour
  const visit = (at) => {
    stop = at;
    find("[data-part=tour]").hidden = at === null;
    if (at === null) return button.tour.focus();
    const [text, wanted, which] = TOUR[at];
    out("tour").textContent = `${at + 1} of ${TOUR.length}. ${text}`;
    button.back.disabled = at === 0;
    button.on.disabled = at === TOUR.length - 1;
    change({ noise: 0, data: "home", ...wanted });
    if (which) tab(which);
  };
  button.tour.onclick = () => visit(0);
  button.back.onclick = () => visit(stop - 1);
  button.on.onclick = () => visit(stop + 1);
  button.end.onclick = () => visit(null);

  // events

  for (const figure of all("[data-chart]")) views.charts[figure.dataset.chart] = new Sheet(figure.querySelector("canvas"), () => redraw());
  for (const canvas of all("[data-canvas]")) {
    views[canvas.dataset.canvas] = new Sheet(canvas, () => (canvas.dataset.canvas === "learning" ? drawLearn() : drawRace()));
  }
  const stops = () => spec.shifts[settings.shift].stops;
  control.shift.onchange = () => change({ shift: control.shift.value, severity: spec.shifts[control.shift.value].telling });
  control.severity.oninput = () => change({ severity: stops()[control.severity.value] });
  control.rate.oninput = () => change({ rate: 10 ** control.rate.value });
  for (const name of ["noise", "data"]) control[name].oninput = () => change({ [name]: control[name].value });
  control.seed.onchange = () => change({ seed: control.seed.value });
  find("form").onsubmit = (event) => event.preventDefault();
  button.next.onclick = () => change({ seed: settings.seed + 1 });
  button.undo.onclick = () => settings.points.length > 1 && change({ points: settings.points.slice(0, -1) });
  button.clear.onclick = () => change({ points: spec.places.map((each) => [...each]) });
  button.play.onclick = () => play(!playing);
  button.step.onclick = () => {
    play(false);
    if (!busy && !opening && !finished()) advance(1).then(announce);
  };
  button.reset.onclick = () => {
    play(false);
    scrubbed = null;
    open();
  };
  button.tally.onclick = () => judgeMore(20);
  button.race.onclick = () => judgeMore(100);
  button.halt.onclick = () => (going = null);
  button.copy.hidden = !hashed;
  button.copy.onclick = async () => {
    const link = location.href.split("#")[0] + toHash(settings, hidden);
    try {
      await navigator.clipboard.writeText(link);
      say(["The link is copied."]);
    } catch {
      say([`The link: ${link}`]);
    }
  };

  const off = new AbortController();
  const follow = (wanted) => {
    change({ data: "home", noise: 0, ...(wanted.shift && wanted.severity === undefined ? { severity: "" } : {}), ...wanted }, { aloud: true });
    el.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
  };
  if (hashed) {
    addEventListener("hashchange", () => fromHash(location.hash) && follow(fromHash(location.hash)), { signal: off.signal });
    // a link that was followed before changes no address, and yet is clicked
    const click = (event) => {
      const wanted = fromHash(event.target.closest?.('a[href^="#"]')?.hash ?? "");
      if (!wanted || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      follow(wanted);
    };
    document.addEventListener("click", click, { signal: off.signal });
  }
  model.on("change:settings", () => {
    const given = model.get("settings");
    if (NAMES.some((each) => JSON.stringify(given[each]) !== JSON.stringify(settings[each]))) change(given);
  });
  const seen = new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
    if (visible) run();
  });
  seen.observe(el);
  document.addEventListener("visibilitychange", run, { signal: off.signal });
  const themes = new MutationObserver(() => redraw());
  for (const node of [document.documentElement, document.body]) {
    themes.observe(node, { attributes: true, attributeFilter: ["data-theme", "class", "data-jp-theme-light"] });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw(), { signal: off.signal });

  const asked = hashed && fromHash(location.hash);
  if (asked) {
    const answer = nearest(spec, { ...settings, ...(asked.shift && asked.severity === undefined ? { severity: "" } : {}), ...asked });
    settings = answer.settings;
    say(answer.told);
    remember();
  }
  show();
  tab("race");
  open().then(() => {
    if (still) advance(60);
    else play(true);
  });

  return () => {
    play(false);
    going = null;
    learning?.stop();
    off.abort();
    seen.disconnect();
    themes.disconnect();
    const { maps, charts, ...others } = views;
    for (const sheet of [maps, charts, others].flatMap((each) => Object.values(each))) sheet.observer.disconnect();
    office.close();
  };
}

export default { render };
