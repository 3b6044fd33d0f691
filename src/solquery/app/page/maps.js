// Where the query is: the archive's cloud in two parameters, and the latent space with the boundary of one.

import { getJson, latent } from "./api.js";
import { brush, drawLasso } from "./brush.js";
import { byId, nameOf, number, quantity, short, unit } from "./format.js";
import { compared } from "./numbers.js";
import { Picking } from "./picking.js";

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function ticks(low, high) {
  const rough = (high - low) / 6, ten = 10 ** Math.floor(Math.log10(rough));
  const step = ten * ([1, 2, 5, 10].find((n) => n * ten >= rough) ?? 10), out = [];
  for (let v = Math.ceil(low / step) * step; v <= high + 1e-9 * step; v += step) out.push(Math.abs(v) < 1e-9 * step ? 0 : v);
  return out;
}

/** Ticks of an axis of logarithms, each [place, text]: whole powers of ten, with 2 and 5 between where these are few. */
function powers(low, high) {
  const out = [], parts = high - low > 2.5 ? [1] : [1, 2, 5];
  for (let ten = Math.floor(low); ten <= high; ten++) for (const part of parts) {
    const at = ten + Math.log10(part);
    if (at >= low && at <= high) out.push([at, short(part * 10 ** ten, 1).replace(/^1×/, "")]);
  }
  return out;
}

/** The power of ten that goes from the ticks of an axis into its label; 1 where they are short. */
const tens = (low, high) => {
  const size = Math.max(Math.abs(low), Math.abs(high));
  return size >= 1e5 || size < 1e-2 ? 10 ** Math.floor(Math.log10(size)) : 1;
};
const scaled = (label, ten) => {
  if (ten === 1) return label;
  const power = number(ten, 1).replace(/^1×/, ""), at = label.lastIndexOf(", ");
  return at < 0 ? `${label}, ${power}` : `${label.slice(0, at)}, ${power} ${label.slice(at + 2)}`;
};

/** Axes over a box of data; gives the transform to the canvas. `dots` draws what stays while the query moves: its picture
    is kept as long as the box, the size and `data`, a text, are the same. */
