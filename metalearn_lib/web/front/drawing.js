// What is drawn: charts of curves over steps, maps of the plane, and shares that arrive.

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
export const number = (value) => String(Number(value.toPrecision(3)));
export const DASHES = [[], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [1, 3], [12, 3]];
const FONT = 12;

/** A canvas that knows its size in CSS pixels, and its device's pixels. */
export class Sheet {
  constructor(canvas, draw) {
    Object.assign(this, { canvas, draw, context: canvas.getContext("2d"), width: 0, height: 0 });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "nothing drawn yet");
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(canvas);
  }
  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    const ratio = window.devicePixelRatio || 1;
    if (!clientWidth) return;
    Object.assign(this, { width: clientWidth, height: clientHeight, ratio });
    Object.assign(this.canvas, { width: Math.round(clientWidth * ratio), height: Math.round(clientHeight * ratio) });
    this.draw();
  }
  clear() {
    this.context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.context.clearRect(0, 0, this.width, this.height);
    return this.context;
  }
}

export const inks = (element) => {
  const style = getComputedStyle(element);
  const of = (name) => style.getPropertyValue(`--sx-${name}`).trim();
  return { ink: of("ink"), muted: of("muted"), line: of("line"), ground: of("ground"), outline: of("outline"), font: style.fontFamily };
};

/** A frame of a chart, and how to get from a step and a value to a place on it. */
const frame = (sheet, ink, { limit, low, high, marks, unit = "steps" }) => {
  const context = sheet.clear();
  const [left, right, top, bottom] = [42, sheet.width - 10, 8, sheet.height - 20];
  const x = (step) => left + ((right - left) * step) / limit;
  const y = (place) => clamp(bottom - ((bottom - top) * (place - low)) / (high - low), top, bottom);
  context.font = `${FONT}px ${ink.font}`;
  context.lineWidth = 1;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const [place, text] of marks(bottom - top)) {
    context.strokeStyle = ink.line;
    context.beginPath();
    context.moveTo(left, y(place));
    context.lineTo(right, y(place));
    context.stroke();
    context.fillStyle = ink.muted;
    context.fillText(text, left - 5, y(place));
  }
  context.textBaseline = "alphabetic";
  context.fillStyle = ink.muted;
  for (let step = 0; step <= limit; step += limit / (sheet.width < 400 ? 2 : 4)) {
    context.textAlign = step === 0 ? "left" : step === limit ? "right" : "center";
    context.fillText(step === limit ? `${limit} ${unit}` : String(step), x(step), sheet.height - 5);
  }
  return { context, left, right, top, bottom, x, y };
};

const stroke = (context, { colour, dash = [], faint, wide }, path) => {
  context.strokeStyle = colour;
  context.globalAlpha = faint ? 0.3 : 1;
  context.lineWidth = faint ? 1 : wide ? 2.5 : 1.8;
  context.setLineDash(faint ? [] : dash);
  context.beginPath();
  path();
  context.stroke();
  context.setLineDash([]);
  context.globalAlpha = 1;
};

/** A line across a chart, with a word to it. */
const level = ({ context, left, right, top, y }, ink, place, word, colour = ink.ink) => {
  stroke(context, { colour, dash: [4, 4] }, () => {
    context.moveTo(left, y(place));
    context.lineTo(right, y(place));
  });
  context.textAlign = "right";
  context.fillStyle = ink.ink;
  context.fillText(word, right, y(place) > top + 16 ? y(place) - 5 : y(place) + 14);
};

