// Dragging over a plot to choose a range: of a histogram, or of two parameters at once.

const LEAST = 5;

/** Drags over `node` choose from the first point to the last; shorter ones are clicks and left alone.
    inside(event) says whether a drag may begin there; moved(from, to) and done(from, to) get [x, y] as shares of the box, from its top left. */
export function brush(node, { inside = () => true, moved, done }) {
  let from = null, to = null, dragged = false;
  const at = (event) => {
    const box = node.getBoundingClientRect();
    return [Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)), Math.max(0, Math.min(1, (event.clientY - box.top) / box.height))];
  };
  const far = () => { const box = node.getBoundingClientRect(); return from && to && Math.hypot((to[0] - from[0]) * box.width, (to[1] - from[1]) * box.height) > LEAST; };
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch" || !inside(event)) return;
    from = at(event);
    to = null;
  });
  node.addEventListener("pointermove", (event) => {
    if (!from) return;
    to = at(event);
    if (!far()) return;
    node.setPointerCapture(event.pointerId);
    moved(from, to);
  });
  const end = (event) => {
    const whole = far() && event.type === "pointerup", [a, b] = [from, to];
    // the click that follows a drag is none
    dragged = far();
    setTimeout(() => { dragged = false; }, 0);
    from = to = null;
    moved(null, null);
    if (whole) done(a, b);
  };
  node.addEventListener("click", (event) => { if (dragged) event.stopImmediatePropagation(); }, true);
  node.addEventListener("pointerup", end);
  node.addEventListener("pointercancel", end);
}
