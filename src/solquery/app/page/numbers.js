// One number and one uncertainty of each parameter: at native scale where the model is calibrated for it.

import { number, quantity, unit, withUnit } from "./format.js";

/** The entry {value, unit} of a record by which it is compared: as observed, or on the grid where the model knows no better. */
export const compared = (about, record, name) => (about?.native ? record.parameters?.[name] : undefined) ?? record.grid?.[name];

/** Values of a record by name, as they are compared; NaN where unknown. */
export const valuesOf = (parameters, record) => Object.fromEntries(Object.entries(parameters).map(([name, about]) => [name, compared(about, record, name)?.value ?? NaN]));

/** The ends of a band in one power of ten, so that they are read at a glance. */
function together(values, size) {
  const ten = number(size).match(/×10.+$/)?.[0] ?? "", by = ten ? 10 ** Math.floor(Math.log10(Math.abs(size))) : 1;
  return [values.map((v) => number(v / by)), ten];
}

/** A value with its standard error, to the digit to which the error goes: "57.0 ± 0.1", "(2.311 ± 0.008)×10²²". */
export function measured({ value, error }) {
  if (!Number.isFinite(error) || error <= 0) return number(value);
  const ten = number(value).match(/×10.+$/)?.[0] ?? "", by = ten ? 10 ** Math.floor(Math.log10(Math.abs(value))) : 1;
  // of an error that begins with 1 two digits are told
  const first = Math.floor(Math.log10(error / by)), places = Math.max(0, -first + (error / by / 10 ** first < 1.95 ? 1 : 0));
  const [a, b] = [value / by, error / by].map((v) => v.toFixed(places).replace("-", "−"));
  return ten ? `(${a} ± ${b})${ten}` : `${a} ± ${b}`;
}

/** "(2.76 to 3.18)×10²²" of an estimate, "± 9.7×10¹⁹" of an observation; empty without either. */
export function uncertainty(entry) {
  if (!entry || entry.value === null || entry.value === undefined) return "";
  if (Number.isFinite(entry.error) && entry.error > 0) return `± ${number(entry.error, 2)}`;
  if (!Number.isFinite(entry.low) || !Number.isFinite(entry.high)) return "";
  const [[low, high], ten] = together([entry.low, entry.high], entry.value || entry.high);
  return `(${low} to ${high})${ten}`;
}

/** What a band is, and how often it holds. */
export function coverage(about) {
  const found = Object.entries(about.band?.coverage ?? {}).map(([kind, one]) => `${(100 * (one.share ?? one)).toFixed(0)} % of ${one.patches?.toLocaleString("en") ?? ""} ${kind} patches`.replace(/ +/g, " "));
  return found.length ? `measured: it holds for ${found.join(" and ")} of regions that it was not fitted on` : "how often it holds for observations was not measured";
}

/** A sentence about what the inversion adds to an observed value, which is no part of its error; as `solquery params` says it. */
export function systematic({ value, systematic: one }) {
  if (!one || !value) return "";
  const [adds, unsure] = [one.value, one.error].map((part) => number((100 * part) / Math.abs(value), 2));
  return ` Apart from noise, and not taken off: the filling factor of plage adds ${adds} ± ${unsure} % (${one.basis.replace(/ ([<>]) /g, "\u00a0$1\u00a0")}).`;
}

/** What the noise adds to a value on average, where that is more than a tenth of its error. */
function added({ bias, error }, u) {
  if (!Number.isFinite(bias) || Math.abs(bias) < 0.1 * error) return "";
  return `; on average that noise ${bias > 0 ? "adds" : "takes away"} ${withUnit(number(Math.abs(bias), 2), u)}, which is not taken off`;
}

/** Sentences about one value: what it is, how well it is known, and what it is on the grid. */
export function told(about, entry, observed, lead = "Now") {
  if (!entry || entry.value === null || entry.value === undefined || about.binary) return "";
  const band = uncertainty(entry), u = unit(entry.unit ?? about.unit), out = [`${lead} ${withUnit(band && observed ? measured(entry) : number(entry.value), u)}`];
  out.push(about.native ? ", at native (HMI) scale." : ", on the grid of the model.");
  if (band && observed) out.push(` ± is one standard error, from the noise of its own quiet pixels${added(entry, u)}.`);
  else if (band) out.push(` The band in which two thirds of patches lie is ${withUnit(band, u)}; ${coverage(about)}.`);
  if (observed) out.push(systematic(entry));
  if (entry.grid?.value !== undefined && entry.grid.value !== null) out.push(` On the grid of the model it is ${quantity(entry.grid)}.`);
  return out.join("");
}