/** Curves over steps on a logarithmic axis; `curves` are {colour, dash, values, faint, wide}. */
export const drawChart = (sheet, ink, { curves, limit, line, marks, now, least = 0, most = 1e12 }) => {
  if (!sheet.width) return;
  let [low, high] = [Infinity, -Infinity];
  const meet = (value) => {
    if (!(value > 0 && value < 1e12)) return;
    low = Math.min(low, value);
    high = Math.max(high, Math.min(value, most));
  };
  for (const { values } of curves) values.forEach(meet);
  if (line) meet(line);
  if (low > high) [low, high] = [0.1, 10];
  [low, high] = [Math.log10(low), Math.log10(high)];
  const spread = Math.max(high - low, least);
  [low, high] = [(low + high - spread) / 2 - 0.08 * spread - 0.02, (low + high + spread) / 2 + 0.08 * spread + 0.02];
  const axis = frame(sheet, ink, {
    limit, low, high, marks: (pixels) => ticks(low, high, pixels).map((value) => [Math.log10(value), power(value)]),
  });
  const { context, left, right, top, bottom, x } = axis;
  const y = (value) => axis.y(Math.log10(value));
  if (line) level(axis, ink, Math.log10(line), "target loss");
  context.save();
  context.beginPath();
  context.rect(left, top - 4, right - left + 4, bottom - top + 8);
  context.clip();
  context.lineJoin = "round";
  for (const curve of curves) {
    stroke(context, curve, () => {
      curve.values.forEach((value, step) => {
        if (value > 0) context.lineTo(x(step + 1), y(value));
      });
    });
  }
  if (now) stroke(context, { colour: ink.muted }, () => (context.moveTo(x(now), top), context.lineTo(x(now), bottom)));
  context.restore();
  for (const { colour, step, value, text } of marks ?? []) {
    const [h, v] = [x(step), text ? top + 6 : y(value)];
    context.lineWidth = 2;
    if (text) {
      context.strokeStyle = colour;
      context.beginPath();
      for (const sign of [1, -1]) {
        context.moveTo(h - 5, v - 5 * sign);
        context.lineTo(h + 5, v + 5 * sign);
      }
      context.stroke();
      context.textAlign = h > (left + right) / 2 ? "right" : "left";
      context.fillStyle = ink.ink;
      context.fillText(text, h + (h > (left + right) / 2 ? -9 : 9), clamp(v + 4, top + 10, bottom - 4));
    } else {
      context.fillStyle = colour;
      context.strokeStyle = ink.ground;
      context.beginPath();
      context.arc(h, v, 5, 0, 7);
      context.fill();
      context.stroke();
    }
  }
};

/** The share of instances that have arrived by each step; `runs` are {colour, dash, wide, steps}, null where it never does. */
export const drawArrivals = (sheet, ink, { runs, limit }) => {
  if (!sheet.width) return;
  const marks = () => [0, 0.25, 0.5, 0.75, 1].map((share) => [share, `${100 * share} %`]);
  const { context, x, y } = frame(sheet, ink, { limit, low: -0.02, high: 1.02, marks });
  for (const run of runs) {
    const arrived = run.steps.filter((step) => step !== null).toSorted((a, b) => a - b);
    stroke(context, run, () => {
      context.moveTo(x(0), y(0));
      arrived.forEach((step, place) => {
        context.lineTo(x(step), y(place / run.steps.length));
        context.lineTo(x(step), y((place + 1) / run.steps.length));
      });
      context.lineTo(x(limit), y(arrived.length / Math.max(1, run.steps.length)));
    });
  }
};

/** Intervals of ratios on a logarithmic axis, a row to each; `rows` are {colour, label, value, low, high}. */
export const drawIntervals = (sheet, ink, { rows }) => {
  if (!sheet.width) return;
  const context = sheet.clear();
  const [left, right, top, bottom] = [10, sheet.width - 10, 4, sheet.height - 18];
  const reach = Math.max(Math.log(2), ...rows.flatMap(({ low, high }) => [Math.abs(Math.log(low)), Math.abs(Math.log(high))])) * 1.1;
  const x = (ratio) => left + ((right - left) * (Math.log(ratio) + reach)) / (2 * reach);
  context.font = `${FONT}px ${ink.font}`;
  context.fillStyle = ink.line;
  context.fillRect(x(1 / 1.1), top, x(1.1) - x(1 / 1.1), bottom - top);
  context.fillStyle = ink.muted;
  context.textAlign = "center";
  for (const ratio of [0.1, 0.2, 0.5, 1, 2, 5, 10]) {
    if (Math.abs(Math.log(ratio)) < reach) context.fillText(`× ${ratio}`, x(ratio), sheet.height - 4);
  }
  rows.forEach(({ colour, value, low, high }, place) => {
    const y = top + ((bottom - top) * (place + 0.5)) / rows.length;
    stroke(context, { colour, wide: true }, () => (context.moveTo(x(low), y), context.lineTo(x(high), y)));
    context.fillStyle = colour;
    context.beginPath();
    context.arc(x(value), y, 5, 0, 7);
    context.fill();
  });
};

