// The sliders: one row a parameter, with its reach, the archive behind it, a lock, a box, asked and got.

import { brush } from "./brush.js";
import { make, number, parse, typed, unit } from "./format.js";
import { measured, told, uncertainty } from "./numbers.js";

/** Always in view, where the model has them; the region's own flux stands for that of all pixels where it is known. */
const FIRST = ["flux", "tuf", "psep", "r", "tilt", "polarity"], IN_VIEW = 5;
const SVG = "http://www.w3.org/2000/svg";
/** half the width of a slider's thumb, as in style.css */
const THUMB = 9;

export class Panel {
  /** handlers: drag(name, value), release(name, value), lock(name, on), only(name, others, on), brushed({name: [low, high]}), explain(name, element). */
  constructor(parameters, first, more, handlers) {
    this.parameters = parameters;
    this.handlers = handlers;
    this.rows = new Map();
    this.moving = null;
    const names = Object.keys(parameters);
    const shown = (this.first = FIRST.filter((name) => names.includes(name) && !(name === "tuf" && names.includes("flux"))).slice(0, IN_VIEW));
    for (const name of [...shown, ...names.filter((n) => !shown.includes(n))]) {
      const row = this.row(name, parameters[name]);
      this.rows.set(name, row);
      (shown.includes(name) ? first : more).append(row.node);
    }
    // where there is room for all of them, all are seen
    more.closest("details").open = matchMedia("(min-width: 1240px) and (min-height: 1100px)").matches;
  }

