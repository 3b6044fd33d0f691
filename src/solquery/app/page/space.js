// The encoder's space of the whole archive: one dot a patch, coloured by a column, its picture when it is pointed at.

import { getJson } from "./api.js";
import { byId, make, number, unit } from "./format.js";
import { colour, Plot, span } from "./maps.js";
import { Picking } from "./picking.js";

// from low to high, told apart in light and dark and without colour vision
const SCALE = ["#3b4cc0", "#6f92f3", "#a9b5c2", "#f0a27a", "#d1493f"];

export class Space {
  /** handlers: use(id), hover({match} or null). */
  constructor(canvas, parameters, { use, hover }) {
    Object.assign(this, { canvas, parameters, spots: [], data: null, marked: null, matches: [], query: null });
    byId("space-column").append(...Object.entries(parameters).map(([name, p]) => make("option", { value: name }, p.title)), make("option", { value: "mu" }, "μ"));
    byId("space-column").addEventListener("change", () => this.choose(byId("space-column").value));
    byId("space-box").addEventListener("toggle", () => { if (byId("space-box").open) this.choose(byId("space-column").value); });
    new Picking(canvas, byId("space-said"), {
      spots: () => this.spots, use, start: () => [canvas.clientWidth / 2, canvas.clientWidth * 0.4],
      mark: (spot) => { this.marked = spot; hover(spot ? { match: { id: spot.id, region: spot.region, source: spot.source } } : null); this.draw(); },
    });
    new ResizeObserver(() => { this.spots = []; this.draw(); }).observe(canvas.parentElement);
  }

  async choose(column) {
    const wanted = (this.wanted = column);
    try {
      const data = await getJson(`/api/space?column=${encodeURIComponent(column)}`);
      if (this.wanted !== wanted) return;
      this.data = data;
      this.spots = [];
      const known = data.values.filter((v) => v !== null).sort((a, b) => a - b);
      // by rank, so that long tails do not take all of the scale
      this.edges = [0.2, 0.4, 0.6, 0.8].map((share) => known[Math.floor(share * (known.length - 1))]);
      const u = unit(this.parameters[column]?.unit ?? ""), names = this.edges.map((v) => number(v, 2));
      byId("space-legend").replaceChildren(...SCALE.map((shade, k) => { const dot = make("i", { class: "dot" }); dot.style.background = shade; return make("span", {}, dot, k === 0 ? `under ${names[0]}` : k === 4 ? `over ${names[3]} ${u}` : `to ${names[k]}`); }));
      byId("space-axes").textContent = `${data.ids.length.toLocaleString("en")} patches${data.of > data.ids.length ? ` of ${data.of.toLocaleString("en")}` : ""} on the two principal axes of their embeddings, which have ${(100 * data.explained).toFixed(0)} % of the variance.`;
      this.draw();
    } catch (error) { byId("space-axes").textContent = error.message; }
  }

  update(matches, query) { Object.assign(this, { matches, query }); this.draw(); }

  draw() {
    const { data } = this;
    if (!data || !byId("space-box").open || !this.canvas.clientWidth) return;
    const shade = (v) => (v === null ? colour("--muted") : SCALE[this.edges.filter((edge) => v > edge).length]);
    const plot = new Plot(this.canvas, span(data.points.map((p) => p[0])), span(data.points.map((p) => p[1])), ["first principal axis", "second"], `${data.column} ${data.ids.length}`, (p) => {
      const size = data.ids.length > 5000 ? 1.4 : 2.4, g = p.g;
      // squares in one path a colour: 50,000 of them take a few milliseconds
      const by = new Map();
      data.points.forEach(([a, b], k) => { const c = shade(data.values[k]); if (!by.has(c)) by.set(c, new Path2D()); by.get(c).rect(p.x(a) - size / 2, p.y(b) - size / 2, size, size); });
      for (const [c, path] of by) { g.fillStyle = c; g.fill(path); }
    });
    if (!this.spots.length) {
      const { column, parameters } = this, about = parameters[data.column], u = unit(about?.unit ?? ""), symbol = about?.symbol ?? "μ";
      this.spots = data.points.map(([a, b], k) => ({
        x: plot.x(a), y: plot.y(b), id: data.ids[k], region: data.regions[k], source: data.real[k] ? "real" : "simulated", column,
        get text() { return `${this.id}: ${symbol} ${number(data.values[k])} ${u}. Click or Enter: the query`; },
      }));
      this.where = new Map(this.spots.map((spot) => [spot.id, spot]));
    }
    const g = plot.g;
    for (const match of this.matches) {
      const spot = this.where.get(match.id);
      if (!spot) continue;
      g.beginPath(); g.arc(spot.x, spot.y, 5, 0, 7); g.lineWidth = 1.6; g.strokeStyle = colour("--ink"); g.stroke();
    }
    const own = this.where.get(this.query);
    if (own) plot.query_(own.x, own.y);
    plot.ring(this.marked);
  }
}
