// Dragging over a plot to choose a range of a histogram, a box of two parameters, or what a line encircles.

const LEAST = 5, STEP = 3, CORNERS = 60;

/** Drags over `node` choose from the first point to the last; shorter ones are clicks and left alone.
    inside(event) says whether a drag may begin there; moved(from, to, path) and done(from, to, path) get [x, y] as shares of the box, from its top left; `path` has all points between. */
export function brush(node, { inside = () => true, moved, done }) {
  let from = null, to = null, path = [], dragged = false;
  const at = (event) => {
    const box = node.getBoundingClientRect();
    return [Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)), Math.max(0, Math.min(1, (event.clientY - box.top) / box.height))];
  };
  const gap = (a, b) => { const box = node.getBoundingClientRect(); return Math.hypot((b[0] - a[0]) * box.width, (b[1] - a[1]) * box.height); };
  // a line that comes back to where it began was drawn all the same
  const far = () => from && path.some((point) => gap(from, point) > LEAST);
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch" || !inside(event)) return;
    from = at(event);
    to = null;
    path = [from];
  });
  node.addEventListener("pointermove", (event) => {
    if (!from) return;
    to = at(event);
    if (gap(path.at(-1), to) >= STEP) path.push(to);
    if (!far()) return;
    node.setPointerCapture(event.pointerId);
    moved(from, to, path);
  });
  const end = (event) => {
    const whole = far() && event.type === "pointerup", [a, b, all] = [from, to, path];
    // the click that follows a drag is none
    dragged = far();
    setTimeout(() => { dragged = false; }, 0);
    from = to = null;
    path = [];
    moved(null, null);
    if (whole) done(a, b, thinned(all));
  };
  node.addEventListener("click", (event) => { if (dragged) event.stopImmediatePropagation(); }, true);
  node.addEventListener("pointerup", end);
  node.addEventListener("pointercancel", end);
}

/** At most so many of the points of a line, evenly taken. */
const thinned = (points) => (points.length <= CORNERS ? points : Array.from({ length: CORNERS }, (_, k) => points[Math.floor((k * points.length) / CORNERS)]));

/** The line of a lasso that is being drawn, in a plot. */
export function drawLasso(g, path, wide, high, stroke) {
  g.beginPath();
  path.forEach(([x, y], k) => (k ? g.lineTo(x * wide, y * high) : g.moveTo(x * wide, y * high)));
  g.closePath();
  g.fillStyle = stroke; g.globalAlpha = 0.14; g.fill();
  g.globalAlpha = 1; g.strokeStyle = stroke; g.lineWidth = 1.5; g.setLineDash([4, 3]); g.stroke(); g.setLineDash([]);
}
