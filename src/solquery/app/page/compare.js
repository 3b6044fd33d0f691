// Two patches side by side, blinked, or differenced; always both on the model's grid, with one range of colours.

import { draw } from "./field.js";
import { byId, leading, make, number, quantity, unit } from "./format.js";
import { marks } from "./marks.js";
import { valuesOf } from "./numbers.js";
import { patchOf } from "./matches.js";

const PACE = 800;

export class Compare {
  /** now() → {field, got: {name: value}, title, source}; choices() → matches; look(); parameters; scale of the grid; changed(pair or null). */
  constructor(now, choices, look, parameters, scale, changed) {
    Object.assign(this, { now, choices, look, parameters, scale, changed });
    this.box = byId("compare-box");
    this.timer = 0;
    this.second = false;
    for (const id of ["pick-a", "pick-b"]) byId(id).addEventListener("change", () => this.redraw());
    for (const input of this.box.querySelectorAll("[name=how]")) input.addEventListener("change", () => this.redraw());
    byId("swap").addEventListener("click", () => { byId("pace").checked = false; this.second = !this.second; this.redraw(); });
    byId("pace").checked = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    // arrow keys go through the matches, wherever the keyboard is but in a list to choose from
    this.box.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key], list = byId("pick-b");
      if (!by || event.target.matches("select, input")) return;
      event.preventDefault();
      list.selectedIndex = Math.max(1, Math.min(list.options.length - 1, list.selectedIndex + by));
      this.redraw();
    });
    byId("pace").addEventListener("change", () => this.redraw());
    byId("compare-grid").addEventListener("change", () => { if (this.pair) this.table(); });
    this.box.addEventListener("close", () => { clearInterval(this.timer); this.changed(null); });
    new ResizeObserver(() => { if (this.box.open) this.paint(); }).observe(byId("canvas-a").parentElement);
  }

  get how() { return this.box.querySelector("[name=how]:checked").value; }

  open(a, b, how) {
    const options = () => [make("option", { value: "query" }, `Query: ${this.now().title}`),
      ...this.choices().map((m) => make("option", { value: m.id }, `${m.rank}: ${m.region} (${m.source})`))];
    byId("pick-a").replaceChildren(...options());
    byId("pick-b").replaceChildren(...options());
    byId("pick-a").value = a ?? "query";
    byId("pick-b").value = b ?? this.choices()[0]?.id ?? "query";
    for (const id of ["pick-a", "pick-b"]) if (!byId(id).value) byId(id).value = "query";
    const choice = this.box.querySelector(`[name=how][value="${["side", "blink", "difference"].includes(how) ? how : this.how}"]`);
    choice.checked = true;
    if (!this.box.open) this.box.showModal();
    this.redraw();
  }

  async one(id) {
    if (id === "query") return this.now();
    const { document, field } = await patchOf(id), match = this.choices().find((m) => m.id === id);
    return { field, got: valuesOf(this.parameters, document), grid: document.grid, record: document, title: match ? match.region : document.region, source: document.source };
  }

  async redraw() {
    clearInterval(this.timer);
    const ids = [byId("pick-a").value, byId("pick-b").value];
    this.changed([...ids, this.how]);
    try { this.pair = await Promise.all(ids.map((id) => this.one(id))); } catch (error) { byId("compare-said").textContent = error.message; return; }
    if (this.how === "blink" && byId("pace").checked && this.box.open) {
      this.timer = setInterval(() => { this.second = !this.second; this.paint(); }, PACE);
    }
    this.paint();
    this.table();
  }

  paint() {
    if (!this.pair) return;
    const [a, b] = this.pair, how = this.how, look = this.look();
    this.box.dataset.how = how;
    byId("swap").hidden = byId("pace-label").hidden = how !== "blink";
    const canvas = byId("canvas-a"), plain = { ...look, bar: true, cross: null, scale: this.scale };
    if (how === "side") { draw(canvas, a.field, plain); draw(byId("canvas-b"), b.field, plain); }
    else if (how === "blink") draw(canvas, (this.second ? b : a).field, plain);
    else {
      // as in the table and beside the matches: what is found, less what is asked
      const data = b.field.data.map((value, k) => value - a.field.data[k]);
      draw(canvas, { ...a.field, data }, { ...plain, palette: "difference", pil: false, cen: false });
    }
    const kind = (one) => `${one.source}${one.record?.quantity ? `, ${one.record.quantity === "radial" ? "radial field" : "line of sight"}` : ""}`;
    const names = `A is ${kind(a)}; B is ${kind(b)}.`;
    for (const [id, one, other] of [["marks-a", a, b], ["marks-b", b, a]]) byId(id).replaceChildren(...(one.record ? marks(one.record, { beside: other.record?.quantity }) : []));
    byId("compare-said").textContent = how === "difference" ? `B − A from −${look.limit} G (blue) to +${look.limit} G (red)${look.stretch === "asinh" ? ", stretched by asinh" : ""}. ${names}`
      : how === "blink" ? `Now: ${this.second ? "B" : "A"}, ${(this.second ? b : a).title}. ${names}` : names;
  }

  table() {
    const [a, b] = this.pair;
    const row = (name) => {
      const about = this.parameters[name], u = unit(about.unit), gap = b.got[name] - a.got[name];
      const grid = [a, b].map((one) => (about.native && one.grid?.[name] && one.grid[name].value !== null && !about.binary ? quantity(one.grid[name]) : ""));
      return make("tr", {}, make("th", { scope: "row" }, about.title, u ? make("span", { class: "muted" }, `, ${u}`) : null), ...[a, b].map((one, k) => make("td", {}, about.binary ? leading(one.got[name]) : number(one.got[name]), grid[k] && byId("compare-grid").checked ? make("small", {}, grid[k]) : null)),
        make("td", {}, about.binary ? (gap ? "other" : "the same") : `${gap > 0 ? "+" : ""}${number(gap)}`));
    };
    byId("compare-table").replaceChildren(
      make("thead", {}, make("tr", {}, ...[byId("compare-grid").checked ? "at native scale; below: on the grid" : "at native scale", "A", "B", "B − A"].map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...Object.keys(this.parameters).map(row)));
  }
}
