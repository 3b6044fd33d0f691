// The matches beside the query: picture, who and when and where, what differs; frames of one region; use, compare.

import { getPacked, postJson } from "./api.js";
import { cropped, draw } from "./field.js";
import { byId, make, number, place, quantity, unit, when } from "./format.js";

const SHOWN = ["tuf", "psep", "r", "tilt"];
const kept = new Map();

/** The patch of an id on the model's grid: {document, field}; remembered. */
export async function patchOf(id) {
  if (!kept.has(id)) {
    const loading = getPacked(`/api/patch/${encodeURIComponent(id)}?format=packed`).then(({ document, fields }) => ({ document, field: fields[0] }));
    kept.set(id, loading);
    loading.catch(() => kept.delete(id));
    if (kept.size > 300) kept.delete(kept.keys().next().value);
  }
  return kept.get(id);
}

/** Every frame of a region, as a search gives them. */
export const framesOf = async (body) => (await postJson("/api/search", { ...body, client: undefined, k: 100, group: "none", exclude_own: false })).matches;

const percent = (share) => (share > 0.9995 ? "99.9" : (100 * share).toFixed(share > 0.99 ? 1 : 0));

/** What has to be known of an observation before its numbers are trusted: kind of field, limb, view, QUALITY. */
function marks(match, view) {
  const out = [];
  if (match.source === "real") out.push([match.quantity === "line-of-sight" ? "line of sight" : match.quantity === "radial" ? "radial field" : match.quantity ?? "", "Kind of field"]);
  if (match.mu !== null && match.mu < 0.5) out.push(["near the limb", "μ below 0.5: noise is large, and polarities are uncertain"]);
  const size = match.native_scale_mm && match.native_shape?.map((n, k) => n * match.native_scale_mm[k]);
  if (size && view && size.some((mm, k) => mm > 1.02 * view[k])) out.push(["larger than the view", `Its box is ${size[1].toFixed(0)} by ${size[0].toFixed(0)} Mm, the view ${view[1].toFixed(0)} by ${view[0].toFixed(0)}: what lies outside is in none of the numbers on the grid`]);
  if (match.quality) out.push([`QUALITY 0x${(match.quality >>> 0).toString(16).padStart(8, "0")}`, "The instrument's quality flags"]);
  return out.length ? make("p", { class: "marks" }, ...out.filter(([text]) => text).map(([text, why]) => make("span", { class: "mark-", title: why }, text))) : null;
}

/** A size with the sign of a value; nothing has none. */
const signed = (value, size) => (Number(size) === 0 ? size : `${value < 0 ? "−" : "+"}${size}`);

/** What matches can be sorted by, beside the parameters: from the largest, but distance and time from the least. */
const ORDER = { distance: ["distance", (m) => m.distance], time: ["time", (m) => (m.t_utc ? Date.parse(m.t_utc) : null)], mu: ["μ", (m) => (m.mu === null ? null : -m.mu)] };

export class Matches {
  /** handlers: use(id), compare(id), frames(region) → Promise of matches; inTime(region); judges(id) → its buttons; look() → how to draw; numbers() → which;
      symbol(name), title(name); cards() → {cards, size, sort}. */
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
    this.list.style.setProperty("--size", `${size}px`);
    const value = ORDER[sort]?.[1] ?? ((m) => { const v = m.grid[sort]?.value; return Number.isFinite(v) ? -v : null; });
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

  async paint(card) {
    try {
      const { field } = await patchOf(card.match.id);
      draw(card.canvas, cropped(field), { ...this.handlers.look(), pil: false, cen: false, bar: false, width: card.canvas.clientWidth || 96, cross: null });
    } catch { card.canvas.classList.add("gone"); }
  }

