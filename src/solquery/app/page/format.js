// Numbers, units, places and times as a solar physicist writes them.

const UP = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

/** 940281 → "9.40×10⁵", 57.03 → "57.0"; three significant digits, of whole numbers as many as they have. */
export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    return `${mantissa.replace("-", "−")}×10${[...String(Number(exponent))].map((c) => UP[c]).join("")}`;
  }
  const text = Number.isInteger(value) || size >= 10 ** digits ? plain(value, digits) : value.toPrecision(digits);
  return (Number(text) === 0 ? "0" : text).replace("-", "−");
}

/** The same without zeros at its end, for the ticks of an axis and for limits that were chosen. */
export const short = (value, digits = 3) => number(value, digits).replace(/^([^.×]*\.\d*?)0+(?=$|×)/, "$1").replace(/\.(?=$|×)/, "");

/** For a box to type in: 940281 → "9.40e5". */
export function typed(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(digits - 1).replace("e+", "e");
  return plain(value, digits);
}

function plain(value, digits) {
  if (Number.isInteger(value) && Math.abs(value) < 1e5) return String(value);
  const text = Number(value.toPrecision(digits));
  return String(Object.is(text, -0) ? 0 : text);
}

/** What units a number may be typed in, as a multiple of the unit that is asked for. */
const TYPED = {
  Mx: { mx: 1, wb: 1e8 }, Mm: { mm: 1, km: 1e-3, m: 1e-6 }, Mm2: { mm2: 1, "mm²": 1, "mm^2": 1, km2: 1e-6, "km²": 1e-6, "km^2": 1e-6 },
  deg: { deg: 1, degree: 1, degrees: 1, "°": 1, rad: 180 / Math.PI }, G: { g: 1, gauss: 1, kg: 1e3, t: 1e4 },
};

/** What a user typed, as a number in `wanted`; NaN where it is none. "1,2e6", "×10^6" and units are understood. */
export function parse(text, wanted = "") {
  const clean = text.trim().replace(/−/g, "-").replace(/\s|_/g, "").replace(/[×x*]10\^?/i, "e").replace(/[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+/g, (run) => (/^[²]$/.test(run) ? run : [...run].map((c) => Object.keys(UP).find((key) => UP[key] === c)).join("")));
  const found = clean.match(/^([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[+-]?\d+)?)(.*)$/i);
  if (!found) return NaN;
  const value = Number(found[1].replace(",", ".")), named = found[2].toLowerCase();
  if (named === "") return value;
  const plain_ = named.replace("px", "pix").replace(/[·*]/g, ""), own = wanted.toLowerCase().replace(/\s/g, "");
  const times = plain_ === own ? 1 : TYPED[wanted]?.[named];
  return times === undefined ? NaN : value * times;
}

export const unit = (text) => text.replace("Mm2", "Mm²").replace(" / ", "/").replace("deg", "°").replace("pix", "px");
/** A number as a text, with its unit: 17.3°, 53.3 Mm. */
export const withUnit = (text, u) => (u === "°" ? `${text}°` : `${text} ${u}`.trim());
export const quantity = (entry) => (entry ? withUnit(number(entry.value), Number.isFinite(entry.value ?? NaN) ? unit(entry.unit) : "") : "–");
/** Of the sign that leads, in words. */
export const leading = (value) => (value > 0 ? "positive" : value < 0 ? "negative" : "–");

/** What a patch is called, by its id: HARP 750, 2011-08-03 22:36 TAI; the id of what is neither a SHARP nor simulated. */
export function nameOf(id) {
  const sharp = id.match(/^sharp-(\d+)-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)/), made = id.match(/^sim-(\d+)-(\d+)-(\d+)$/);
  if (sharp) return `HARP ${sharp[1]}, ${sharp[2]}-${sharp[3]}-${sharp[4]} ${sharp[5]}:${sharp[6]} TAI`;
  return made ? `SIM ${made[1]}-${Number(made[2])}, frame ${Number(made[3]) + 1}` : id;
}


/** N16E54 of Stonyhurst latitude and longitude. */
export function place(latitude, longitude) {
  if (latitude === null || latitude === undefined || longitude === null || longitude === undefined) return "";
  const two = (v) => String(Math.round(Math.abs(v))).padStart(2, "0");
  return `${latitude >= 0 ? "N" : "S"}${two(latitude)}${longitude >= 0 ? "W" : "E"}${two(longitude)}`;
}

export function when(record) {
  if (record.t_utc) return `${record.t_utc.slice(0, 10)} ${record.t_utc.slice(11, 16)} UT`;
  const found = (record.t_rec || "").match(/^(\d{4})[.-](\d\d)[.-](\d\d)[T_ ](\d\d:\d\d).*?(TAI|UTC?|Z)?$/);
  return found ? `${found[1]}-${found[2]}-${found[3]} ${found[4]} ${found[5] ?? ""}`.trim() : record.t_rec || "";
}

/** A small element: make("p", {class: "x"}, "text", child …). */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const byId = (id) => document.getElementById(id);