export class Plot {
  constructor(canvas, [x0, x1], [y0, y1], labels, data, dots, logs = [false, false]) {
    const ratio = Math.max(1, window.devicePixelRatio || 1), width = canvas.clientWidth || 300, height = Math.round(width * 0.82);
    const key = [ratio, width, x0, x1, y0, y1, labels, data, document.documentElement.dataset.theme].join();
    canvas.width = width * ratio; canvas.height = height * ratio;
    this.g = canvas.getContext("2d");
    this.g.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.box = { left: 50, right: width - 8, top: 8, bottom: height - 34 };
    const { left, right, top, bottom } = this.box;
    this.x = (v) => left + ((v - x0) / (x1 - x0)) * (right - left);
    this.y = (v) => bottom - ((v - y0) / (y1 - y0)) * (bottom - top);
    const share = (s) => Math.max(0, Math.min(1, s));
    this.value = (px, py) => [x0 + (x1 - x0) * share((px - left) / (right - left)), y0 + (y1 - y0) * share((bottom - py) / (bottom - top))];
    const g = this.g;
    if (canvas.still?.key === key) {
      g.setTransform(1, 0, 0, 1, 0, 0);
      g.drawImage(canvas.still.picture, 0, 0);
      g.setTransform(ratio, 0, 0, ratio, 0, 0);
      this.clip();
      return;
    }
    g.font = "11px system-ui, sans-serif";
    g.fillStyle = colour("--muted"); g.strokeStyle = colour("--line"); g.lineWidth = 1;
    g.textAlign = "center";
    const tx = logs[0] ? 1 : tens(x0, x1), ty = logs[1] ? 1 : tens(y0, y1);
    const marks = (low, high, ten, log) => (log ? powers(low, high) : ticks(low, high).map((v) => [v, short(v / ten)]));
    for (const [v, text] of marks(x0, x1, tx, logs[0])) {
      const half = g.measureText(text).width / 2;
      this.line(this.x(v), top, this.x(v), bottom);
      g.fillText(text, Math.min(this.x(v), right + 6 - half), bottom + 13);
    }
    g.fillText(scaled(labels[0], tx), (left + right) / 2, height - 5);
    g.textAlign = "right";
    for (const [v, text] of marks(y0, y1, ty, logs[1])) { this.line(left, this.y(v), right, this.y(v)); g.fillText(text, left - 4, this.y(v) + 4); }
    g.save(); g.translate(10, (top + bottom) / 2); g.rotate(-Math.PI / 2); g.textAlign = "center"; g.fillText(scaled(labels[1], ty), 0, 0); g.restore();
    this.clip();
    dots(this);
    const picture = new OffscreenCanvas(canvas.width, canvas.height);
    picture.getContext("2d").drawImage(canvas, 0, 0);
    canvas.still = { key, picture };
  }
  clip() {
    const { left, right, top, bottom } = this.box;
    this.g.beginPath(); this.g.rect(left, top, right - left, bottom - top); this.g.clip();
  }
  line(x0, y0, x1, y1) { this.g.beginPath(); this.g.moveTo(x0, y0); this.g.lineTo(x1, y1); this.g.stroke(); }
  dot(x, y, radius, fill, edge) {
    const g = this.g;
    g.beginPath(); g.arc(this.x(x), this.y(y), radius, 0, 7); g.fillStyle = fill; g.fill();
    if (edge) { g.lineWidth = 1.5; g.strokeStyle = edge; g.stroke(); }
  }
  /** A ring round what is pointed at. */
  ring(spot) {
    if (!spot) return;
    const g = this.g;
    g.beginPath(); g.arc(spot.x, spot.y, 8, 0, 7); g.lineWidth = 2; g.strokeStyle = colour("--accent"); g.stroke();
  }
  /** The query: a diamond that is seen on anything. */
  query(x, y) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) return;
    this.query_(this.x(x), this.y(y));
  }
  query_(px, py) {
    const { g } = this, r = 8;
    g.beginPath(); g.moveTo(px, py - r); g.lineTo(px + r, py); g.lineTo(px, py + r); g.lineTo(px - r, py); g.closePath();
    g.fillStyle = colour("--accent"); g.fill(); g.lineWidth = 2; g.strokeStyle = colour("--surface"); g.stroke();
  }
}

/** The ends of a range that has all but half a per cent of `values` at each side; null where there are none. */
const middle = (values) => {
  const all = Float64Array.from(values).filter(Number.isFinite).sort();
  return all.length ? [all[Math.floor(0.005 * all.length)], all[Math.ceil(0.995 * all.length) - 1]] : null;
};
/** The range of an axis: the ends of `middle`, and what else has to be seen. It widens in steps, so that a query on its way out has the dots drawn anew a few times only. */
const around = (ends, extra) => {
  const seen = extra.filter(Number.isFinite);
  if (!ends && !seen.length) return [0, 1];
  let [low, high] = ends ?? [Math.min(...seen), Math.max(...seen)];
  if (low === high) { low -= 1; high += 1; }
  const step = (high - low) / 8, out = (gap) => Math.max(0, Math.ceil(gap / step)) * step;
  [low, high] = [low - out(low - Math.min(low, ...seen)), high + out(Math.max(high, ...seen) - high)];
  const margin = 0.06 * (high - low);
  return [low - margin, high + margin];
};
export const span = (values) => around(middle(values), []);

export class Maps {
  constructor(cloud, map, parameters, { use, brushed, lassoed, lasso }) {
    Object.assign(this, { cloud, map, parameters, use, brushed, lassoed, lasso, log: false });
    this.kept = new Map();
    this.now = { got: {}, matches: [], z: null, trail: [] };
    this.marked = {};
    const picking = (canvas, said, name, spots) => new Picking(canvas, byId(said), {
      spots, use, start: () => this[`${name}Query`] ?? [canvas.clientWidth / 2, canvas.clientWidth / 2], mark: (spot) => { this.marked[name] = spot; this.draw(); },
    });
    picking(cloud, "cloud-said", "cloud", () => this.cloudSpots());
    picking(map, "map-said", "map", () => this.mapSpots ?? []);
    this.band = null;
    const free = () => byId("lasso").checked;
    const inside = (event) => { const box = cloud.getBoundingClientRect(), { left, bottom } = this.plot?.box ?? {}; return event.clientX - box.left > left && event.clientY - box.top < bottom; };
    brush(cloud, {
      inside,
      moved: (a, b, path) => { this.band = a && (free() ? path : [a, [b[0], a[1]], b, [a[0], b[1]]]); this.draw(); },
      done: (a, b, path) => (free() ? this.encircled(path) : this.limited(a, b)),
    });
    new ResizeObserver(() => this.draw()).observe(cloud.parentElement);
  }