  row(name, about) {
    const { drag, release, lock, explain } = this.handlers;
    const row = { about };
    const id = `p-${name}`;
    row.lock = make("button", { type: "button", class: "lock", "aria-pressed": "false", "aria-label": `Lock ${about.title}`, title: "Hold this value while others move", onclick: () => lock(name, row.lock.getAttribute("aria-pressed") !== "true") });
    row.lock.append(padlock());
    row.only = make("button", { type: "button", class: "only", "aria-label": `Hold all but ${about.title}`, title: "Hold all but this; once more: release them", onclick: () => this.only(name) }, "only");
    row.note = make("span", { class: "note", id: `${id}-note` });
    const head = make("div", { class: "head" },
      make(about.binary ? "span" : "label", { for: about.binary ? null : id, id: `${id}-label` }, about.title),
      make("button", { type: "button", class: "symbol", "aria-label": `What ${about.title} is`, onclick: (event) => explain(name, event.currentTarget) }, about.symbol),
      make("span", { class: "grow" }), row.only, row.lock);
    if (about.binary) {
      row.choices = [-1, 1].map((value) => {
        const input = make("input", { type: "radio", name: id, value, onchange: () => release(name, value) });
        return { value, input, node: make("label", {}, input, make("span", {}, value < 0 ? "Negative leads" : "Positive leads")) };
      });
      row.node = make("div", { class: "param", "data-name": name }, head,
        make("div", { class: "seg wide", role: "radiogroup", "aria-labelledby": `${id}-label`, "aria-describedby": `${id}-note` }, ...row.choices.map((c) => c.node)),
        make("div", { class: "foot" }, row.note));
      row.worth = make("span");
      return row;
    }
    const [low, high] = about.reach, [from, to] = about.shown;
    // long tails are bent in, so that what is usual has room; the server bins the histogram on the same scale
    const bend = about.bend, whole = bend ? Math.log1p((to - from) / bend) : to - from;
    row.share = (value) => (bend ? Math.log1p(Math.max(0, value - from) / bend) : value - from) / whole;
    row.value = (share) => from + (bend ? bend * Math.expm1(share * whole) : share * whole);
    const left = row.share(low), width = row.share(high) - left;
    row.range = make("input", { type: "range", id, min: 0, max: 1000, step: 1, "aria-describedby": `${id}-note` });
    row.toValue = (step) => Math.max(low, Math.min(high, row.value(left + (width * step) / 1000)));
    row.toStep = (value) => Math.round((1000 * (row.share(value) - left)) / width);
    row.range.style.left = `calc(${100 * row.share(low)}% - ${THUMB}px)`;
    row.range.style.width = `calc(${100 * (row.share(high) - row.share(low))}% + ${2 * THUMB}px)`;
    let settle = 0;
    row.range.addEventListener("input", () => {
      this.moving = name;
      clearTimeout(settle);
      const value = row.toValue(Number(row.range.value));
      row.box.value = typed(value);
      row.speak(value);
      drag(name, value);
    });
    row.range.addEventListener("change", () => {
      clearTimeout(settle);
      // arrow keys come in series; the solve waits until the hand rests
      settle = setTimeout(() => { this.moving = null; release(name, row.toValue(Number(row.range.value))); }, 180);
    });
    row.mark = make("i", { class: "mark", hidden: true });
    row.chosen = make("i", { class: "chosen", hidden: true });
    row.bars = histogram(about, row.share(low), row.share(high));
    brush(row.bars, {
      moved: (a, b) => {
        row.chosen.hidden = !a;
        if (a) { row.chosen.style.left = `${100 * Math.min(a[0], b[0])}%`; row.chosen.style.width = `${100 * Math.abs(b[0] - a[0])}%`; }
      },
      done: (a, b) => this.handlers.brushed({ [name]: [row.value(Math.min(a[0], b[0])), row.value(Math.max(a[0], b[0]))] }),
    });
    row.box = make("input", { type: "text", inputmode: "decimal", class: "value", "aria-label": `${about.title} in ${unit(about.unit) || "no unit"}`, "aria-describedby": `${id}-note`, spellcheck: "false" });
    const enter = () => {
      if (row.box.value === row.settled || row.box.value === row.refused) return;
      const value = parse(row.box.value, about.unit), u = unit(about.unit);
      if (row.box.value.trim() === "") { this.accept(name); return; }
      if (Number.isNaN(value)) { this.mark(name, `${row.box.value.trim()} is no number${u ? ` of ${u}` : ""}; give one such as ${typed(about.median)}${u ? ` ${u}` : ""}`); return; }
      row.refused = null;
      release(name, value);
    };
    row.box.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); row.refused = null; enter(); }
      if (event.key === "Escape") this.accept(name);
    });
    row.box.addEventListener("blur", enter);
    row.box.addEventListener("focus", () => row.box.select());
    row.speak = (value) => row.range.setAttribute("aria-valuetext", `${number(value)} ${unit(about.unit)}`);
    row.worth = make("span", { class: "worth", id: `${id}-worth` });
    row.wrong = make("p", { class: "wrong", role: "alert", hidden: true });
    row.node = make("div", { class: "param", "data-name": name }, head,
      make("div", { class: "track", title: "Drag over the histogram to limit the matches" }, row.bars, row.chosen, row.mark, row.range),
      make("div", { class: "foot" }, row.box, make("span", { class: "unit" }, unit(about.unit)), row.worth, row.note), row.wrong);
    return row;
  }

  /** The other parameters that are always in view are held, or released where they all are. */
  only(name) {
    const others = this.first.filter((other) => other !== name && Number.isFinite(this.last.got[other]));
    const held = others.every((other) => this.last.locks[other] !== undefined);
    this.handlers.only(name, others, !held);
  }

  /** What was typed stays, with why it cannot be had, and a button for what can. */
  mark(name, why, nearest = null) {
    const row = this.rows.get(name), { about } = row;
    row.refused = row.box.value;
    row.box.setAttribute("aria-invalid", "true");
    row.wrong.replaceChildren(why);
    if (nearest !== null) {
      row.wrong.append(" ", make("button", { type: "button", class: "nearest", onclick: () => { row.box.focus(); this.handlers.release(name, nearest); } }, `Take the nearest, ${number(nearest)} ${unit(about.unit)}`));
    }
    row.wrong.hidden = false;
  }

  /** A number that the model does not reach. */
  refuse(name, value, nearest) {
    const row = this.rows.get(name), { about } = row, u = unit(about.unit), [low, high] = about.reach;
    if (!row.box) return;
    row.box.value = typed(value);
    this.mark(name, `${number(value)} ${u} is out of reach; the model makes ${number(low)} to ${number(high)} ${u}.`.replace(/ +/g, " "), nearest);
  }

  /** Back to the value that is shown. */
  accept(name) {
    const row = this.rows.get(name);
    if (!row.wrong) return;
    row.refused = null;
    row.wrong.hidden = true;
    row.box.removeAttribute("aria-invalid");
    row.box.value = row.settled;
  }

  /** What there is to say about the value of a parameter that is shown, as paragraphs. */
  told(name) {
    const about = this.parameters[name], { native, seen: own, observed } = this.last ?? {};
    if (!own) return [told(about, native?.[name], observed)].filter(Boolean);
    // both are of one field on the grid, whose number is told once
    const measured_ = own[name] && { ...own[name], grid: undefined };
    return [told(about, measured_, true, "Observed:"), told(about, native?.[name], false, "From the model's grid, where sliders start:")].filter(Boolean);
  }

  /** now: {got: {name: value}, native: {name: {value, unit, low, high | error, grid}}, observed, asked, locks, verdict, ready}. The one that the hand is on is left alone. */
  update(now) {
    this.last = now;
    for (const [name, row] of this.rows) {
      const value = now.got[name], asked = now.asked[name], held = now.locks[name];
      const known = Number.isFinite(value);
      const locked = held !== undefined;
      row.node.classList.toggle("locked", locked);
      row.lock.setAttribute("aria-pressed", String(locked));
      row.lock.title = locked ? "Release this value" : "Hold this value while others move";
      row.lock.disabled = !known && !locked;
      row.note.textContent = this.note(row.about, value, asked, held, now);
      const band = row.about.binary ? "" : uncertainty(now.native?.[name]);
      // each goes to the next line as a whole
      row.worth.replaceChildren(...[band, seen(now.seen?.[name], row.about), made(now.made?.[name], value, row.about)].filter(Boolean).map((text) => make("span", {}, text)));
      row.worth.title = this.told(name).join("\n\n");
      row.note.classList.toggle("missed", (asked !== undefined && now.verdict === "nearest") || off(row.about, value, held) !== "");
      if (row.choices) {
        for (const choice of row.choices) {
          choice.input.checked = choice.value === value;
          choice.input.disabled = !now.ready || locked;
        }
        continue;
      }
      row.range.disabled = row.box.disabled = !now.ready || locked;
      row.mark.hidden = asked === undefined && held === undefined;
      if (!row.mark.hidden) row.mark.style.left = `${100 * Math.max(0, Math.min(1, row.share(asked ?? held)))}%`;
      if (this.moving === name) continue;
      row.range.value = known ? row.toStep(value) : 500;
      row.range.classList.toggle("unknown", !known);
      const before = row.settled;
      row.settled = typed(value);
      if (row.settled !== before) this.accept(name);
      else if (row.refused === null || row.refused === undefined) row.box.value = row.settled;
      row.speak(value);
    }
  }

  note(about, value, asked, held, now) {
    if (held !== undefined) return `${about.binary ? "held" : `held at ${number(held)}`}${off(about, value, held)}`;
    if (asked !== undefined && !about.binary) {
      const met = now.verdict === "nearest" ? " (the nearest there is)" : now.verdict === "met" ? " ✓" : "";
      return `asked ${number(asked)}, got ${number(value)}${met}`;
    }
    if (!Number.isFinite(value)) return "unknown: one polarity is missing";
    return "";
  }
}

