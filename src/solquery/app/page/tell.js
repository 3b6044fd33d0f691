// What the page says by itself: a line at the top, a bar while something is asked, and whether the server is there.

import { getJson } from "./api.js";
import { byId, make } from "./format.js";

const AGAIN_MS = 3000;
let quiet = 0, jobs = 0, waiting = false;

/** A line at the top; empty takes it away. A `hint` goes by itself. */
export function notice(text, kind = "error") {
  const box = byId("notice");
  clearTimeout(quiet);
  box.replaceChildren(text);
  if (text) box.append(make("button", { type: "button", "aria-label": "Close this notice", onclick: () => { box.hidden = true; } }, "✕"));
  box.className = kind;
  box.hidden = !text;
  if (text && kind !== "error") quiet = setTimeout(() => { box.hidden = true; }, 8000);
}

/** The result of some work; meanwhile a bar runs over the patch. */
export async function busy(work) {
  jobs++;
  byId("busy").hidden = false;
  try { return await work(); } finally { if (!--jobs) byId("busy").hidden = true; }
}

/** Tell an error. When it is that nobody answers, ask until somebody does, and then do `back`. */
export function complain(error, back) {
  if (error.kind === "superseded") return;
  notice(error.message);
  if (error.kind === "away") await_(back);
}

async function await_(back) {
  if (waiting) return;
  waiting = true;
  try {
    for (;;) {
      await new Promise((done) => setTimeout(done, AGAIN_MS));
      try { await back(await getJson("/api/health")); break; } catch (error) { if (error.kind !== "away") { notice(error.message); break; } }
    }
  } finally { waiting = false; }
}

/** Three lines for who is here for the first time; gone once they are read. */
export function welcome() {
  const box = byId("welcome"), key = "solquery-welcomed";
  let seen = null;
  try { seen = localStorage.getItem(key); } catch { /* storage may be forbidden: then it is shown again */ }
  const show = (on) => { box.hidden = !on; byId("help").setAttribute("aria-expanded", String(on)); };
  show(!seen);
  byId("help").addEventListener("click", () => show(box.hidden));
  byId("welcome-close").addEventListener("click", () => {
    show(false);
    byId("help").focus();
    try { localStorage.setItem(key, "1"); } catch { /* only for this visit, then */ }
  });
}

/** What archive and model are open, for the head. */
export function summary({ archive, model }) {
  const many = (n) => n.toLocaleString("en"), opened = `Model: ${model.name}.`;
  if (!archive) return `Nothing to search. ${opened}`;
  return `${many(archive.patches)} patches of ${many(archive.regions)} regions: ${many(archive.real)} real, ${many(archive.simulated)} simulated. ${opened}`;
}

/** What has to be known of the numbers on the screen. */
export function explained(query, { shape, scale_mm: scale }, now = {}) {
  if (now.record?.empty) return "There is nothing to search for and nothing to change in this file. Open another one.";
  if (query.kind !== "z" && !query.z) return now.stopped ? "The search is by the observation itself. Use it as the query again to look for its latent vector." : "Looking for the latent vector of this observation, so that it can be changed.";
  const grid = scale
    ? `A pixel is ${scale[1].toFixed(2)} Mm wide, the view ${(scale[1] * shape[1]).toFixed(0)} × ${(scale[0] * shape[0]).toFixed(0)} Mm; numbers are at the scale of HMI, estimated from those of the grid; the symbol of a parameter tells both.`
    : `Every patch is stretched to ${shape.join(" × ")} pixels here: fluxes in G px and lengths in px are no maxwell and no megametre.`;
  return query.kind === "z" ? grid : `The search is by the observation itself. The first slider that moves changes the model's reconstruction of it and holds TUF, PSEP, area, R, tilt and polarity as observed, as near as the model comes. ${grid}`;
}
