// The encoder's space of the whole archive: one dot a patch, coloured by a column, its picture when it is pointed at.

import { getJson } from "./api.js";
import { brush, drawLasso } from "./brush.js";
import { byId, make, number, unit } from "./format.js";
import { colour, Plot, span } from "./maps.js";
import { Picking } from "./picking.js";

// from low to high, told apart in light and dark and without colour vision
const SCALE = ["#3b4cc0", "#6f92f3", "#a9b5c2", "#f0a27a", "#d1493f"];
/** Side in pixels of the cells in which dots are looked for: those near a place are in its own and the eight around it. */
const CELL = 14, RESTS_MS = 80;

export class Space {
  /** handlers: use(id), hover({match} or null), lassoed({points}), lasso() → the filter. */
  constructor(canvas, parameters, { use, hover, lassoed, lasso }) {
    Object.assign(this, { canvas, parameters, lasso, data: null, marked: null, matches: [], query: null, path: null });
    byId("space-column").append(...Object.entries(parameters).map(([name, p]) => make("option", { value: name }, p.title)), make("option", { value: "mu" }, "μ"));
    byId("space-column").addEventListener("change", () => this.choose(byId("space-column").value));
    byId("space-box").addEventListener("toggle", () => { if (byId("space-box").open) this.choose(byId("space-column").value); });
    new Picking(canvas, byId("space-said"), {
      spots: (x, y) => this.near(x, y), use, start: () => [canvas.clientWidth / 2, canvas.clientWidth * 0.4],
      mark: (spot) => {
        this.marked = spot;
        this.draw();
        // pictures of what is only passed over are not asked for
        clearTimeout(this.resting);
        if (!spot) hover(null);
        else this.resting = setTimeout(() => hover({ match: { id: spot.id, region: spot.region, source: spot.source } }), RESTS_MS);
      },
    });
    brush(canvas, {
      inside: (event) => { const box = canvas.getBoundingClientRect(), at = this.plot?.box ?? {}; return event.clientX - box.left > at.left && event.clientY - box.top < at.bottom; },
      moved: (a, b, path) => { this.path = a && path; this.draw(); },
      done: (a, b, path) => lassoed({ points: path.map(([u, v]) => this.plot.value(u * canvas.clientWidth, v * canvas.clientHeight).map((value) => Number(value.toPrecision(4)))) }),
    });
    new ResizeObserver(() => { this.cells = null; this.draw(); }).observe(canvas.parentElement);
  }

  async choose(column) {
    const wanted = (this.wanted = column);
    try {
      // where the patches lie is asked for once; a column is all that changes
      let data = await getJson(`/api/space?column=${encodeURIComponent(column)}&places=${!this.data}`);
      if (this.data && data.content !== this.data.content) data = await getJson(`/api/space?column=${encodeURIComponent(column)}`);
      if (this.wanted !== wanted) return;
      if (data.ids) {
        const x = Float32Array.from(data.points, (p) => p[0]), y = Float32Array.from(data.points, (p) => p[1]);
        this.data = { ...data, points: null, x, y, xs: span(x), ys: span(y), row: new Map(data.ids.map((id, k) => [id, k])) };
        this.cells = null;
      } else this.data = { ...this.data, column: data.column, values: data.values };
      this.paint();
      this.draw();
    } catch (error) { byId("space-axes").textContent = error.message; }
  }

  /** The colour of each dot, and the legend: by rank, so that long tails do not take all of the scale. */
  paint() {
    const { data } = this, known = data.values.filter((v) => v !== null).sort((a, b) => a - b);
    this.edges = [0.2, 0.4, 0.6, 0.8].map((share) => known[Math.floor(share * (known.length - 1))]);
    data.kind = Uint8Array.from(data.values, (v) => (v === null ? SCALE.length : this.edges.filter((edge) => v > edge).length));
    const u = unit(this.parameters[data.column]?.unit ?? ""), names = this.edges.map((v) => number(v, 2));
    byId("space-legend").replaceChildren(...SCALE.map((shade, k) => { const dot = make("i", { class: "dot" }); dot.style.background = shade; return make("span", {}, dot, k === 0 ? `under ${names[0]}` : k === 4 ? `over ${names[3]} ${u}` : `to ${names[k]}`); }));
    byId("space-axes").textContent = `${data.ids.length.toLocaleString("en")} patches${data.of > data.ids.length ? ` of ${data.of.toLocaleString("en")}` : ""} on the two principal axes of their embeddings, which have ${(100 * data.explained).toFixed(0)} % of the variance.`;
  }

