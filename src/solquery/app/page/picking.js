// Choosing a dot of a map: by pointer, by touch, by arrow keys; what is under it is told in a line below.

const NEAR = 14;

export class Picking {
  /** spots(x, y) → [{x, y, id, text}] in pixels of the canvas, those near a place at least, or all of them without one; start() → [x, y] where the keys begin; use(id); mark(spot or null) draws. */
  constructor(canvas, said, { spots, start, use, mark }) {
    Object.assign(this, { canvas, said, spots, start, use, mark, at: null });
    this.idle = said.textContent;
    canvas.tabIndex = 0;
    canvas.addEventListener("pointermove", (event) => this.point(event));
    canvas.addEventListener("pointerleave", () => this.set(null));
    canvas.addEventListener("blur", () => this.set(null));
    canvas.addEventListener("click", (event) => { this.point(event); this.choose(); });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = null, least = NEAR ** 2;
    for (const spot of this.spots(x, y)) {
      const gap = (spot.x - x) ** 2 + (spot.y - y) ** 2;
      if (gap < least) { least = gap; best = spot; }
    }
    this.set(best);
  }

  key(event) {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); this.choose(); return; }
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const [x, y] = this.at ? [this.at.x, this.at.y] : this.start();
    let best = null, least = Infinity;
    for (const spot of this.spots()) {
      const along = (spot.x - x) * way[0] + (spot.y - y) * way[1], aside = Math.abs((spot.x - x) * way[1]) + Math.abs((spot.y - y) * way[0]);
      // the nearest that lies more that way than to the side
      if (along > 0.5 && aside <= along && along + 2 * aside < least) { least = along + 2 * aside; best = spot; }
    }
    if (best) this.set(best);
  }

  set(spot) {
    if (spot?.id === this.at?.id) return;
    this.at = spot;
    this.said.textContent = spot ? spot.text : this.idle;
    this.mark(spot);
  }

  choose() { if (this.at) { const { id } = this.at; this.set(null); this.use(id); } }
}