  card(match) {
    const canvas = make("canvas", { width: 96, height: 96, role: "img", "aria-label": `${match.source} patch ${match.id}` });
    const card = { match, canvas, frames: [], values: make("dl", { class: "values" }) };
    this.write(card);
    const noaa = match.noaa?.length ? `NOAA ${match.noaa.join(", ")}` : "";
    const where = [place(match.latitude_deg, match.longitude_deg), match.mu === null ? "" : `μ ${match.mu.toFixed(2)}`].filter(Boolean).join(" · ");
    const box = make("div", { class: "frames", hidden: true });
    const more = match.frames > 1 && this.handlers.grouped()
      ? make("button", { type: "button", "aria-expanded": "false", onclick: (event) => this.frames(card, box, event.currentTarget) }, `${match.frames} frames`) : null;
    const share = match.nearer === null ? "" : `nearer than ${percent(match.nearer)} %`;
    const judged = `Of pairs of patches of different regions in this archive, ${percent(match.nearer ?? 0)} % lie farther apart. Distance ${number(match.distance)}`;
    const time = match.source === "real" && match.frames > 1 ? make("button", { type: "button", onclick: () => this.handlers.inTime(match) }, "In time") : null;
    card.node = make("li", { class: "match", "data-id": match.id },
      make("button", {
        type: "button", class: "thumb", title: "Compare with the query", "aria-label": `Compare ${match.region} with the query`, onclick: () => this.handlers.compare(match.id),
        onpointerenter: (event) => { if (event.pointerType === "mouse") this.hover(card); }, onpointerleave: () => this.hover(null),
      }, canvas),
      make("div", { class: "who" },
        make("p", { class: "name" }, make("span", { class: "rank" }, String(match.rank)), ` ${match.region} `, make("span", { class: `badge ${match.source}` }, match.source)),
        make("p", { class: "small muted" }, [noaa, when(match)].filter(Boolean).join(" · ")),
        make("p", { class: "small muted" }, where),
        make("p", { class: "small muted near", title: judged }, [share, `distance ${number(match.distance)}`].filter(Boolean).join(" · ")),
        marks(match, this.handlers.view)),
      card.values,
      make("div", { class: "row acts" },
        make("button", { type: "button", class: "use", onclick: () => this.handlers.use(match.id) }, "Use as query"),
        make("button", { type: "button", onclick: () => this.handlers.compare(match.id) }, "Compare"), more, time, this.handlers.judges(match.id),
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
      const { field } = await patchOf(card.match.id);
      if (this.over !== card) return;
      // over the sliders, so that the query stays to be seen beside it
      const over = byId("physics").getBoundingClientRect(), level = byId("patch").getBoundingClientRect().top;
      if (over.width > 0.6 * innerWidth) return;
      box.style.width = `${Math.min(over.width, 460)}px`;
      box.hidden = false;
      draw(canvas, field, { ...this.handlers.look(), scale: this.handlers.scale, cross: null });
      box.querySelector("figcaption").textContent = [`${card.match.region}, ${card.match.source}`, when(card.match)].filter(Boolean).join(" · ");
      box.style.left = `${over.left + (over.width - box.offsetWidth) / 2}px`;
      box.style.top = `${Math.max(8, Math.min(innerHeight - box.offsetHeight - 8, level))}px`;
    } catch { /* the small one has to do */ }
  }

  /** One parameter: its value, and how far it lies from the query's on the grid, in sigmas of generated patches. */
  value(match, name, numbers) {
    const native = match.parameters[name], own = native?.value !== null && native !== undefined ? native : match.grid[name];
    const apart = match.difference[name], sigmas = apart.sigmas;
    const known = Number.isFinite(sigmas);
    const text = known ? `${signed(sigmas, Math.abs(sigmas).toFixed(1))} σ` : "";
    const bar = make("i", { class: "apart" });
    if (known) {
      const size = Math.min(1, Math.abs(sigmas) / 3) * 50, fill = make("b");
      fill.style.width = `${size}%`;
      fill.style.left = sigmas < 0 ? `${50 - size}%` : "50%";
      bar.append(fill);
    }
    const shown = numbers === "grid" ? quantity(match.grid[name]) : numbers === "difference" ? (known ? `${signed(apart.value, number(Math.abs(apart.value)))} ${unit(apart.unit)}`.trim() : "–") : quantity(own);
    const told = `${this.handlers.symbol(name)} ${quantity(own)} at native scale; on the grid ${quantity(match.grid[name])}, ${number(apart.value)} ${unit(apart.unit)} from the query's${known ? `, ${text}${apart.logarithm ? " of the logarithm" : ""}` : ""}`;
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
        const canvas = make("canvas", { width: 56, height: 56 });
        const label = `${when(frame) || frame.id}, distance ${number(frame.distance)}`;
        box.append(make("button", { type: "button", class: frame.id === match.id ? "best" : "", title: `Use as query: ${label}`, "aria-label": `Use as query: ${label}`, onclick: () => this.handlers.use(frame.id) }, canvas, make("small", {}, number(frame.distance))));
        card.frames.push({ match: frame, canvas });
        this.paint(card.frames.at(-1));
      }
    } catch (error) { box.textContent = error.message; }
  }
}

