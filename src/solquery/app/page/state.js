// What is on the screen, as one plain object; its way into the link and back; undo and redo.

/** A search as the library and the command line do it where nothing is said. */
export const DEFAULTS = { k: 10, by: "embedding" };

export const fresh = () => ({
  // what is asked about: {kind: "z", z, from?, sketch?} | {kind: "patch", id, z?} | {kind: "upload", id, name, z?}
  query: null,
  // goal: what "another like it" aims at, kept while others are asked for, so that they do not drift
  asked: {}, locks: {}, describe: "", seed: 1, goal: null,
  // examples of what matches should be like and not, by id; and lists of patches that are kept, by name
  more: [], less: [], kept: {}, list: "kept",
  filters: { source: "any", since: "", until: "", lat: ["", ""], lon: ["", ""], mu: "", region: "", noaa: "", quantity: "any", lasso: null, parameters: {}, grid: {} },
  perRegion: true, notOwn: true, k: DEFAULTS.k, by: DEFAULTS.by,
  look: { palette: "grey", limit: 0, stretch: "asinh", numbers: "native", cards: "list", size: 100, sort: "distance", pil: false, cen: false, close: false, view: "grid", log: false, cloud: ["tuf", "psep"], map: "tuf" },
  pair: null,
});

const pairs = (values) => Object.entries(values).map(([name, v]) => `${name}:${v}`).join(",");
const unpair = (text) => Object.fromEntries((text || "").split(",").filter(Boolean).map((part) => {
  const at = part.indexOf(":");
  return [part.slice(0, at), Number(part.slice(at + 1))];
}).filter(([name, v]) => /^[a-z_]\w*$/.test(name) && Number.isFinite(v)));

/** The state as the part of the link behind #. */
export function toHash(s, modelHash) {
  const out = new URLSearchParams(), put = (key, value) => { if (value !== "" && value !== null && value !== undefined) out.set(key, value); };
  const q = s.query;
  if (q) {
    if (q.kind === "patch") put("id", q.id);
    if (q.kind === "upload") { put("upload", q.id); put("name", q.name); }
    put("z", q.z);
    put("from", q.from);
    put("sketch", (q.sketch ?? []).map((b) => [b.sign === "+" ? "p" : "n", b.flux.toPrecision(4), b.size, b.x, b.y].join("_")).join("~"));
  }
  put("set", pairs(s.asked)); put("lock", pairs(s.locks)); put("say", s.describe);
  if (s.seed !== 1) put("seed", s.seed);
  const f = s.filters;
  if (f.source !== "any") put("source", f.source);
  put("since", f.since); put("until", f.until); put("mu", f.mu); put("region", f.region); put("noaa", f.noaa);
  if (f.quantity !== "any") put("quantity", f.quantity);
  if (f.lasso) put("lasso", [f.lasso.x ?? "", f.lasso.y ?? "", (f.lasso.log ?? []).map(Number).join(""), f.lasso.points.map((point) => point.join("_")).join("~")].join(","));
  for (const key of ["lat", "lon"]) if (f[key].some((v) => v !== "")) put(key, f[key].join("~"));
  put("where", Object.entries(f.parameters).map(([name, [low, high]]) => `${name}:${low ?? ""}~${high ?? ""}`).join(","));
  for (const key of ["more", "less"]) put(key, s[key].map(encodeURIComponent).join(","));
  put("kept", Object.entries(s.kept).filter(([, ids]) => ids.length).map(([name, ids]) => [name, ...ids].map(encodeURIComponent).join(",")).join("|"));
  if (s.list !== "kept") put("list", s.list);
  put("grid", Object.entries(f.grid).map(([name, [low, high]]) => `${name}:${low ?? ""}~${high ?? ""}`).join(","));
  if (!s.perRegion) put("frames", 1);
  if (!s.notOwn) put("own", 1);
  if (s.k !== DEFAULTS.k) put("k", s.k);
  put("by", s.by);
  const l = s.look, d = fresh().look;
  if (l.palette !== d.palette) put("colour", l.palette);
  if (l.limit) put("limit", l.limit);
  if (l.stretch !== d.stretch) put("stretch", l.stretch);
  if (l.numbers !== d.numbers) put("numbers", l.numbers);
  if (l.cards !== d.cards) put("cards", l.cards);
  if (l.size !== d.size) put("size", l.size);
  if (l.sort !== d.sort) put("sort", l.sort);
  put("draw", [l.pil && "pil", l.cen && "cen", l.close && "close", l.log && "log"].filter(Boolean).join(","));
  if (l.view !== d.view) put("view", l.view);
  if (String(l.cloud) !== String(d.cloud)) put("cloud", l.cloud.join(","));
  if (l.map !== d.map) put("map", l.map);
  if (s.pair) put("pair", s.pair.join("|"));
  if (q && modelHash) put("model", modelHash.slice(0, 8));
  return `#${out}`;
}

