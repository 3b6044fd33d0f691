// The inversion of an observation or a sketch: a guess at once, states while it is refined, and what it says of itself.

import { CLIENT, getPacked, postPacked, sendFile } from "./api.js";
import { byId, leading, make, number, quantity } from "./format.js";

const PAUSE = 300;
export const STOPPED = "stopped: this is the closest so far";
const STAGES = { "first guess": "first guess", picture: "matching the picture", physics: "matching the physics", done: "done" };

const pause = () => new Promise((then) => { setTimeout(then, PAUSE); });

/** Give an inversion up at the server. The answer is read, since one that is not read keeps its connection. */
async function end(path) {
  try { await (await fetch(path, { method: "DELETE", keepalive: true })).arrayBuffer(); } catch { /* nobody asks about it: it ends by itself */ }
}

/** Begin the inversion of a patch, by its id as a part of an address, or of a sketch, by its blobs. */
export const ofPatch = (id) => sendFile(`/api/inversions?patch=${id}&client=${CLIENT}&packed=true`);
export const ofSketch = (blobs) => postPacked("/api/sketch?packed=true", { blobs });

/**
 * Follow an inversion from its beginning, `begun`: `shown` is called with every state. Aborting `signal` rejects at once, whatever is
 * being waited for, and ends the inversion at the server too, also one that is only just begun.
 */
export async function followed(begun, signal, shown) {
  const aborted = new Promise((_, no) => { signal.addEventListener("abort", () => no(signal.reason), { once: true }); });
  aborted.catch(() => { /* told to who waits for it */ });
  // the beginning is not aborted itself: without the answer nobody knows by which id to end it
  const pathOf = ({ document }) => `/api/inversions/${document.id}?packed=true`;
  let state = null;
  try {
    state = await Promise.race([begun, aborted]);
    shown(state);
    while (state.document.running) {
      await Promise.race([pause(), aborted]);
      const { done } = state.document;
      state = await Promise.race([getPacked(pathOf(state), signal), aborted]);
      if (!state.document.running || state.document.done !== done) shown(state);
    }
  } finally {
    if (signal.aborted) begun.then((answer) => end(pathOf(answer)), () => { /* none was begun */ });
  }
}

/** What to say beside the picture, where the model cannot draw the region or is still at work. */
export function said(found, stopped) {
  if (!found) return "";
  if (found.verdict === "cannot draw") return `the model cannot draw this region: ${found.reason.replace(/(\d)%/g, "$1 %")}`;
  if (found.error) return found.error;
  if (stopped || found.cancelled) return STOPPED;
  if (found.running) return `${STAGES[found.stage]}, ${Math.round((100 * found.done) / Math.max(1, found.total))} % …`;
  return "";
}

/** The table observed | reconstructed | difference, and the share of the power explained at each scale. */
export function table(found, about) {
  const box = byId("inverted");
  box.hidden = !found;
  if (!found) { box.replaceChildren(); return; }
  const open = box.querySelector("details")?.open ?? false;
  const shares = found.explained_by_scale.map(({ mm, pixels, share }) => `${(100 * share).toFixed(0)} % at ${mm ? `${number(mm, 2)} Mm` : `${pixels} px`}`);
  const rows = Object.entries(about).filter(([name]) => name in found.observed).map(([name, one]) => {
    const [observed, made, gap] = [found.observed[name], found.reconstructed[name], found.difference[name]];
    const share = observed.value && made.value !== null && !one.binary && one.unit !== "deg" && one.reach[0] >= 0 ? ` (${signed(100 * gap.value / observed.value, 2)} %)` : "";
    const cell = (entry) => make("td", {}, one.binary ? leading(entry.value) : quantity(entry));
    const apart = gap.value === null ? "–" : one.binary ? (gap.value ? "other" : "the same") : `${signed(gap.value)}${share}`;
    return make("tr", {}, make("th", { scope: "row", title: one.title }, one.symbol), cell(observed), cell(made), make("td", {}, apart));
  });
  box.replaceChildren(make("details", open ? { open: "" } : {},
    make("summary", {}, `The model's reconstruction explains ${shares[0].replace(" at ", " of the power at ")}, ${shares.at(-1)}`),
    make("p", { class: "small muted" }, `Share of the power explained when both are averaged over blocks: ${shares.join(", ")}. Below, observed is what the model's grid shows of the observation, told at native scale; what its own pixels give stands beside the sliders.`),
    make("table", { class: "small" },
      make("thead", {}, make("tr", {}, ...["", "observed", "reconstructed", "difference"].map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...rows))));
}

const signed = (value, digits = 3) => `${value > 0 ? "+" : ""}${number(value, digits)}`;