  update(matches, query) { Object.assign(this, { matches, query }); this.draw(); }

  draw() {
    const { data } = this;
    if (!data || !byId("space-box").open || !this.canvas.clientWidth) return;
    const plot = (this.plot = new Plot(this.canvas, data.xs, data.ys, ["first principal axis", "second principal axis"], `${data.column} ${data.content}`, (p) => this.dots(p)));
    if (!this.cells) this.sort(plot);
    const g = plot.g, wide = this.canvas.clientWidth, high = this.canvas.clientHeight, held = this.lasso();
    const place = (id) => { const k = data.row.get(id); return k === undefined ? null : [plot.x(data.x[k]), plot.y(data.y[k])]; };
    for (const match of this.matches) {
      const at = place(match.id);
      if (!at) continue;
      g.beginPath(); g.arc(...at, 5, 0, 7); g.lineWidth = 1.6; g.strokeStyle = colour("--ink"); g.stroke();
    }
    const own = place(this.query);
    if (own) plot.query_(...own);
    if (this.path) drawLasso(g, this.path, wide, high, colour("--accent"));
    else if (held && !held.x) drawLasso(g, held.points.map(([a, b]) => [plot.x(a) / wide, plot.y(b) / high]), wide, high, colour("--accent"));
    plot.ring(this.marked);
  }

  /** Squares, set pixel by pixel: 50,000 of them take a few milliseconds, and their picture is kept. */
  dots(p) {
    const { data } = this, { g } = p, { width, height } = g.canvas, ratio = width / this.canvas.clientWidth;
    const side = Math.max(1, Math.round((data.ids.length > 5000 ? 1.5 : 2.5) * ratio)), half = side >> 1;
    const picture = new OffscreenCanvas(width, height), pen = picture.getContext("2d");
    const shades = [...SCALE, colour("--muted")].map((shade) => { pen.fillStyle = shade; pen.fillRect(0, 0, 1, 1); return new Uint32Array(pen.getImageData(0, 0, 1, 1).data.buffer)[0]; });
    const image = new ImageData(width, height), out = new Uint32Array(image.data.buffer);
    const { left, right, top, bottom } = p.box, [x0, x1, y0, y1] = [left, right - 1, top, bottom - 1].map((v) => Math.round(v * ratio));
    for (let k = 0; k < data.x.length; k++) {
      const at = Math.round(p.x(data.x[k]) * ratio) - half, up = Math.round(p.y(data.y[k]) * ratio) - half, shade = shades[data.kind[k]];
      for (let y = Math.max(up, y0); y < Math.min(up + side, y1); y++) for (let x = Math.max(at, x0); x < Math.min(at + side, x1); x++) out[y * width + x] = shade;
    }
    pen.putImageData(image, 0, 0);
    g.save();
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.drawImage(picture, 0, 0);
    g.restore();
  }

  /** Which dots lie in which cell of the canvas. */
  sort(plot) {
    const { data } = this;
    this.cells = new Map();
    for (let k = 0; k < data.x.length; k++) {
      const key = cell(plot.x(data.x[k]), plot.y(data.y[k])), there = this.cells.get(key);
      if (there) there.push(k); else this.cells.set(key, [k]);
    }
  }

  /** Dots near a place of the canvas, or all of them for the keys. */
  near(x, y) {
    const { data, plot } = this;
    if (!data || !plot || !this.cells) return [];
    if (x === undefined) return Array.from(data.x, (_, k) => this.spot(k));
    const out = [];
    for (const dx of [-CELL, 0, CELL]) for (const dy of [-CELL, 0, CELL]) for (const k of this.cells.get(cell(x + dx, y + dy)) ?? []) out.push(this.spot(k));
    return out;
  }

  spot(k) {
    const { data, plot, parameters } = this, about = parameters[data.column];
    return {
      x: plot.x(data.x[k]), y: plot.y(data.y[k]), id: data.ids[k], region: data.regions[k], source: data.real[k] ? "real" : "simulated",
      get text() { return `${data.ids[k]}: ${about?.symbol ?? "μ"} ${number(data.values[k])} ${unit(about?.unit ?? "")}. Click or Enter: the query`; },
    };
  }
}

const cell = (x, y) => Math.floor(x / CELL) * 65_536 + Math.floor(y / CELL);
