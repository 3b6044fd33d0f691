// The picture in the middle: what it is, its colours, the field under the cursor.

import { colourBar, cropped, draw, shade } from "./field.js";
import { byId, make } from "./format.js";
import { marks } from "./marks.js";

/** Root mean square of what two fields differ by, in gauss. */
export function rms(a, b) {
  let sum = 0, n = 0;
  a.data.forEach((value, k) => { const gap = value - b.data[k]; if (!Number.isNaN(gap)) { sum += gap * gap; n++; } });
  return n ? Math.sqrt(sum / n) : NaN;
}

export class Stage {
  constructor(parameters) {
    this.parameters = parameters;
    this.canvas = byId("patch");
    this.cross = null;
    this.canvas.addEventListener("pointermove", (event) => {
      const box = this.canvas.getBoundingClientRect();
      this.read((event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height);
    });
    this.canvas.addEventListener("pointerleave", () => { if (document.activeElement !== this.canvas) this.forget(); });
    this.canvas.addEventListener("blur", () => this.forget());
    this.canvas.addEventListener("keydown", (event) => this.step(event));
    new ResizeObserver(() => { this.redraw(); if (this.look) this.ends(this.look); }).observe(this.canvas.parentElement);
  }

  /** shown: {field, scale, source, title, verdict, missed, record}; look: how to draw. */
  show(shown, look) {
    const whole = shown.field;
    // what is read off the picture is told in the place of the whole
    this.shown = look.close ? { ...shown, field: cropped(whole) } : shown;
    this.whole = [whole.w, whole.h];
    this.look = look;
    // while a slider moves the words stay as they are, and need not be laid out again
    const words = JSON.stringify([shown.source, shown.title, shown.seen, shown.verdict, shown.missed, shown.record, look.limit, look.stretch, look.palette]);
    if (words !== this.words) this.tellOf(shown, look);
    this.words = words;
    if (this.cross && (this.cross[0] >= this.shown.field.w || this.cross[1] >= this.shown.field.h)) this.cross = null;
    this.redraw();
  }

  /** What stands on and below the picture. */
  tellOf(shown, look) {
    const badge = byId("kind");
    badge.className = `badge ${shown.source}`;
    badge.textContent = shown.source;
    byId("title").textContent = byId("title").title = shown.title;
    // on the picture, so that nothing moves when it comes
    const [said, ...why] = (shown.missed && shown.verdict ? shown.verdict : "").split(": ");
    // the reason is told when it is pointed at or tapped: what is shown leaves the region in sight
    const doubt = said ? [make("span", { class: "mark- strong-", title: why.join(": ") || null }, said, why.length ? make("span", { class: "sr" }, `: ${why.join(": ")}`) : null)] : [];
    byId("limits").replaceChildren(...(shown.record && shown.source !== "generated" ? marks(shown.record) : []), ...doubt);
    byId("verdict").textContent = byId("verdict").title = [shown.seen, shown.verdict].filter(Boolean).join(" · ");
    byId("verdict").classList.toggle("missed", Boolean(shown.missed));
    this.canvas.setAttribute("aria-label", `Magnetic field, ${shown.source}: ${shown.title}`);
    this.ends(look);
    colourBar(byId("bar"), look.palette);
  }

  /** Numbers below the strip of colours; stretched, one in between tells how. */
  ends({ limit, stretch }) {
    const values = stretch === "asinh" && limit > 150 && byId("bar").clientWidth > 230 ? [-limit, -100, 0, 100, limit] : [-limit, 0, limit];
    byId("ends").replaceChildren(...values.map((value) => {
      const node = make("span", {}, value ? `${value < 0 ? "−" : "+"}${Math.abs(value)}${Math.abs(value) === limit ? " G" : ""}` : "0");
      node.style.left = `${50 + 50 * shade(value, limit, stretch)}%`;
      return node;
    }));
  }

  redraw() {
    if (!this.shown || !this.canvas.clientWidth) return;
    draw(this.canvas, this.shown.field, { ...this.look, scale: this.shown.scale, cross: this.cross });
    if (this.cross) this.tell();
  }

  read(u, v) {
    if (!this.shown) return;
    const { w, h } = this.shown.field, clamp = (x, n) => Math.max(0, Math.min(n - 1, Math.floor(x * n)));
    this.cross = [clamp(u, w), clamp(v, h)];
    this.redraw();
  }

  step(event) {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!by || !this.shown) return;
    event.preventDefault();
    const { w, h } = this.shown.field, [x, y] = this.cross ?? [w >> 1, h >> 1], n = event.shiftKey ? 10 : 1;
    this.cross = [Math.max(0, Math.min(w - 1, x + n * by[0])), Math.max(0, Math.min(h - 1, y + n * by[1]))];
    this.redraw();
  }