/** What is encircled, from its text in a link; null where that is damaged. */
function lassoOf(text) {
  const [x, y, log, drawn] = (text || "").split(","), named = /^[a-z_]\w*$/.test(x) && /^[a-z_]\w*$/.test(y);
  const points = (drawn || "").split("~").map((point) => point.split("_").map(Number)).filter((point) => point.length === 2 && point.every(Number.isFinite)).slice(0, 200);
  if (points.length < 3 || (!named && (x || y))) return null;
  return named ? { x, y, points, log: [log?.[0] === "1", log?.[1] === "1"] } : { points };
}

/** The blobs of a sketch, from their text in a link; undefined where there are none, or they are damaged. */
function sketchOf(text) {
  const blobs = (text || "").split("~").filter(Boolean).slice(0, 32).map((part) => {
    const [sign, ...rest] = part.split("_"), [flux, size, x, y] = rest.map(Number);
    return { sign: sign === "p" ? "+" : "-", flux, size, x, y };
  });
  return blobs.length && blobs.every((b) => b.flux > 0 && b.size > 0 && [b.flux, b.size, b.x, b.y].every(Number.isFinite)) ? blobs : undefined;
}

/** The state of a link; what is missing or damaged in it stays as it is in a fresh one. */
export function fromHash(hash) {
  const p = new URLSearchParams(hash.replace(/^#/, "")), s = fresh();
  const z = /^[\w-]{4,}$/.test(p.get("z") || "") ? p.get("z") : undefined;
  if (p.get("id")) s.query = { kind: "patch", id: p.get("id"), z };
  else if (p.get("upload")) s.query = { kind: "upload", id: p.get("upload"), name: p.get("name") || "upload", z };
  else if (z) s.query = { kind: "z", z, from: p.get("from") || undefined, sketch: p.get("from") ? sketchOf(p.get("sketch")) : undefined };
  s.asked = unpair(p.get("set")); s.locks = unpair(p.get("lock")); s.describe = p.get("say") || "";
  s.seed = Math.max(0, Math.trunc(Number(p.get("seed") ?? 1))) || 1;
  const f = s.filters, choose = (key, allowed, old) => (allowed.includes(p.get(key)) ? p.get(key) : old);
  f.source = choose("source", ["real", "simulated"], "any");
  for (const key of ["since", "until"]) if (/^\d{4}-\d\d-\d\d$/.test(p.get(key) || "")) f[key] = p.get(key);
  const numeric = (text) => (text !== "" && text !== undefined && Number.isFinite(Number(text)) ? Number(text) : "");
  f.mu = numeric(p.get("mu") ?? "");
  f.region = (p.get("region") ?? "").slice(0, 100);
  f.noaa = /^\d{1,6}$/.test(p.get("noaa") ?? "") ? Number(p.get("noaa")) : "";
  f.quantity = choose("quantity", ["radial", "line-of-sight"], "any");
  f.lasso = lassoOf(p.get("lasso"));
  for (const key of ["lat", "lon"]) if (p.get(key)) { const [a, b] = p.get(key).split("~"); f[key] = [numeric(a), numeric(b)]; }
  for (const [key, limits] of [["where", f.parameters], ["grid", f.grid]]) for (const part of (p.get(key) || "").split(",").filter(Boolean)) {
    const match = part.match(/^(\w+):([^~]*)~(.*)$/);
    if (match) limits[match[1]] = [match[2], match[3]].map((v) => (numeric(v) === "" ? null : Number(v)));
  }
  const ids = (text) => (text || "").split(",").filter(Boolean).map((part) => { try { return decodeURIComponent(part); } catch { return ""; } }).filter(Boolean);
  for (const key of ["more", "less"]) s[key] = ids(p.get(key)).slice(0, 20);
  for (const part of (p.get("kept") || "").split("|")) { const [name, ...rest] = ids(part); if (name && rest.length) s.kept[name.slice(0, 40)] = rest.slice(0, 200); }
  s.list = (p.get("list") || "kept").slice(0, 40);
  s.perRegion = p.get("frames") !== "1"; s.notOwn = p.get("own") !== "1";
  // links from before say ssl, or nothing where the search was by both and for twelve
  const old = [...p].length && !p.has("by") ? { k: 12, by: "hybrid" } : DEFAULTS;
  s.by = p.get("by") === "ssl" ? "embedding" : choose("by", ["embedding", "hybrid", "physics", "structure"], old.by);
  s.k = Math.min(100, Math.max(1, Math.trunc(Number(p.get("k") ?? old.k)) || old.k));
  const l = s.look, drawn = (p.get("draw") || "").split(",");
  l.palette = choose("colour", ["grey", "hmi"], l.palette);
  l.limit = Number(p.get("limit")) > 0 ? Number(p.get("limit")) : 0;
  l.stretch = choose("stretch", ["linear", "asinh"], l.stretch);
  l.numbers = choose("numbers", ["grid", "difference"], l.numbers);
  l.cards = choose("cards", ["grid"], l.cards);
  if (/^\w+$/.test(p.get("sort") || "")) l.sort = p.get("sort");
  l.size = Math.min(250, Math.max(80, Math.trunc(Number(p.get("size") ?? l.size)) || l.size));
  l.pil = drawn.includes("pil"); l.cen = drawn.includes("cen"); l.close = drawn.includes("close"); l.log = drawn.includes("log");
  l.view = choose("view", ["grid", "native", "made", "gap"], l.view);
  if (/^\w+,\w+$/.test(p.get("cloud") || "")) l.cloud = p.get("cloud").split(",");
  if (/^\w+$/.test(p.get("map") || "")) l.map = p.get("map");
  const pair = (p.get("pair") || "").split("|");
  if (pair.length === 3) s.pair = pair;
  return { state: s, model: p.get("model") ?? p.get("bundle") };
}

/** The filters as the API takes them. */
export function filtersOf(s) {
  const f = s.filters, between = ([low, high]) => ({ low: low === "" ? null : low, high: high === "" ? null : high });
  const out = { source: f.source };
  if (f.since) out.since = f.since;
  if (f.until) out.until = f.until;
  if (f.mu !== "") out.mu_min = f.mu;
  if (f.region) out.region = f.region;
  if (f.noaa) out.noaa = f.noaa;
  if (f.quantity !== "any") out.quantity = f.quantity;
  if (f.lasso) out.lasso = f.lasso.x ? f.lasso : { points: f.lasso.points };
  if (f.lat.some((v) => v !== "")) out.latitude_deg = between(f.lat);
  if (f.lon.some((v) => v !== "")) out.longitude_deg = between(f.lon);
  if (Object.keys(f.parameters).length) {
    out.parameters = Object.fromEntries(Object.entries(f.parameters).map(([name, [low, high]]) => [name, { low, high }]));
  }
  if (Object.keys(f.grid).length) out.grid = Object.fromEntries(Object.entries(f.grid).map(([name, [low, high]]) => [name, { low, high }]));
  return out;
}

/** How the patch is drawn and what is compared is no step: undoing leaves it as it is. */
const undoable = (state) => JSON.stringify({ ...state, look: null, pair: null });

/** Steps that can be taken back. */
export class History {
  constructor() { this.steps = []; this.at = -1; this.made = 0; }
  /** Whether this is a new step. */
  push(state) {
    const text = undoable(state);
    if (this.steps[this.at]?.text === text) return false;
    this.steps = this.steps.slice(Math.max(0, this.at - 198), this.at + 1).concat({ id: ++this.made, text });
    this.at = this.steps.length - 1;
    return true;
  }
  /** The newest step as it is now, where something that is no step of its own has changed it. */
  amend(state) { if (this.at >= 0) this.steps[this.at].text = undoable(state); }
  get canUndo() { return this.at > 0; }
  get canRedo() { return this.at < this.steps.length - 1; }
  /** Number of the step that is shown, for the browser's own history; null before the first. */
  get step() { return this.steps[this.at]?.id ?? null; }
  /** Steps from the one that is shown to that of a number; null where it is not remembered. */
  away(id) { const at = this.steps.findIndex((step) => step.id === id); return at < 0 ? null : at - this.at; }
  /** The state some steps away, drawn as `look` says. */
  go(by, look) { this.at = Math.max(0, Math.min(this.steps.length - 1, this.at + by)); return { ...JSON.parse(this.steps[this.at].text), look }; }
  /** Latents of the steps so far, oldest first. */
  trail() { return this.steps.slice(0, this.at + 1).map((step) => JSON.parse(step.text).query?.z).filter(Boolean); }
}
