// The matches beside the query: picture, who and when and where, what differs; frames of one region; use, compare.

import { getPacked, postJson } from "./api.js";
import { draw } from "./field.js";
import { make, number, place, quantity, unit, when } from "./format.js";

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

/** A size with the sign of a value; nothing has none. */
const signed = (value, size) => (Number(size) === 0 ? size : `${value < 0 ? "−" : "+"}${size}`);

export class Matches {
  /** handlers: use(id), compare(id), frames(region) → Promise of matches; look() → how to draw; numbers() → which; symbol(name). */
  constructor(list, handlers) {
    this.list = list;
    this.handlers = handlers;
    this.cards = [];
  }

  show(matches) {
    // where the keyboard is, it stays: the same button of the same patch, or of the one in its place
    const held = this.list.contains(document.activeElement) ? document.activeElement : null;
    const at = held ? this.cards.findIndex((card) => card.node.contains(held)) : -1;
    const id = this.cards[at]?.match.id, button = at < 0 ? -1 : [...this.cards[at].node.querySelectorAll("button")].indexOf(held);
    this.items = matches;
    this.cards = matches.map((match) => this.card(match));
    this.list.replaceChildren(...this.cards.map((card) => card.node));
    this.redraw();
    if (held) (this.cards.find((card) => card.match.id === id) ?? this.cards[Math.min(Math.max(at, 0), this.cards.length - 1)])?.node.querySelectorAll("button")[Math.max(button, 0)]?.focus({ preventScroll: true });
  }

  say(text) { this.items = []; this.cards = []; this.list.replaceChildren(make("li", { class: "empty" }, text)); }

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
      draw(card.canvas, field, { ...this.handlers.look(), pil: false, cen: false, bar: false, width: card.canvas.clientWidth || card.canvas.width, cross: null });
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
    card.node = make("li", { class: "match", "data-id": match.id },
      make("button", { type: "button", class: "thumb", title: "Compare with the query", "aria-label": `Compare ${match.region} with the query`, onclick: () => this.handlers.compare(match.id) }, canvas),
      make("div", { class: "who" },
        make("p", { class: "name" }, make("span", { class: "rank" }, String(match.rank)), ` ${match.region} `, make("span", { class: `badge ${match.source}` }, match.source)),
        make("p", { class: "small muted" }, [noaa, when(match)].filter(Boolean).join(" · ")),
        make("p", { class: "small muted" }, [where, `distance ${number(match.distance)}`].filter(Boolean).join(" · "))),
      card.values,
      make("div", { class: "row acts" },
        make("button", { type: "button", class: "use", onclick: () => this.handlers.use(match.id) }, "Use as query"),
        make("button", { type: "button", onclick: () => this.handlers.compare(match.id) }, "Compare"), more),
      box);
    return card;
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
    const told = `${this.handlers.symbol(name)} ${quantity(own)} at native scale; on the grid ${quantity(match.grid[name])}, ${number(apart.value)} ${unit(apart.unit)} from the query's`;
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

/** The matches as CSV: parameters native, on the grid, and less the query's there, with their units in the head. */
export function csv(matches) {
  if (!matches.length) return "";
  const names = Object.keys(matches[0].grid), apart = Object.keys(matches[0].difference);
  const native = names.map((n) => [n, matches.map((m) => m.parameters[n]?.unit).find(Boolean) ?? ""]);
  const cell = (v) => {
    const text = v === null || v === undefined ? "" : Array.isArray(v) ? v.join(" ") : String(v);
    // a text that a spreadsheet would run as a formula
    const safe = typeof v === "string" && /^[=+@\t-]/.test(text) ? `'${text}` : text;
    return /[",\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
  };
  const head = ["rank", "id", "region", "source", "distance", "time_utc", "harpnum", "noaa", "latitude_deg", "longitude_deg", "mu",
    ...native.map(([n, u]) => `${n}${u ? ` [${u}]` : ""}`), ...names.map((n) => `grid_${n}${matches[0].grid[n].unit ? ` [${matches[0].grid[n].unit}]` : ""}`),
    ...apart.map((n) => `difference_${n}${matches[0].difference[n].unit ? ` [${matches[0].difference[n].unit}]` : ""}`)];
  const rows = matches.map((m) => [m.rank, m.id, m.region, m.source, m.distance, m.t_utc, m.harpnum, m.noaa, m.latitude_deg, m.longitude_deg, m.mu,
    ...names.map((n) => m.parameters[n]?.value), ...names.map((n) => m.grid[n]?.value), ...apart.map((n) => m.difference[n]?.value)]);
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}
