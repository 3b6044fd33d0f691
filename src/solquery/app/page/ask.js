// The box that finds and makes: what was understood as chips, the rest struck out.

import { postJson } from "./api.js";
import { byId, make } from "./format.js";

const KINDS = { region: "found by", noaa: "found by", time: "found by", place: "found by", source: "found by", word: "made with", number: "made with", unknown: "not used" };

/** What a text asks for: {parts, filters, describe, set}. */
export const understand = (text) => postJson("/api/understand", { text, client: undefined });

export const makes = (asked) => Boolean(asked.describe) || Object.keys(asked.set).length > 0;
export const finds = (asked) => ["region", "noaa", "since", "latitude_deg"].some((name) => name in asked.filters);

/** The pieces of a text below the box; nothing without any. */
export function chips(parts) {
  const box = byId("understood");
  box.hidden = !parts.length;
  box.replaceChildren(...parts.map((part) => make("span", { class: `piece ${part.kind}`, title: part.meaning },
    part.kind === "unknown" ? make("s", {}, part.text) : part.text, make("span", { class: "sr" }, ` (${KINDS[part.kind]}: ${part.meaning})`),
    part.meaning && part.meaning.toLowerCase() !== part.text.toLowerCase() ? make("small", { "aria-hidden": "true" }, part.meaning) : null)));
}

/** The filters of a text, in the terms of the form. */
export function intoFilters(f, asked) {
  const { filters } = asked;
  if (filters.source && filters.source !== "any") f.source = filters.source;
  if (filters.quantity && filters.quantity !== "any") f.quantity = filters.quantity;
  if (filters.since) Object.assign(f, { since: filters.since, until: filters.until ?? "" });
  if (filters.latitude_deg) Object.assign(f, { lat: [filters.latitude_deg.low, filters.latitude_deg.high], lon: [filters.longitude_deg.low, filters.longitude_deg.high] });
  if (filters.region) f.region = filters.region;
  if (filters.noaa) f.noaa = filters.noaa;
}