  async get(path) {
    if (!this.kept.has(path)) this.kept.set(path, getJson(path).catch((error) => { this.kept.delete(path); throw error; }));
    return this.kept.get(path);
  }

  async choose([x, y], boundary, hasArchive) {
    const wanted = (this.wanted = `${x} ${y} ${boundary}`);
    const [points, space] = await Promise.all([hasArchive ? this.get(`/api/cloud?x=${x}&y=${y}`) : null, this.get(`/api/map?parameter=${boundary}`)]);
    if (this.wanted !== wanted) return;
    Object.assign(this, { points, space, axes: [x, y] });
    this.draw();
  }

  update(now) { this.now = now; this.draw(); }

  /** Estimated latents of matches, by id. */
  place(placed) { this.placed = placed; this.draw(); }

  draw() {
    if (!this.space || !this.cloud.clientWidth) return;
    this.drawCloud();
    this.drawMap();
  }

  /** Where a point of the canvas, in shares of it, lies on the axes. */
  at([u, v]) { return this.plot.value(u * this.cloud.clientWidth, v * this.cloud.clientHeight); }

  /** A rectangle of the cloud as limits of its two parameters. */
  limited(a, b) {
    const ends = [this.at(a), this.at(b)], own = (k) => ends.map((end) => (this.bent[k] ? 10 ** end[k] : end[k])).sort((p, q) => p - q);
    this.brushed({ [this.axes[0]]: own(0), [this.axes[1]]: own(1) });
  }

  /** What a line encircles. */
  encircled(path) {
    const points = path.map((point) => this.at(point).map((v) => Number(v.toPrecision(4))));
    this.lassoed({ x: this.axes[0], y: this.axes[1], points, log: [...this.bent] });
  }

  drawCloud() {
    const { got: known, matches } = this.now, [x, y] = this.axes;
    const at = (v, k) => (this.bent[k] ? (v > 0 ? Math.log10(v) : NaN) : v);
    if (this.drawn?.points !== this.points || this.drawn.log !== this.log) {
      const all = this.points?.values ?? [];
      // logarithms where all that is shown can have one
      this.bent = [0, 1].map((k) => this.log && all.every((v) => v[k] >= 0) && all.some((v) => v[k] > 0));
      const values = all.map(([a, b]) => [at(a, 0), at(b, 1)]);
      this.drawn = { points: this.points, log: this.log, values, ends: [0, 1].map((k) => middle(values.map((v) => v[k]))) };
    }
    const got = { [x]: at(known[x], 0), [y]: at(known[y], 1) }, { values, ends } = this.drawn;
    const label = (name) => `${this.parameters[name].title}${this.parameters[name].unit ? `, ${unit(this.parameters[name].unit)}` : ""}`;
    const soft = colour("--simulated-dot"), real = colour("--real");
    this.spans = [around(ends[0], [got[x]]), around(ends[1], [got[y]])];
    this.shown = values;
    const plot = (this.plot = new Plot(this.cloud, ...this.spans, [label(x), label(y)], `${x} ${y} ${values.length} ${this.bent}`, (p) => {
      values.forEach(([a, b], k) => { if (this.points.source[k] !== "real") p.dot(a, b, 1.8, soft); });
      values.forEach(([a, b], k) => { if (this.points.source[k] === "real") p.dot(a, b, 3, real); });
    }, this.bent));
    const own = (match, name) => compared(this.parameters[name], match, name)?.value;
    for (const match of matches) plot.dot(at(own(match, x), 0), at(own(match, y), 1), 4.5, match.source === "real" ? real : colour("--surface"), colour("--ink"));
    plot.query(got[x], got[y]);
    this.cloudQuery = [plot.x(got[x]), plot.y(got[y])].every(Number.isFinite) ? [plot.x(got[x]), plot.y(got[y])] : null;
    plot.ring(this.marked.cloud);
    const wide = this.cloud.clientWidth, high = this.cloud.clientHeight, held = this.lasso();
    if (this.band) drawLasso(plot.g, this.band, wide, high, colour("--accent"));
    else if (held?.x === x && held.y === y && String(held.log) === String(this.bent)) drawLasso(plot.g, held.points.map(([a, b]) => [plot.x(a) / wide, plot.y(b) / high]), wide, high, colour("--accent"));
  }