/** How far a held value is from where it should be, where that is more than a lock allows: a fifth of the spread. */
function off(about, value, held) {
  if (held === undefined || held === null || !Number.isFinite(value)) return "";
  if (about.binary) return value === held ? "" : ", not kept";
  const gap = value - held;
  // what is locked is compared as it is shown
  if (Math.abs(gap) <= 0.2 * about.spread + 1e-3 * Math.abs(held)) return "";
  const share = held ? `${gap > 0 ? "+" : "−"}${Math.abs((100 * gap) / held).toFixed(0)} %` : number(gap);
  return `, is ${number(value)} (${share})`;
}

/** Of an observation: what the model's reconstruction of it has; the table below the picture says by how much that differs. */
function made(value, observed, about) {
  if (value !== undefined && !Number.isFinite(value) && Number.isFinite(observed)) return "unknown of the reconstruction";
  if (!Number.isFinite(value) || !Number.isFinite(observed) || about.binary) return "";
  return `reconstructed ${number(value)}`;
}

/** Of an observation: its own value, where the sliders start from what the model's grid shows of it. */
function seen(entry, about) {
  return !entry || !Number.isFinite(entry.value) || about.binary ? "" : `observed ${measured(entry)}`;
}

/** What a parameter is, for the popover. */
export function explanation(name, about, now = []) {
  const [low, high] = about.reach.map((v) => number(v)), u = unit(about.unit);
  const weak = about.accuracy - about.chance < 0.12;
  return [
    make("h3", {}, `${about.title} (${about.symbol})`),
    make("p", {}, about.definition.split("\n\n")[0].replace(/\n/g, " ")),
    ...now.map((text) => make("p", { class: "now" }, text)),
    make("p", { class: "small muted" }, about.binary ? "Takes two values. " : `In ${u || "no unit"}, ${about.native ? "at native (HMI) scale" : "on the grid of the model"}; from ${low} to ${high} in reach. `,
      `Source: ${about.source}.`),
    make("p", { class: "small muted" }, `Its direction puts ${(100 * about.accuracy).toFixed(0)} % of unseen patches on the right side of the boundary (${(100 * about.chance).toFixed(0)} % by guessing).`,
      weak ? " The direction is weak: the slider goes there by solving, and may take others along; lock what shall stay." : ""),
  ].filter(Boolean);
}

function histogram(about, low, high) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 40 24");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const put = (tag, attributes) => {
    const node = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    svg.append(node);
  };
  const bars = (counts, kind) => {
    const top = Math.max(1, ...counts);
    // by square root, so that the few in the tails are seen
    const d = counts.map((n, k) => (n ? `M${k} 24V${(24 - 22 * Math.sqrt(n / top)).toFixed(2)}h.92V24z` : "")).join("");
    put("path", { d, class: kind });
  };
  if (about.archive) {
    // an archive of observations alone has bars of its own; beside simulations they are few, and are marked
    if (about.archive.simulated.some(Boolean)) {
      bars(about.archive.simulated, "simulated");
      about.archive.real.forEach((n, k) => { if (n) put("rect", { x: k, y: 19, width: 0.92, height: 5, class: "real" }); });
    } else bars(about.archive.real, "real");
  } else bars(about.generated, "made");
  if (low > 0.001) put("rect", { x: 0, y: 0, width: 40 * low, height: 24, class: "beyond" });
  if (high < 0.999) put("rect", { x: 40 * high, y: 0, width: 40 * (1 - high), height: 24, class: "beyond" });
  return svg;
}

function padlock() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  for (const [kind, d] of [["body", "M3 7.5h10v7H3z"], ["bow shut", "M5 7.5V5a3 3 0 0 1 6 0v2.5"], ["bow open", "M5 7.5V4.5a3 3 0 0 1 5.8-1"]]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    path.setAttribute("class", kind);
    svg.append(path);
  }
  return svg;
}
