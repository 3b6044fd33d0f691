// The matches beside the query: picture, who and when and where, what differs; frames of one region; use, compare.

import { getPacked, postJson } from "./api.js";
import { cropped, draw } from "./field.js";
import { byId, make, number, place, quantity, unit, when, withUnit } from "./format.js";
import { marks, names } from "./marks.js";
import { compared } from "./numbers.js";

const SHOWN = ["tuf", "psep", "r", "tilt"];
const kept = new Map();

/** A browser has six connections to a server: with two for pictures, what the hand asks for finds one free. */
let free = 2;
const line = [];
async function inTurn(work) {
  if (free) free--; else await new Promise((go) => line.push(go));
  try { return await work(); } finally { if (line.length) line.shift()(); else free++; }
}

/** The patch of an id on the model's grid: {document, field}; remembered. */
export async function patchOf(id) {
  if (!kept.has(id)) {
    const loading = inTurn(() => getPacked(`/api/patch/${encodeURIComponent(id)}?format=packed`)).then(({ document, fields }) => ({ document, field: fields[0] }));
    kept.set(id, loading);
    loading.catch(() => kept.delete(id));
    if (kept.size > 300) kept.delete(kept.keys().next().value);
  }
  return kept.get(id);
}

/** Every frame of a region, as a search gives them. */
export const framesOf = async (body) => (await postJson("/api/search", { ...body, client: undefined, k: 100, group: "none", exclude_own: false })).matches;

const percent = (share) => (share > 0.9995 ? "99.9" : (100 * share).toFixed(share > 0.99 ? 1 : 0));

/** A size with the sign of a value; nothing has none. */
const signed = (value, size) => (Number(size) === 0 ? size : `${value < 0 ? "−" : "+"}${size}`);

/** What matches can be sorted by, beside the parameters: from the largest, but rank and time from the least. A match that was compared again pixel by pixel may rank before nearer ones. */
const ORDER = { distance: ["rank", (m) => m.rank], time: ["time", (m) => (m.t_utc ? Date.parse(m.t_utc) : null)], mu: ["μ", (m) => (m.mu === null ? null : -m.mu)] };

export class Matches {
  /** handlers: use(id), compare(id), frames(region) → Promise of matches; inTime(region); judges(id) → its buttons; look() → how to draw; numbers() → which;
      symbol(name), about(name), quantity() → kind of field of the query; cards() → {cards, size, sort}. */
  constructor(list, handlers) {
    this.list = list;
    this.handlers = handlers;
    this.cards = [];
    this.items = [];
  }

  show(matches) {
    // where the keyboard is, it stays: the same button of the same patch, or of the one in its place
    const held = this.list.contains(document.activeElement) ? document.activeElement : null;
    const at = held ? this.cards.findIndex((card) => card.node.contains(held)) : -1;
    const id = this.cards[at]?.match.id, button = at < 0 ? -1 : [...this.cards[at].node.querySelectorAll("button")].indexOf(held);
    this.items = matches;
    this.cards = matches.map((match) => this.card(match));
    this.arrange();
    this.redraw();
    if (held) (this.cards.find((card) => card.match.id === id) ?? this.cards[Math.min(Math.max(at, 0), this.cards.length - 1)])?.node.querySelectorAll("button")[Math.max(button, 0)]?.focus({ preventScroll: true });
  }

  /** The nearest few of now in front of those that were shown, which are those of before. */
  first(matches) {
    const ids = new Set(matches.map((match) => match.id)), regions = new Set(matches.map((match) => match.region));
    const kept_ = this.handlers.grouped() ? this.cards.filter((card) => !regions.has(card.match.region)) : this.cards.filter((card) => !ids.has(card.match.id));
    const known = new Map(this.cards.map((card) => [card.match.id, card.canvas]));
    const cards = matches.map((match) => this.card(match));
    for (const card of kept_) card.node.classList.add("before");
    this.cards = [...cards, ...kept_];
    this.list.replaceChildren(...this.cards.map((card) => card.node));
    for (const card of cards) {
      // the picture of one that is there already is not drawn again
      const drawn = known.get(card.match.id);
      if (drawn && drawn.width > 1) { card.canvas.replaceWith(drawn); card.canvas = drawn; } else this.paint(card);
    }
  }

  /** The matches in the order in which they are shown. */
  get ordered() { return this.cards.map((card) => card.match); }