  /** The dots of the cloud that can be chosen, where they are drawn. */
  cloudSpots() {
    if (!this.points || !this.plot) return [];
    const [x, y] = this.axes.map((name) => this.parameters[name]), { left, right, top, bottom } = this.plot.box;
    return this.points.values.map(([a, b], k) => ({
      x: this.plot.x(this.shown[k][0]), y: this.plot.y(this.shown[k][1]), id: this.points.ids[k],
      get text() { return `${nameOf(this.id)}: ${x.symbol} ${quantity({ value: a, unit: x.unit })}, ${y.symbol} ${quantity({ value: b, unit: y.unit })}. Click or Enter: the query`; },
    })).filter((spot) => spot.x >= left && spot.x <= right && spot.y >= top && spot.y <= bottom);
  }

  flat(text) {
    const z = latent(text), { normal, axes: [first, second] } = this.space;
    let sum = 0;
    for (let k = 0; k < normal.length; k++) if (k !== first) sum += normal[k] * z[k];
    return [z[first], sum / normal[second]];
  }

  drawMap() {
    const { z, trail } = this.now, { points, above, slope, offset, axes } = this.space;
    const here = z ? this.flat(z) : [NaN, NaN];
    const found = this.now.matches.filter((match) => this.placed?.has(match.id)).map((match) => [match, this.flat(this.placed.get(match.id))]);
    const seen = (k) => [here[k], ...found.map(([, at]) => at[k])], ends = (this.space.ends ??= [0, 1].map((k) => middle(points.map((p) => p[k]))));
    const plot = new Plot(this.map, around(ends[0], seen(0)), around(ends[1], seen(1)), [`latent z${axes[0] + 1}′, σ of the prior`, `latent z${axes[1] + 1}′, σ`], this.space.parameter, (p) => {
      const high = colour("--high"), low = colour("--low");
      points.forEach(([a, b], k) => p.dot(a, b, 1.8, above[k] ? high : low));
      p.g.strokeStyle = colour("--ink"); p.g.lineWidth = 1.5; p.g.setLineDash([6, 4]);
      p.line(p.x(-50), p.y(-50 * slope + offset), p.x(50), p.y(50 * slope + offset));
      p.g.setLineDash([]);
    });
    const g = plot.g;
    const path = trail.slice(-20).map((text) => this.flat(text));
    if (path.length > 1) {
      g.strokeStyle = colour("--accent"); g.lineWidth = 1.2; g.beginPath();
      path.forEach(([a, b], k) => (k ? g.lineTo(plot.x(a), plot.y(b)) : g.moveTo(plot.x(a), plot.y(b))));
      g.stroke();
      for (const [a, b] of path) plot.dot(a, b, 2.2, colour("--accent"));
    }
    for (const [match, at] of found) plot.dot(...at, 4.5, match.source === "real" ? colour("--real") : colour("--surface"), colour("--ink"));
    plot.query(...here);
    this.mapQuery = here.every(Number.isFinite) ? [plot.x(here[0]), plot.y(here[1])] : null;
    this.mapSpots = found.map(([match, at]) => ({ x: plot.x(at[0]), y: plot.y(at[1]), id: match.id, text: `Match ${match.rank}, ${match.region} (${match.source}). Click or Enter: the query` }));
    plot.ring(this.marked.map);
  }
}