/** The meta-loss over outer steps, with lines where nothing is done and where the shipped rate is. */
export const drawLearning = (sheet, ink, { curve, shipped, limit, colour }) => {
  if (!sheet.width) return;
  const values = [...curve.map(([, loss]) => loss), ...(shipped === null ? [] : [shipped])];
  const [low, high] = [Math.min(-0.5, ...values) - 0.1, Math.max(0, ...values) + 0.1];
  const step = high - low > 1.5 ? 0.5 : 0.25;
  const marks = () => {
    const found = [];
    for (let place = Math.ceil(low / step) * step; place <= high; place += step) found.push([place, place.toFixed(2).replace("-", "−")]);
    return found;
  };
  const axis = frame(sheet, ink, { limit, low, high, marks, unit: "outer steps" });
  if (shipped !== null) level(axis, ink, shipped, "the shipped learned rate");
  stroke(axis.context, { colour, wide: true }, () => curve.forEach(([at, loss]) => axis.context.lineTo(axis.x(at), axis.y(loss))));
};

const DIGITS = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 6, 8], [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9]];
/** Round values for a logarithmic axis between two powers of ten, as many as `pixels` have room for. */
const ticks = (low, high, pixels) => {
  const room = pixels / 36; // a label needs about as much
  const decades = Math.max(1, Math.ceil((high - low) / room));
  const steps = DIGITS.findLast((digits) => digits.length * (high - low) <= room) ?? [1];
  const found = [];
  for (let decade = Math.floor(low); decade <= Math.ceil(high); decade++) {
    if (decade % decades) continue;
    for (const step of steps) {
      const value = step * 10 ** decade;
      if (Math.log10(value) >= low && Math.log10(value) <= high) found.push(value);
    }
  }
  return found;
};
const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const power = (value) => {
  if (value >= 1e-3 && value < 1e4) return number(value);
  const [digit, exponent] = value.toExponential(0).split("e");
  const raised = [...String(Number(exponent))].map((sign) => SUPERSCRIPT[sign]).join("");
  return (digit === "1" ? "" : digit + "·") + "10" + raised;
};

/** Add the mark of a class to the path: a disc, a square, a triangle, ... */
export const mark = (context, label, x, y, radius) => {
  const kind = label % 5;
  if (kind === 0) {
    context.moveTo(x + radius, y);
    context.arc(x, y, radius, 0, 7);
  } else if (kind === 1) {
    context.rect(x - 0.9 * radius, y - 0.9 * radius, 1.8 * radius, 1.8 * radius);
  } else {
    const corners = { 2: [0, -1.25, 1.1, 0.8, -1.1, 0.8], 3: [0, -1.3, 1.3, 0, 0, 1.3, -1.3, 0], 4: [0, 1.25, 1.1, -0.8, -1.1, -0.8] }[kind];
    for (let corner = 0; corner < corners.length; corner += 2) {
      context[corner ? "lineTo" : "moveTo"](x + radius * corners[corner], y + radius * corners[corner + 1]);
    }
    context.closePath();
  }
};

/** Where the box's points lie on a map of a size. */
const onto = ([centre, middle, half], size) => ({
  across: (x) => (size * (x - centre + half)) / (2 * half),
  down: (y) => (size * (middle + half - y)) / (2 * half),
});