/** HARPNUM and T_REC of the observations among matches, one a line, for a script. */
export const recordList = (matches) => matches.filter((m) => m.record_set).map((m) => `${m.harpnum}\t${m.t_rec}`).join("\n");
/** The lines that get the observations among matches. */
export const fetchLines = (matches) => [...new Set(matches.map((m) => m.fetch).filter(Boolean))].join("\n");

const cell = (v) => {
  const text = v === null || v === undefined ? "" : Array.isArray(v) ? v.join(" ") : String(v);
  // a text that a spreadsheet would run as a formula
  const safe = typeof v === "string" && /^[=+@\t-]/.test(text) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
};

/** Patches that were kept, as CSV: parameters native and on the grid. */
export function keptCsv(records) {
  const names = Object.keys(records[0].grid), of = (kind, n) => records.map((r) => r[kind][n]?.unit).find(Boolean);
  const named = (text, u) => `${text}${u ? ` [${u}]` : ""}`;
  const head = ["id", "region", "source", "time_utc", "t_rec", "harpnum", "noaa", "latitude_deg", "longitude_deg", "mu", "quantity", "quality", ...names.map((n) => named(n, of("parameters", n))), ...names.map((n) => named(`grid_${n}`, of("grid", n)))];
  const rows = records.map((r) => [r.id, r.region, r.source, r.t_utc, r.t_rec, r.harpnum, r.noaa, r.latitude_deg, r.longitude_deg, r.mu, r.quantity, r.quality, ...names.map((n) => r.parameters[n]?.value), ...names.map((n) => r.grid[n]?.value)]);
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** The matches as CSV: parameters native, on the grid, and less the query's there, with their units in the head. */
export function csv(matches) {
  if (!matches.length) return "";
  const names = Object.keys(matches[0].grid), apart = Object.keys(matches[0].difference);
  const native = names.map((n) => [n, matches.map((m) => m.parameters[n]?.unit).find(Boolean) ?? ""]);
  const head = ["rank", "id", "region", "source", "distance", "time_utc", "t_rec", "harpnum", "noaa", "latitude_deg", "longitude_deg", "mu", "quantity", "quality",
    ...native.map(([n, u]) => `${n}${u ? ` [${u}]` : ""}`), ...names.map((n) => `grid_${n}${matches[0].grid[n].unit ? ` [${matches[0].grid[n].unit}]` : ""}`),
    ...apart.map((n) => `difference_${n}${matches[0].difference[n].unit ? ` [${matches[0].difference[n].unit}]` : ""}`)];
  const rows = matches.map((m) => [m.rank, m.id, m.region, m.source, m.distance, m.t_utc, m.t_rec, m.harpnum, m.noaa, m.latitude_deg, m.longitude_deg, m.mu, m.quantity, m.quality,
    ...names.map((n) => m.parameters[n]?.value), ...names.map((n) => m.grid[n]?.value), ...apart.map((n) => m.difference[n]?.value)]);
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}