  /** List or pictures, their size, and the order of the cards. */
  arrange() {
    const { cards, size, sort } = this.handlers.cards();
    byId("arrange").hidden = !this.cards.length;
    this.list.classList.toggle("pictures", cards === "grid");
    // of pictures of any shape the area is that of a square of the size chosen
    this.list.style.setProperty("--size", `${Math.round(size * Math.sqrt(this.handlers.aspect))}px`);
    const value = ORDER[sort]?.[1] ?? ((m) => { const v = compared(this.handlers.about(sort), m, sort)?.value; return Number.isFinite(v) ? -v : null; });
    const last = (v) => (v === null || v === undefined ? Infinity : v);
    this.cards.sort((a, b) => last(value(a.match)) - last(value(b.match)) || a.match.rank - b.match.rank);
    this.list.replaceChildren(...this.cards.map((card) => card.node));
  }

  say(text) { this.items = []; this.cards = []; byId("arrange").hidden = true; this.list.replaceChildren(make("li", { class: "empty" }, text)); }

  redraw() {
    for (const card of this.cards) {
      this.paint(card);
      for (const frame of card.frames) this.paint(frame);
      if (card.numbers !== this.handlers.numbers()) this.write(card);
    }
  }

  /** The parameters of a card, in the numbers that are chosen. */
  write(card) {
    card.numbers = this.handlers.numbers();
    card.values.replaceChildren(...SHOWN.filter((name) => card.match.difference[name]).flatMap((name) => this.value(card.match, name, card.numbers)));
  }

  /** What limits its numbers and its picture; whether the region is cut is known when its pixels are. */
  mark(card, document) {
    card.marks?.replaceChildren(...marks({ ...card.match, ...(document ? { caveats: document.caveats } : {}) }, { view: this.handlers.view, beside: this.handlers.quantity() }));
  }

  async paint(card) {
    try {
      const { document, field } = await patchOf(card.match.id);
      this.mark(card, document);
      draw(card.canvas, cropped(field), { ...this.handlers.look(), pil: false, cen: false, bar: false, width: card.canvas.clientWidth || 96, cross: null });
    } catch { card.canvas.classList.add("gone"); }
  }

  card(match) {
    const canvas = make("canvas", { width: 1, height: 1, role: "img", "aria-label": `${match.source} patch ${match.id}` });
    const card = { match, canvas, frames: [], values: make("dl", { class: "values" }) };
    this.write(card);
    card.marks = make("p", { class: "marks" });
    this.mark(card);
    const noaa = match.noaa?.length ? `NOAA ${match.noaa.join(", ")}` : "";
    const where = [noaa, place(match.latitude_deg, match.longitude_deg), match.mu === null ? "" : `μ\u00a0${match.mu.toFixed(2)}`].filter(Boolean).join(" · ");
    const box = make("div", { class: "frames", hidden: true });
    const more = match.frames > 1 && this.handlers.grouped()
      ? make("button", { type: "button", "aria-expanded": "false", onclick: (event) => this.frames(card, box, event.currentTarget) }, `${match.frames} frames`) : null;
    const share = match.nearer === null ? "" : `nearer than ${percent(match.nearer)} %`;
    const laid = match.correlation === null ? "" : `· correlation ${match.correlation.toFixed(2)}`;
    const judged = `Of pairs of patches of different regions in this archive, ${percent(match.nearer ?? 0)} % lie farther apart. Distance ${number(match.distance)}${laid ? "; compared again pixel by pixel, its correlation with the query" : ""}`;
    const time = match.source === "real" && match.frames > 1 ? make("button", { type: "button", onclick: () => this.handlers.inTime(match) }, "In time") : null;
    card.node = make("li", { class: "match", "data-id": match.id },
      make("button", {
        type: "button", class: "thumb", title: "Compare with the query", "aria-label": `Compare ${match.region} with the query`, onclick: () => this.handlers.compare(match.id),
        onpointerenter: (event) => { if (event.pointerType === "mouse") this.hover(card); }, onpointerleave: () => this.hover(null),
      }, canvas),
      make("div", { class: "who" },
        make("p", { class: "name" }, make("span", { class: "rank" }, String(match.rank)), ` ${match.region} `, make("span", { class: `badge ${match.source}` }, match.source)),
        make("p", { class: "small muted" }, when(match)),
        make("p", { class: "small muted" }, where),
        make("p", { class: "small muted near", title: judged }, share ? make("span", {}, share) : null, make("span", { class: "far" }, `${share ? " · " : ""}distance ${number(match.distance)}`), laid ? " " : null, laid ? make("span", { class: "far" }, laid) : null),
        card.marks),
      card.values,
      make("div", { class: "row acts" },
        make("button", { type: "button", class: "use", onclick: () => this.handlers.use(match.id) }, "Use as query"),
        make("button", { type: "button", onclick: () => this.handlers.compare(match.id) }, "Compare"), this.handlers.judges(match.id), more, time,
        match.links?.length ? make("span", { class: "links small" }, ...match.links.map(({ title, url }) => make("a", { href: url, target: "_blank", rel: "noreferrer noopener", title: `${match.region} at ${title}` }, title))) : null),
      box);
    return card;
  }

