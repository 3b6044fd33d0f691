// The form of the filters: from the state into the fields and back.

import { byId, make, parse, short, unit } from "./format.js";
import { DEFAULTS } from "./state.js";

const NUMBERS = { "f-lat0": ["lat", 0], "f-lat1": ["lat", 1], "f-lon0": ["lon", 0], "f-lon1": ["lon", 1] };

export class FilterForm {
  /** get() → state; changed() is called after a change. */
  constructor(parameters, get, changed) {
    Object.assign(this, { parameters, get, changed });
    const select = byId("f-param");
    for (const [name, about] of Object.entries(parameters)) select.append(make("option", { value: name }, about.title));
    const named = () => { byId("f-unit").textContent = unit(parameters[select.value]?.native_unit ?? ""); };
    select.addEventListener("change", named);
    named();
    for (const input of document.querySelectorAll("[name=source]")) input.addEventListener("change", () => this.set((s) => { s.filters.source = input.value; }));
    for (const input of document.querySelectorAll("[name=by]")) input.addEventListener("change", () => this.set((s) => { s.by = input.value; }));
    byId("by-structure").addEventListener("click", () => { this.set((s) => { Object.assign(s, { by: "structure", notOwn: false }); }); document.querySelector("[name=by]:checked").focus(); });
    byId("f-quantity").addEventListener("change", (e) => this.set((s) => { s.filters.quantity = e.target.value; }));
    byId("group").addEventListener("change", (e) => this.set((s) => { s.perRegion = e.target.checked; }));
    byId("own").addEventListener("change", (e) => this.set((s) => { s.notOwn = e.target.checked; }));
    for (const key of ["since", "until"]) byId(`f-${key}`).addEventListener("change", (e) => this.set((s) => { s.filters[key] = e.target.value; }));
    for (const [id, [key, k]] of Object.entries(NUMBERS)) byId(id).addEventListener("change", (e) => this.number(e.target, (s, v) => { s.filters[key][k] = v; }));
    byId("f-mu").addEventListener("change", (e) => this.number(e.target, (s, v) => { s.filters.mu = v; }));
    byId("f-k").addEventListener("change", (e) => this.number(e.target, (s, v) => { s.k = v === "" ? DEFAULTS.k : Math.trunc(v); }));
    byId("f-add").addEventListener("click", () => this.limit());
    for (const id of ["f-low", "f-high"]) byId(id).addEventListener("keydown", (e) => { if (e.key === "Enter") { e.preventDefault(); this.limit(); } });
    byId("f-clear").addEventListener("click", () => this.set((s) => {
      Object.assign(s.filters, { source: "any", since: "", until: "", lat: ["", ""], lon: ["", ""], mu: "", region: "", noaa: "", quantity: "any", lasso: null, parameters: {}, grid: {} });
      s.k = DEFAULTS.k;
    }));
    byId("filter-form").addEventListener("submit", (e) => e.preventDefault());
  }

  /** Limits by name, as they were dragged: at the scale of the model. */
  brushed(limits) {
    const rounded = Object.entries(limits).map(([name, ends]) => [name, ends.map((v) => Number(v.toPrecision(4)))]);
    this.set((s) => { for (const [name, ends] of rounded) s.filters[this.parameters[name].native ? "parameters" : "grid"][name] = ends; });
  }

  /** What was encircled in a scatter plot: {x, y, points, log}, or {points} in the encoder's space. */
  lassoed(lasso) { this.set((s) => { s.filters.lasso = lasso; }); }

  set(change) { change(this.get()); this.show(); this.changed(); }

  number(input, change) {
    if (!input.checkValidity()) { input.reportValidity(); return; }
    this.set((s) => change(s, input.value === "" ? "" : Number(input.value)));
  }

  limit() {
    const about = this.parameters[byId("f-param").value], texts = [byId("f-low").value, byId("f-high").value];
    const [low, high] = texts.map((text) => parse(text, about?.native_unit)), wrong = byId("f-low");
    // what was typed stays until it is a number
    const strange = texts.find((text, k) => text.trim() && Number.isNaN([low, high][k]));
    wrong.setCustomValidity(strange ? `${strange.trim()} is no number${about?.native_unit ? ` of ${unit(about.native_unit)}` : ""}; give one such as 1e22` : Number.isNaN(low) && Number.isNaN(high) ? "Give a least or a greatest value, such as 1e22" : low > high ? "The least value exceeds the greatest" : "");
    if (!wrong.reportValidity()) { wrong.setCustomValidity(""); return; }
    this.set((s) => { s.filters.parameters[byId("f-param").value] = [low, high].map((v) => (Number.isNaN(v) ? null : v)); });
    byId("f-low").value = byId("f-high").value = "";
  }

  show() {
    const s = this.get(), f = s.filters;
    for (const input of document.querySelectorAll("[name=source]")) input.checked = input.value === f.source;
    for (const input of document.querySelectorAll("[name=by]")) input.checked = input.value === s.by;
    byId("group").checked = s.perRegion;
    byId("own").checked = s.notOwn;
    byId("own-label").hidden = !s.query || s.query.kind === "z";
    for (const key of ["since", "until"]) byId(`f-${key}`).value = f[key];
    for (const [id, [key, k]] of Object.entries(NUMBERS)) byId(id).value = f[key][k];
    byId("f-quantity").value = f.quantity;
    byId("f-mu").value = f.mu;
    byId("f-k").value = s.k;
    const chip = (text, away) => make("button", { type: "button", class: "chip", title: "Remove this limit", onclick: () => { this.set(away); (byId("f-active").querySelector("button") ?? byId("f-param")).focus(); } }, `${text} ✕`);
    const named = [f.region && chip(f.region, (st) => { st.filters.region = ""; }), f.noaa && chip(`NOAA ${f.noaa}`, (st) => { st.filters.noaa = ""; }),
      f.lasso && chip(f.lasso.x ? `encircled in ${this.parameters[f.lasso.x]?.symbol ?? f.lasso.x} and ${this.parameters[f.lasso.y]?.symbol ?? f.lasso.y}` : "encircled in the encoder\u2019s space", (st) => { st.filters.lasso = null; })].filter(Boolean);
    const limits = [...Object.entries(f.parameters).map((entry) => [...entry, "parameters"]), ...Object.entries(f.grid).map((entry) => [...entry, "grid"])];
    byId("f-active").replaceChildren(...named, ...limits.map(([name, [low, high], kind]) => {
      const about = this.parameters[name], u = `${unit((kind === "grid" ? about?.unit : about?.native_unit) ?? "")}${kind === "grid" ? " on the grid" : ""}`;
      const symbol = about?.symbol ?? name;
      const text = `${low === null ? `${symbol} ≤ ${short(high)}` : high === null ? `${symbol} ≥ ${short(low)}` : `${symbol} ${short(low)} to ${short(high)}`} ${u}`;
      return chip(text, (st) => { delete st.filters[kind][name]; });
    }));
    const n = [f.region, f.noaa, f.quantity !== "any", f.lasso, f.since, f.until, f.mu !== "", f.lat.some((v) => v !== ""), f.lon.some((v) => v !== "")].filter(Boolean).length + Object.keys(f.parameters).length + Object.keys(f.grid).length;
    byId("filters-on").textContent = n ? `(${n} set)` : "";
    byId("filters").classList.toggle("on", n > 0);
  }
}
