// Keeping and judging: matches in named lists, and examples of what is wanted and what is not.

import { cropped, draw } from "./field.js";
import { byId, make, nameOf } from "./format.js";
import { names } from "./marks.js";
import { patchOf } from "./matches.js";

const SIDE = 220, FOOT = 40, ACROSS = 5;

export class Kept {
  /** get() → state; changed(again): a step was made, and `again` whether it has to be searched anew; use(id); look() → how to draw. */
  constructor(get, { changed, use, look }) {
    Object.assign(this, { get, changed, use, look });
    byId("list").addEventListener("change", () => this.name(byId("list").value.trim()));
  }

  /** Another list to keep in; its name may be new. */
  name(text) {
    this.get().list = text.replace(/[|,]/g, " ").slice(0, 40) || "kept";
    this.changed(false);
  }

  get ids() { const s = this.get(); return s.kept[s.list] ?? []; }

  star(id) {
    const s = this.get(), ids = this.ids;
    s.kept = { ...s.kept, [s.list]: ids.includes(id) ? ids.filter((one) => one !== id) : [...ids, id] };
    if (!s.kept[s.list].length) delete s.kept[s.list];
    this.changed(false);
  }

  /** Judge a match: `way` is "more" or "less"; once more takes it back. */
  judge(id, way) {
    const s = this.get(), other = way === "more" ? "less" : "more";
    s[other] = s[other].filter((one) => one !== id);
    s[way] = s[way].includes(id) ? s[way].filter((one) => one !== id) : [...s[way], id].slice(-20);
    this.changed(true);
  }

  /** The buttons of a card. */
  buttons(id) {
    const button = (kind, text, label, work) => make("button", { type: "button", class: `judge ${kind}`, "aria-pressed": "false", "aria-label": label, title: label, "data-kind": kind, onclick: work }, text);
    return make("span", { class: "judges", "data-of": id },
      button("star", "☆", "Keep it in the list", () => this.star(id)),
      button("more", "+", "More like this", () => this.judge(id, "more")),
      button("less", "−", "Less like this", () => this.judge(id, "less")));
  }

  show() {
    const s = this.get(), names = [...new Set(["kept", ...Object.keys(s.kept)])];
    byId("list").value = s.list;
    byId("lists").replaceChildren(...names.map((name) => make("option", { value: name }, `${(s.kept[name] ?? []).length} kept`)));
    for (const box of document.querySelectorAll(".judges")) {
      const on = { star: this.ids.includes(box.dataset.of), more: s.more.includes(box.dataset.of), less: s.less.includes(box.dataset.of) };
      for (const button of box.children) button.setAttribute("aria-pressed", String(on[button.dataset.kind]));
      box.firstChild.textContent = on.star ? "★" : "☆";
    }
    const chip = (id, text, title, away) => make("span", { class: "chip pair-" }, make("button", { type: "button", title: "Make it the query", onclick: () => this.use(id) }, text), make("button", { type: "button", "aria-label": `${title}: ${nameOf(id)}`, title, onclick: away }, "✕"));
    const judged = ["more", "less"].flatMap((way) => s[way].map((id) => chip(id, `${way} like ${nameOf(id)}`, "Take the example away", () => this.judge(id, way))));
    const stars = this.ids.map((id) => chip(id, `★ ${nameOf(id)}`, "Take it from the list", () => this.star(id)));
    byId("judged").replaceChildren(...judged, ...stars);
    byId("keeping").hidden = !judged.length && !Object.keys(s.kept).length;
  }

  /** All of the list on one sheet, as a PNG blob; null where nothing is kept. */
  async sheet() {
    const ids = this.ids, across = Math.min(ACROSS, ids.length);
    if (!ids.length) return null;
    const sheet = document.createElement("canvas"), g = sheet.getContext("2d");
    sheet.width = across * SIDE;
    const aspect = Number(getComputedStyle(document.documentElement).getPropertyValue("--aspect")) || 1, tall = Math.round(SIDE / aspect);
    sheet.height = Math.ceil(ids.length / across) * (tall + FOOT) + FOOT;
    g.fillStyle = "#fff"; g.fillRect(0, 0, sheet.width, sheet.height);
    const look = this.look(), one = document.createElement("canvas");
    for (const [k, id] of ids.entries()) {
      const { document: about, field } = await patchOf(id), x = (k % across) * SIDE, y = Math.floor(k / across) * (tall + FOOT);
      draw(one, cropped(field), { ...look, pil: false, cen: false, bar: false, cross: null, width: SIDE - 8, ratio: 1 });
      g.drawImage(one, x + 4, y + 4, SIDE - 8, tall - 8);
      g.fillStyle = "#111"; g.font = "600 13px system-ui, sans-serif"; g.fillText(`${about.region} (${about.source})`, x + 6, y + tall + 12, SIDE - 12);
      g.font = "12px system-ui, sans-serif"; g.fillText([(about.t_utc ?? about.t_rec ?? "").slice(0, 16).replace("T", " "), ...names(about)].join(" · "), x + 6, y + tall + 28, SIDE - 12);
    }
    g.font = "12px system-ui, sans-serif";
    g.fillText(`${this.get().list}: each cropped to its region, ±${look.limit} G${look.stretch === "asinh" ? " (asinh)" : ""}, north up, west right. Solquery.`, 6, sheet.height - 14, sheet.width - 12);
    return new Promise((done) => sheet.toBlob(done, "image/png"));
  }
}
