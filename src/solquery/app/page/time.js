// The frames of a region in time: a strip, a player, and flux, R and separation against time with the query's value.

import { draw } from "./field.js";
import { byId, make, number, place, unit, when } from "./format.js";
import { names } from "./marks.js";
import { patchOf } from "./matches.js";
import { compared } from "./numbers.js";

const SVG = "http://www.w3.org/2000/svg", CURVES = ["flux", "tuf", "r", "psep"], PACE_MS = 250;
const TALL = 92, LEFT = 58, RIGHT = 8, TOP = 8, FOOT = 18, LEAST = 0.2;

const node = (tag, attributes, text) => {
  const out = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) out.setAttribute(key, value);
  if (text !== undefined) out.textContent = text;
  return out;
};

export class Time {
  /** handlers: look() → how to draw; preview(frame, field) shows one in the middle; use(id); query() → {name: value} on the grid, or null; closed(). */
  constructor(parameters, handlers) {
    Object.assign(this, { parameters, handlers, frames: [], at: 0, timer: 0, key: null });
    byId("when").addEventListener("input", () => { this.stop(); this.go(Number(byId("when").value), true); });
    byId("play").addEventListener("click", () => (this.timer ? this.stop() : this.play()));
    byId("time-close").addEventListener("click", () => { this.hide(); handlers.closed(); });
    // text in them keeps its size: they are drawn as wide as there is room
    new ResizeObserver(() => { if (this.frames.length && byId("time").clientWidth && byId("time").clientWidth !== this.wide) { this.curves(this.many); this.go(this.at, false); } }).observe(byId("time"));
    byId("strip").addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (by !== undefined) { event.preventDefault(); this.stop(); this.go(this.at + by, true); }
      if (event.key === "Enter") { event.preventDefault(); handlers.use(this.frames[this.at].id); }
    });
  }

  /** found: {frames, of, regions}; id: the one that is shown. */
  show(found, id) {
    this.stop();
    this.frames = found.frames;
    if (found.frames.length < 2) { this.hide(); return; }
    byId("time").hidden = false;
    const [first, last] = [found.frames[0], found.frames.at(-1)], many = (this.many = found.regions > 1);
    byId("time-of").textContent = `${found.frames.length} ${found.of > found.frames.length ? `of ${found.of.toLocaleString("en")} ` : ""}frames of ${many ? `${found.regions} regions` : first.region}, ${when(first)} to ${when(last)}`;
    byId("when").max = found.frames.length - 1;
    this.cells = found.frames.map((frame, k) => {
      const canvas = make("canvas");
      const name = `${many ? `${frame.region}, ` : ""}${when(frame) || frame.id}`;
      return { frame, canvas, node: make("button", { type: "button", role: "option", tabindex: -1, title: `${name}. Click: the query`, "aria-label": name, onclick: () => { this.stop(); this.go(k, false); this.handlers.use(frame.id); } }, canvas, make("small", {}, many ? frame.region : (frame.t_utc ?? "").slice(5, 16).replace("T", " "))) };
    });
    byId("strip").replaceChildren(...this.cells.map((cell) => cell.node));
    this.curves(many);
    this.redraw();
    this.go(Math.max(0, found.frames.findIndex((frame) => frame.id === id)), false);
  }

  hide() { this.stop(); this.frames = []; this.key = null; byId("time").hidden = true; }

  /** The query is another of the same frames. */
  at_(id) { const at = this.frames.findIndex((frame) => frame.id === id); if (at >= 0) this.go(at, false); }

  /** Thumbnails in the colours of now; those in view first, as they are scrolled to. */
  redraw() {
    if (!this.frames.length) return;
    this.watch?.disconnect();
    this.watch = new IntersectionObserver((seen) => {
      for (const { target, isIntersecting } of seen) {
        if (!isIntersecting) continue;
        this.watch.unobserve(target);
        const cell = this.cells.find((one) => one.node === target);
        if (cell) patchOf(cell.frame.id).then(({ field }) => draw(cell.canvas, field, { ...this.handlers.look(), pil: false, cen: false, bar: false, cross: null, width: cell.canvas.clientWidth || 56 }), () => {});
      }
    }, { root: byId("strip"), rootMargin: "200px" });
    for (const cell of this.cells) this.watch.observe(cell.node);
  }

  /** Where the values of a curve lie between: no less than a fifth of the largest, so that noise does not look like change. */
  range(values) {
    const low = Math.min(...values), high = Math.max(...values), room = Math.max(0, LEAST * Math.max(Math.abs(low), Math.abs(high)) - (high - low)) / 2 + 0.08 * (high - low);
    return [low >= 0 ? Math.max(0, low - room) : low - room, high + room || 1];
  }

  /** The frame at a place; `seen`: shown in the middle, without being the query. */
  async go(at, seen) {
    if (!this.frames.length) return;
    this.at = Math.max(0, Math.min(this.frames.length - 1, at));
    const frame = this.frames[this.at];
    byId("when").value = this.at;
    byId("when").setAttribute("aria-valuetext", when(frame) || frame.id);
    byId("now").textContent = [this.frames.some((one) => one.region !== frame.region) ? frame.region : "", when(frame), place(frame.latitude_deg, frame.longitude_deg), frame.mu === null ? "" : `μ\u00a0${frame.mu.toFixed(2)}`, ...names(frame)].filter(Boolean).join(" · ");
    this.cells.forEach((cell, k) => { cell.node.setAttribute("aria-selected", String(k === this.at)); });
    const cell = this.cells[this.at].node, strip = byId("strip");
    strip.scrollLeft = cell.offsetLeft - strip.offsetLeft - strip.clientWidth / 2 + cell.offsetWidth / 2;
    for (const { svg, x } of this.drawn ?? []) { const line = svg.querySelector(".cursor"), px = x(frame); line.setAttribute("x1", px); line.setAttribute("x2", px); }
    if (!seen) return;
    try { const { field } = await patchOf(frame.id); if (this.frames[this.at] === frame) this.handlers.preview(frame, field); } catch { /* the strip shows what there is */ }
  }

  async play() {
    byId("play").setAttribute("aria-pressed", "true");
    byId("play").textContent = "Pause";
    if (this.at === this.frames.length - 1) this.at = -1;
    const tick = async () => {
      await this.go(this.at + 1, true);
      if (!this.timer) return;
      if (this.at >= this.frames.length - 1) { this.stop(); return; }
      this.timer = setTimeout(tick, PACE_MS);
    };
    this.timer = setTimeout(tick, 0);
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = 0;
    byId("play").setAttribute("aria-pressed", "false");
    byId("play").textContent = "Play";
  }

  /** Parameters against time, with the query's value as a line, both at the scale of the model. */
  curves(many) {
    this.drawn = [];
    const WIDE = (this.wide = Math.max(220, byId("time").clientWidth));
    const timed = this.frames.filter((frame) => frame.t_utc);
    byId("curves").hidden = many || timed.length < 2;
    if (many || timed.length < 2) { byId("curves").replaceChildren(); return; }
    const at = (frame) => Date.parse(frame.t_utc), t0 = at(timed[0]), t1 = at(timed.at(-1)) || t0 + 1;
    const x = (frame) => LEFT + ((WIDE - LEFT - RIGHT) * ((frame.t_utc ? at(frame) : t0) - t0)) / Math.max(1, t1 - t0), query = this.handlers.query();
    byId("curves").replaceChildren(...CURVES.filter((name) => name in this.parameters && !(name === "tuf" && "flux" in this.parameters)).map((name) => {
      const about = this.parameters[name], u = unit(about.unit);
      const points = timed.map((frame) => [x(frame), compared(about, frame, name)?.value, frame.quantity]).filter(([, v]) => Number.isFinite(v));
      // fields along the line of sight and radial ones are no one curve
      const kinds = [...new Set(points.map((p) => p[2]))].sort((a, b) => points.filter((p) => p[2] === b).length - points.filter((p) => p[2] === a).length);
      const mine = query?.[name], all = points.map(([, v]) => v).concat(Number.isFinite(mine) ? [mine] : []);
      const [low, high] = this.range(all), y = (v) => TALL - FOOT - ((TALL - FOOT - TOP) * (v - low)) / (high - low || 1);
      const svg = node("svg", { viewBox: `0 0 ${WIDE} ${TALL}`, height: TALL, role: "img", "aria-label": `${about.title} against time, ${number(Math.min(...points.map((p) => p[1])))} to ${number(Math.max(...points.map((p) => p[1])))} ${u}` });
      svg.append(node("line", { x1: LEFT, x2: WIDE - RIGHT, y1: y(low), y2: y(low), class: "axis" }), node("text", { x: LEFT - 4, y: y(high) + 4, "text-anchor": "end" }, number(high)), node("text", { x: LEFT - 4, y: y(low), "text-anchor": "end" }, number(low)));
      svg.append(node("text", { x: LEFT, y: TALL - 3 }, when(timed[0])), node("text", { x: WIDE - RIGHT, y: TALL - 3, "text-anchor": "end" }, when(timed.at(-1))));
      if (Number.isFinite(mine)) svg.append(node("line", { x1: LEFT, x2: WIDE - RIGHT, y1: y(mine), y2: y(mine), class: "mine" }));
      for (const kind of kinds) svg.append(node("path", { d: points.filter((p) => p[2] === kind).map(([px, v], k) => `${k ? "L" : "M"}${px.toFixed(1)} ${y(v).toFixed(1)}`).join(""), class: "curve" }));
      for (const [px, v, kind] of points) svg.append(node("circle", { cx: px, cy: y(v), r: kind === kinds[0] ? 1.8 : 2.6, class: kind === kinds[0] ? "point" : "point other" }));
      svg.append(node("line", { class: "cursor", x1: LEFT, x2: LEFT, y1: TOP - 4, y2: TALL - FOOT }));
      svg.addEventListener("click", (event) => {
        const box = svg.getBoundingClientRect(), px = ((event.clientX - box.left) / box.width) * WIDE;
        const nearest = this.frames.reduce((best, frame, k) => (Math.abs(x(frame) - px) < Math.abs(x(this.frames[best]) - px) ? k : best), 0);
        this.stop();
        this.go(nearest, true);
      });
      this.drawn.push({ svg, x });
      return make("figure", {}, make("figcaption", { class: "small" }, `${about.symbol}, ${u}${Number.isFinite(mine) ? "; dashed: the query" : ""}${kinds.length > 1 ? `; dots: ${kinds[0]}, rings: ${kinds.slice(1).join(", ")}` : ""}`), svg);
    }));
  }
}