  /** A match large beside the query; null takes it away. */
  async hover(card) {
    const box = byId("hover"), canvas = box.querySelector("canvas");
    this.over = card;
    if (!card) { box.hidden = true; return; }
    try {
      const { document, field } = await patchOf(card.match.id);
      if (this.over !== card) return;
      // over the sliders, so that the query stays to be seen beside it
      const over = byId("physics").getBoundingClientRect(), level = byId("patch").getBoundingClientRect().top;
      if (over.width > 0.6 * innerWidth) return;
      box.style.width = `${Math.min(over.width, 460)}px`;
      box.hidden = false;
      draw(canvas, field, { ...this.handlers.look(), scale: this.handlers.scale, cross: null });
      box.querySelector("figcaption").textContent = [`${document.region}, ${document.source}`, when(document), ...names(document, { view: this.handlers.view, beside: this.handlers.quantity() })].filter(Boolean).join(" · ");
      box.style.left = `${over.left + (over.width - box.offsetWidth) / 2}px`;
      box.style.top = `${Math.max(8, over.top, Math.min(innerHeight - box.offsetHeight - 8, level))}px`;
    } catch { /* the small one has to do */ }
  }

  /** One parameter: its value, and how far it lies from the query's, in sigmas of generated patches; no number of those where the query's own band holds it. */
  value(match, name, numbers) {
    const about = this.handlers.about(name), own = compared(about, match, name);
    const apart = match.difference[name], sigmas = apart.sigmas;
    const known = Number.isFinite(sigmas);
    const far = known ? `${signed(sigmas, Math.abs(sigmas).toFixed(Math.abs(sigmas) < 9.95 ? 1 : 0))} σ` : "", text = apart.within ? "in band" : far;
    const bar = make("i", { class: "apart" });
    if (known && !apart.within) {
      const size = Math.min(1, Math.abs(sigmas) / 3) * 50, fill = make("b");
      fill.style.width = `${size}%`;
      fill.style.left = sigmas < 0 ? `${50 - size}%` : "50%";
      bar.append(fill);
    }
    const shown = numbers === "grid" ? quantity(match.grid[name]) : numbers === "difference" ? (known ? withUnit(signed(apart.value, number(Math.abs(apart.value))), unit(apart.unit)) : "–") : quantity(own);
    const told = `${this.handlers.symbol(name)} ${quantity(own)}, ${withUnit(signed(apart.value, number(Math.abs(apart.value))), unit(apart.unit))} from the query's${known ? `, ${far}${apart.logarithm ? " of the logarithm" : ""} (σ: half the central 68 % of generated patches)` : ""}${apart.within ? ", within the query's band" : ""}${about.native ? `; on the grid of the model ${quantity(match.grid[name])}` : ""}`;
    return [make("dt", { title: told }, this.handlers.symbol(name)), make("dd", { title: told }, make("span", {}, shown), bar, make("small", {}, text))];
  }

  async frames(card, box, button) {
    const { match } = card, open = box.hidden;
    button.setAttribute("aria-expanded", String(open));
    box.hidden = !open;
    if (!open || box.childElementCount) return;
    try {
      const frames = await this.handlers.frames(match.region);
      frames.sort((a, b) => (a.t_utc || a.id).localeCompare(b.t_utc || b.id));
      for (const frame of frames) {
        const canvas = make("canvas");
        const label = `${when(frame) || frame.id}, distance ${number(frame.distance)}`;
        box.append(make("button", { type: "button", class: frame.id === match.id ? "best" : "", title: `Use as query: ${label}`, "aria-label": `Use as query: ${label}`, onclick: () => this.handlers.use(frame.id) }, canvas, make("small", {}, number(frame.distance))));
        card.frames.push({ match: frame, canvas });
        this.paint(card.frames.at(-1));
      }
    } catch (error) { box.textContent = error.message; }
  }
}
