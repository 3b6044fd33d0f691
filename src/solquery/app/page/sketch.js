// A sketch as a query: blobs with sign, flux, width and place, set by hand, finger, keys or numbers.

import { ofSketch } from "./inversion.js";
import { draw } from "./field.js";
import { byId, make, number } from "./format.js";

const MOST = 32, CM2_PER_MM2 = 1e16, FLUX = 1e21, NEAR_PX = 14;
const BIPOLE = [{ sign: "+", flux: 1e22, size: 28, x: 32, y: -4 }, { sign: "-", flux: 9e21, size: 24, x: -32, y: 5 }];
const NUMBERS = [
  ["flux", "Flux (10²¹ Mx)", FLUX, { min: 0.01, step: "any" }], ["size", "Width (Mm)", 1, { min: 1, step: "any" }],
  ["x", "West (Mm)", 1, { step: "any" }], ["y", "North (Mm)", 1, { step: "any" }],
];
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const NAMES = { "+": "positive", "-": "negative" };

/** Standard deviation of a blob in Mm, from its full width at half maximum. */
const sigma = ({ size }) => size / Math.sqrt(8 * Math.LN2);
/** The field at the centre of a blob, in gauss. */
const peak = (blob) => blob.flux / (2 * Math.PI * sigma(blob) ** 2 * CM2_PER_MM2);

/** The field (h, w) in gauss of Gaussian blobs on pixels of scale [y, x] Mm. */
export function fieldOf(blobs, [h, w], [sy, sx]) {
  const data = new Float32Array(h * w);
  for (const blob of blobs) {
    const s = sigma(blob), top = (blob.sign === "+" ? 1 : -1) * peak(blob);
    const along = (n, mm, at) => Float32Array.from({ length: n }, (_, k) => Math.exp(-0.5 * (((k - (n - 1) / 2) * mm - at) / s) ** 2));
    const across = along(w, sx, blob.x), up = along(h, sy, blob.y);
    for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) data[y * w + x] += top * up[y] * across[x];
  }
  return { data, h, w };
}