/** The points, which move only with the setting, on a sheet of their own. */
export const drawPoints = (size, ratio, ink, { points, classes, colours, box }) => {
  const layer = Object.assign(document.createElement("canvas"), { width: Math.round(size * ratio), height: Math.round(size * ratio) });
  const context = layer.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const { across, down } = onto(box, size);
  const radius = size > 240 ? 2.6 : 2;
  context.lineWidth = 0.6;
  context.strokeStyle = ink.outline;
  for (let c = 0; c < classes; c++) {
    context.fillStyle = colours[c];
    context.beginPath();
    for (let row = 0; row < points.length; row += 2 + classes) {
      if (points[row + 2 + c]) mark(context, c, across(points[row]), down(points[row + 1]), radius);
    }
    context.fill();
    context.stroke();
  }
  return layer;
};

/** Points on the plane, over the class that the network would give each place. */
export const drawMap = (sheet, ink, { map, grid, box, note, layer }) => {
  if (!sheet.width || !layer) return;
  const context = sheet.clear();
  const size = sheet.width;
  context.fillStyle = ink.ground;
  context.fillRect(0, 0, size, size);
  if (map) {
    sheet.small ??= Object.assign(document.createElement("canvas"), { width: grid, height: grid });
    sheet.small.getContext("2d").putImageData(new ImageData(map, grid, grid), 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(sheet.small, 0, 0, size, size);
  }
  context.drawImage(layer, 0, 0, size, size);
  const half = box[2];
  const { across, down } = onto(box, size);
  /** Words that can be read over points. */
  const label = (words, x, y) => {
    context.lineWidth = 3;
    context.strokeStyle = ink.ground;
    context.strokeText(words, x, y);
    context.fillText(words, x, y);
  };
  // where task A's inputs lie: two standard deviations about the origin
  context.strokeStyle = ink.ink;
  context.fillStyle = ink.ink;
  context.font = `${FONT}px ${ink.font}`;
  context.lineWidth = 1.5;
  const [h, v] = [across(0), down(0)];
  const reach = size / half;
  if (h > -reach && h < size + reach && v > -reach && v < size + reach) {
    context.setLineDash([3, 3]);
    context.beginPath();
    context.arc(h, v, Math.max(reach, 2), 0, 7);
    context.stroke();
    context.setLineDash([]);
    if (reach < size * 0.3) {
      context.textAlign = h > size - 60 ? "right" : h < 60 ? "left" : "center";
      label("task A", clamp(h, 4, size - 4), clamp(v - reach - 4, 12, size - 20));
    }
  } else {
    const angle = Math.atan2(v - size / 2, h - size / 2);
    const away = size / 2 / Math.max(Math.abs(Math.cos(angle)), Math.abs(Math.sin(angle)));
    const at = (distance, side = 0) => [
      size / 2 + Math.cos(angle) * distance - Math.sin(angle) * side,
      size / 2 + Math.sin(angle) * distance + Math.cos(angle) * side,
    ];
    context.beginPath();
    context.moveTo(...at(away - 2));
    context.lineTo(...at(away - 14, 5));
    context.lineTo(...at(away - 14, -5));
    context.fill();
    const [x, y] = at(away - 20);
    context.textAlign = x > size * 0.6 ? "right" : x < size * 0.4 ? "left" : "center";
    label("task A", clamp(x, 4, size - 4), clamp(y + 4, 26, size - 20));
  }
  if (note) {
    context.fillStyle = ink.ground;
    context.globalAlpha = 0.72;
    context.fillRect(0, size / 2 - 18, size, 36);
    context.globalAlpha = 1;
    context.fillStyle = ink.ink;
    context.textAlign = "center";
    context.font = `600 ${size > 240 ? 14 : 12}px ${ink.font}`;
    context.fillText(note, size / 2, size / 2 + 5);
  }
};

/** The smallest square that holds nearly all points: centre and half width. */
export const boxOf = (points, classes) => {
  const sides = [0, 1].map((axis) => {
    const values = [];
    for (let row = 0; row < points.length; row += 2 + classes) values.push(points[row + axis]);
    values.sort((a, b) => a - b);
    return [values[Math.floor(values.length * 0.004)], values[Math.ceil(values.length * 0.996) - 1]];
  });
  const half = (1.12 * Math.max(...sides.map(([low, high]) => high - low))) / 2;
  return [...sides.map(([low, high]) => (low + high) / 2), half];
};
