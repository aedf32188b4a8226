// The settings: which there are, the nearest to what is asked for, and how an address says them.

import { clamp, number } from "./drawing.js";

export const NAMES = ["data", "shift", "severity", "rate", "noise", "seed", "rival", "points"];
export const SPAN = 4; // a reader's points lie within this, in standard deviations of task A's inputs

/** A reader's points in five signs each: the class, and two each for the places, in 36ths of 36ths. */
const POINTS = {
  write: (points) =>
    points
      .map(([x, y, label]) => label + [x, y].map((at) => Math.round((1295 * (at + SPAN)) / (2 * SPAN)).toString(36).padStart(2, "0")).join(""))
      .join(""),
  read: (text) =>
    (text.match(/.{5}/g) ?? []).map((signs) => [
      ...[signs.slice(1, 3), signs.slice(3, 5)].map((at) => (parseInt(at, 36) * 2 * SPAN) / 1295 - SPAN),
      parseInt(signs[0], 10),
    ]),
};

/** The settings nearest to what was asked for, and a sentence for each that is another. */
export const nearest = (spec, wanted) => {
  const told = [];
  const among = (name, choices, what) => {
    if (wanted[name] in choices) return wanted[name];
    const first = Object.keys(choices)[0];
    if (wanted[name] !== undefined) told.push(`There is no ${what} “${wanted[name]}”, so this is ${choices[first].label ?? choices[first]}.`);
    return first;
  };
  const given = (name, otherwise, low, high, round) => {
    const text = wanted[name];
    const asked = text !== "" && text != null && Number.isFinite(Number(text)) ? Number(text) : null;
    const value = clamp(round(asked ?? otherwise), low, high);
    if (text !== "" && text != null && (asked === null || Math.abs(value - asked) > 0.04 * Math.abs(asked) + 1e-9)) {
      told.push(`There is no ${name} ${text}, so it is ${name === "seed" ? value : number(value)}.`);
    }
    return value;
  };
  const shift = among("shift", spec.shifts, "shift");
  const { stops, identity } = spec.shifts[shift];
  const stop = (value) => stops.reduce((a, b) => (Math.abs(b - value) < Math.abs(a - value) ? b : a));
  const rivals = Object.keys(spec.rules).filter((key) => key !== "meta");
  const asked = String(wanted.rival ?? rivals[0]).split(/[, ]/);
  const met = rivals.filter((key) => asked.includes(key));
  if (met.length < asked.length) told.push(`There is no rival “${asked.find((key) => !rivals.includes(key))}”.`);
  const points = (typeof wanted.points === "string" ? POINTS.read(wanted.points) : (wanted.points ?? []))
    .filter(([x, y, label]) => Math.abs(x) <= SPAN && Math.abs(y) <= SPAN && label >= 0 && label < spec.classes)
    .slice(0, spec.most);
  const settings = {
    data: among("data", spec.data, "data"),
    shift,
    severity: given("severity", identity, -Infinity, Infinity, stop),
    rate: given("rate", 1, 0.01, 100, (value) => 10 ** (Math.round(8 * Math.log10(Math.max(value, 1e-9))) / 8)),
    noise: given("noise", 0, 0, 0.4, (value) => Math.round(20 * value) / 20),
    seed: given("seed", 0, 0, 9999, Math.round),
    rival: (met.length ? met : rivals.slice(0, 1)).join(","),
    points: points.length ? points : spec.places.map((place) => [...place]),
  };
  return { settings, told };
};

/** The settings that an address asks for, or null where it is about something else, as a heading. */
export const fromHash = (hash) => {
  const pairs = new URLSearchParams(hash.slice(1));
  return NAMES.some((name) => pairs.has(name)) ? Object.fromEntries(pairs) : null;
};

export const toHash = (settings, hidden) => {
  const written = { ...settings, rate: number(settings.rate), points: POINTS.write(settings.points) };
  const names = NAMES.filter((name) => settings.data === "own" || !["points"].includes(name)).filter(
    (name) => name !== "data" || settings.data !== "home",
  );
  const pairs = names.map((name) => `${name}=${written[name]}`);
  return `#${[...pairs, ...(hidden ? [`hide=${hidden}`] : [])].join("&")}`;
};
