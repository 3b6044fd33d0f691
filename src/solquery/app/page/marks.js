// What has to be known of a patch before its numbers are trusted: kind of field, limb, missing pixels, view, QUALITY.

import { make } from "./format.js";

const KINDS = { radial: "radial field", "line-of-sight": "line of sight" };
const WHY = { radial: "The field normal to the surface, from the vector magnetogram", "line-of-sight": "The field along the line of sight: away from the disc centre it is weaker than the radial one, and polarities mix" };
const SHORT = { limb: "near the limb", offlimb: "beyond the limb", missing: "missing pixels", cut: "cut by its box", view: "cut by the view", quality: "QUALITY" };

/** [text, why, strong] of each mark of a record. view: Mm (y, x) of the model's view; beside: the kind of field of what it is compared with. */
function found(record, { view, beside } = {}) {
  const out = [], kind = record.quantity, other = beside && kind && kind !== beside;
  if (record.source === "real" || kind === "line-of-sight" || other) out.push([KINDS[kind] ?? kind ?? "", other ? `A field of another kind than the query\u2019s, which is ${KINDS[beside] ?? beside}: their parameters differ for that alone` : WHY[kind] ?? "Kind of field", other]);
  for (const { name, text } of record.caveats ?? []) {
    const code = name === "quality" && record.quality ? ` 0x${(record.quality >>> 0).toString(16).padStart(8, "0")}` : "";
    out.push([`${SHORT[name] ?? name}${code}`, text, true]);
  }
  const size = record.native_scale_mm && record.native_shape?.map((n, k) => n * record.native_scale_mm[k]);
  // how much of the flux is outside says more than the sizes
  if (size && view && !(record.caveats ?? []).some((one) => one.name === "view") && size.some((mm, k) => mm > 1.02 * view[k])) out.push(["larger than the view", `Its box is ${size[1].toFixed(0)} by ${size[0].toFixed(0)} Mm, the view ${view[1].toFixed(0)} by ${view[0].toFixed(0)} Mm: what lies outside is not in the picture, nor in what the search compares`, false]);
  if (record.quality && !(record.caveats ?? []).some((one) => one.name === "quality")) out.push([`QUALITY 0x${(record.quality >>> 0).toString(16).padStart(8, "0")}`, "Flags of the instrument that do not make the frame bad", false]);
  return out.filter(([text]) => text);
}

/** Marks of a record as elements. */
export const marks = (record, options) => found(record, options).map(([text, why, strong]) => make("span", { class: `mark-${strong ? " strong-" : ""}`, title: why, tabindex: null }, text, make("span", { class: "sr" }, `: ${why}`)));

/** The same as plain words, for a caption. */
export const names = (record, options) => found(record, options).map(([text]) => text);