  tell() {
    const { field, scale } = this.shown, [x, y] = this.cross, value = field.data[y * field.w + x];
    const text = Number.isNaN(value) ? "missing" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(0)} G`;
    const clipped = !scale && Math.abs(value) >= this.look.clip - 0.5 ? " or beyond: clipped" : "";
    const mm = (pixels, per, [plus, minus]) => `${Math.abs(pixels * per).toFixed(1)} Mm ${pixels < 0 ? minus : plus}`;
    const [w, h] = this.whole, west = x + (field.left ?? 0), north = y + (field.bottom ?? 0);
    const where = scale ? `${mm(west - w / 2 + 0.5, scale[1], ["W", "E"])}, ${mm(north - h / 2 + 0.5, scale[0], ["N", "S"])}` : `pixel ${west} west, ${north} north`;
    byId("cursor").replaceChildren(make("strong", {}, `${text}${clipped}`), make("span", {}, where));
  }

  forget() {
    this.cross = null;
    byId("cursor").textContent = "Point at the patch to read the field";
    this.redraw();
  }

  /** The picture with its name below, as a PNG blob. */
  async png() {
    const limits = [...byId("limits").children].map((one) => one.firstChild.textContent);
    const side = 1024, foot = limits.length ? 106 : 80, { field, scale } = this.shown, picture = document.createElement("canvas");
    draw(picture, field, { ...this.look, scale, cross: null, width: side, ratio: 1 });
    const out = document.createElement("canvas");
    out.width = side; out.height = picture.height + foot;
    const g = out.getContext("2d");
    g.fillStyle = "#fff"; g.fillRect(0, 0, out.width, out.height);
    g.drawImage(picture, 0, 0);
    g.fillStyle = "#111"; g.font = "600 22px system-ui, sans-serif";
    g.fillText(`${this.shown.source}: ${this.shown.title}`, 14, picture.height + 28, side - 28);
    g.font = "17px system-ui, sans-serif";
    g.fillText([this.shown.seen, "north up, west right. Solquery."].filter(Boolean).join(" · "), 14, picture.height + 54, side - 420);
    if (limits.length) g.fillText(limits.join(" · "), 14, picture.height + 96, side - 28);
    // the colours and what they are worth
    const strip = document.createElement("canvas"), { limit, stretch } = this.look, left = side - 360, wide = 340;
    strip.width = 256; strip.height = 10;
    colourBar(strip, this.look.palette);
    g.drawImage(strip, left, picture.height + 38, wide, 14);
    g.strokeStyle = "#888"; g.strokeRect(left, picture.height + 38, wide, 14);
    for (const value of stretch === "asinh" && limit > 150 ? [-limit, -100, 0, 100, limit] : [-limit, 0, limit]) {
      g.textAlign = value === -limit ? "left" : value === limit ? "right" : "center";
      g.fillText(`${value < 0 ? "−" : value > 0 ? "+" : ""}${Math.abs(value)}${Math.abs(value) === limit ? " G" : ""}`, left + wide * (0.5 + 0.5 * shade(value, limit, stretch)), picture.height + 70);
    }
    return new Promise((done) => out.toBlob(done, "image/png"));
  }
}