export class Sketch {
  /** model of the server's health; handlers: look() → how to draw, last() → blobs of the query or null, drawn(begun, blobs, closed) → Promise. */
  constructor(model, handlers) {
    Object.assign(this, { shape: model.shape, scale: model.scale_mm, handlers, blobs: [], at: 0, held: null });
    this.box = byId("sketch-box");
    this.canvas = byId("sketch-canvas");
    byId("sketch").hidden = !this.scale;
    if (!this.scale) return;
    byId("sketch").addEventListener("click", () => this.open());
    byId("sketch-add").addEventListener("click", () => this.add());
    this.box.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); this.send(); });
    byId("sketch-close").addEventListener("click", () => this.box.close());
    this.canvas.addEventListener("pointerdown", (event) => this.take(event));
    this.canvas.addEventListener("pointermove", (event) => { if (this.held) this.place(this.held, this.where(event)); });
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => { this.held = null; });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => { if (this.box.open) this.paint(); }).observe(this.canvas.parentElement);
  }

  open() {
    const last = this.handlers.last();
    if (last) this.blobs = last.map((blob) => ({ ...blob }));
    else if (!this.blobs.length) this.blobs = BIPOLE.map((blob) => ({ ...blob }));
    this.say("");
    this.list();
    this.box.showModal();
    this.canvas.focus();
    this.paint();
  }

  say(text) { byId("sketch-said").textContent = text; }

  /** Mm west and north of the centre, of a pointer. */
  where(event) {
    const box = this.canvas.getBoundingClientRect(), [h, w] = this.shape, [sy, sx] = this.scale;
    return [((event.clientX - box.left) / box.width - 0.5) * w * sx, (0.5 - (event.clientY - box.top) / box.height) * h * sy];
  }

  /** The blob under a pointer is taken; where there is none, another one is put there. */
  take(event) {
    const [x, y] = this.where(event), [, w] = this.shape, near = (NEAR_PX * w * this.scale[1]) / this.canvas.clientWidth;
    const away = this.blobs.map((blob) => Math.hypot(blob.x - x, blob.y - y) - Math.max(near, blob.size / 2));
    const nearest = away.indexOf(Math.min(...away));
    if (nearest < 0 || away[nearest] > 0) { if (!this.add(x, y)) return; } else this.choose(nearest);
    this.held = this.blobs[this.at];
    this.canvas.setPointerCapture(event.pointerId);
  }

  choose(at) {
    this.at = at;
    for (const [k, row] of [...byId("sketch-blobs").children].entries()) row.classList.toggle("chosen-", k === at);
    this.paint();
  }

  place(blob, [x, y]) {
    const bound = (value, n, mm) => Math.round(10 * Math.max(-n * mm / 2, Math.min(n * mm / 2, value))) / 10;
    Object.assign(blob, { x: bound(x, this.shape[1], this.scale[1]), y: bound(y, this.shape[0], this.scale[0]) });
    const row = byId("sketch-blobs").children[this.blobs.indexOf(blob)];
    for (const name of ["x", "y"]) row.querySelector(`[name=${name}]`).value = blob[name];
    this.paint();
  }

  /** Another blob, of the other sign than the last one. */
  add(x = 0, y = 0) {
    if (this.blobs.length >= MOST) { this.say(`A sketch has at most ${MOST} blobs.`); return false; }
    const last = this.blobs.at(-1) ?? BIPOLE[1];
    this.blobs.push({ ...last, sign: last.sign === "+" ? "-" : "+" });
    this.at = this.blobs.length - 1;
    this.list();
    this.place(this.blobs[this.at], [x, y]);
    return true;
  }

  remove(at) {
    this.blobs.splice(at, 1);
    this.at = Math.max(0, Math.min(this.at, this.blobs.length - 1));
    this.list();
    this.paint();
    (byId("sketch-blobs").children[this.at]?.querySelector(".remove") ?? byId("sketch-add")).focus();
  }

  key(event) {
    const by = MOVES[event.key], blob = this.blobs[this.at];
    if (!blob) return;
    if (by) {
      const far = event.shiftKey ? 10 : 1;
      this.place(blob, [blob.x + far * by[0], blob.y + far * by[1]]);
    } else if (event.key === " ") this.choose((this.at + 1) % this.blobs.length);
    else if (event.key === "+" || event.key === "-") { blob.sign = event.key; this.list(); this.paint(); }
    else if (event.key === "Delete") this.remove(this.at);
    else return;
    event.preventDefault();
    if (event.key !== "Delete") this.say(`Blob ${this.at + 1}, ${NAMES[this.blobs[this.at].sign]}: ${number(this.blobs[this.at].x)} Mm west, ${number(this.blobs[this.at].y)} Mm north`);
  }

  /** The blobs as numbers. */
  list() {
    byId("sketch-blobs").replaceChildren(...this.blobs.map((blob, k) => {
      const strength = make("span", { class: "small muted strength" });
      const tell = () => { strength.textContent = `peak ${number(peak(blob))} G`; };
      const changed = () => { tell(); this.choose(k); };
      const sign = make("select", { name: "sign", onchange: (event) => { blob.sign = event.target.value; changed(); } },
        ...["+", "-"].map((value) => make("option", { value, selected: blob.sign === value }, `${value === "+" ? "+" : "−"} ${NAMES[value]}`)));
      const inputs = NUMBERS.map(([name, label, unit, limits]) => make("label", {}, label, make("input", {
        type: "number", inputmode: "decimal", required: true, name, value: Number((blob[name] / unit).toPrecision(4)), ...limits,
        oninput: (event) => { const value = event.target.valueAsNumber * unit; if (event.target.checkValidity()) { blob[name] = value; changed(); } },
      })));
      tell();
      const row = make("fieldset", { class: k === this.at ? "chosen-" : "" }, make("legend", {}, `Blob ${k + 1}`),
        make("label", {}, "Sign", sign), ...inputs, make("span", { class: "end" }, strength,
          make("button", { type: "button", class: "remove", "aria-label": `Remove blob ${k + 1}`, onclick: () => this.remove(k) }, "✕")));
      row.addEventListener("focusin", () => this.choose(k));
      return row;
    }));
  }

  paint() {
    if (!this.canvas.clientWidth) return;
    draw(this.canvas, fieldOf(this.blobs, this.shape, this.scale), { ...this.handlers.look(), pil: false, cen: false, limit: 1500, stretch: "linear", scale: this.scale, cross: null });
    const g = this.canvas.getContext("2d"), ratio = this.canvas.width / this.canvas.clientWidth, [h, w] = this.shape, [sy, sx] = this.scale, per = this.canvas.width / (w * sx);
    g.textAlign = "center"; g.textBaseline = "middle"; g.font = `700 ${13 * ratio}px system-ui, sans-serif`;
    for (const [k, blob] of this.blobs.entries()) {
      const x = this.canvas.width / 2 + blob.x * per, y = this.canvas.height / 2 - blob.y * (this.canvas.height / (h * sy));
      g.beginPath(); g.arc(x, y, Math.max(4 * ratio, (blob.size / 2) * per), 0, 7);
      g.lineWidth = (k === this.at ? 3 : 1.5) * ratio; g.strokeStyle = k === this.at ? "#ff8a1f" : "rgba(255,138,31,.6)"; g.stroke();
      g.fillStyle = blob.sign === "+" ? "#111" : "#fff";
      g.fillText(`${blob.sign === "+" ? "+" : "−"}${k + 1}`, x, y);
    }
    this.canvas.setAttribute("aria-label", `The sketch, ${this.blobs.length} blobs`);
  }

  /** Have the region of the sketch drawn; what is refused is told here, and can be mended. */
  async send() {
    const form = this.box.querySelector("form");
    if (!form.reportValidity()) return;
    const send = byId("sketch-draw"), blobs = this.blobs.map((blob) => ({ ...blob }));
    this.say("Drawing a region with its physics …");
    send.disabled = true;
    try { await this.handlers.drawn(ofSketch(blobs), blobs, () => this.box.close()); } catch (error) { this.say(error.message); } finally { send.disabled = false; }
  }
}
