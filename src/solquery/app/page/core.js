// What every part of the page shares: the state, what the server said of it, and the way from one to the other.

import { getJson, getPacked, postJson, postPacked, sendFile } from "./api.js";
import { contrast } from "./field.js";
import { byId, number, place, when } from "./format.js";
import { followed, ofPatch, said, STOPPED, table } from "./inversion.js";
import { valuesOf } from "./numbers.js";
import { rms } from "./stage.js";
import { filtersOf, History, toHash } from "./state.js";
import { busy, complain, explained, notice } from "./tell.js";

export const app = {
  health: null, about: null, state: null,
  // what the server said of the state: fields, parameters, matches
  now: { got: {}, matches: [], recipe: null },
  // a newer query makes the answers to an older one pointless, and a newer search those of an older search
  turn: 0, sought: 0,
  // filters of the frames that were found by a text, or null: those of the query's region
  sought_frames: null,
  // the slider that is held, and from where it started
  hand: null,
  first: null,
  // the patch on which the page opens, files that were opened, by id, and estimated latents of matches
  files: new Map(), placed: new Map(),
  history: new History(),
  session: Math.random().toString(36).slice(2),
  written: "", said: null,
};
const FILES = 16;
const FAR = "Nothing close in this archive: even the nearest match is farther away than 95 of 100 patches of the archive are from their nearest other region.";
/** The parts of the page: panel, stage, matches, maps, filters, compare, and what they add. */
export const parts = {};

// ---------------------------------------------------------------- showing

export function look() {
  const l = app.state.look, clip = app.health.model.limit_gauss;
  // the colours of HMI are made for 1500 G; else the range is that of the query, for its matches too
  const limit = l.limit || (l.palette === "hmi" ? 1500 : app.now.field ? contrast(app.now.field, ranges()) : clip);
  return { palette: l.palette, limit, stretch: l.stretch, pil: l.pil, cen: l.cen, close: l.close, clip };
}

/** Ranges of the colours to choose from, in gauss. */
export const ranges = () => [...new Set([100, 200, 500, 1000, 1500, 3000, app.health.model.limit_gauss])].sort((a, b) => a - b);

export function title() {
  const q = app.state.query, r = app.now.record;
  if (q.sketch) return `drawn for ${q.from}`;
  if (q.kind === "z") return q.from ? `from ${q.from}, changed` : "no observation";
  if (!r) return q.name ?? q.id;
  return [r.region, r.noaa?.length ? `NOAA ${r.noaa.join(", ")}` : ""].filter(Boolean).join(" · ");
}

/** Whose work a generated patch is. */
export const MADE = () => `drawn by the network of model ${app.health.model.name}`;

/** When and where an observation was made. */
export const seenAt = (r) => [when(r), place(r.latitude_deg, r.longitude_deg), Number.isFinite(r.mu ?? NaN) ? `μ\u00a0${r.mu.toFixed(2)}` : ""].filter(Boolean).join(" · ");

function verdict() {
  const { now, state } = app, q = state.query;
  if (now.record?.doubt) return `its ${now.record.doubt}: do not trust its numbers`;
  if (now.record?.empty) return "it holds no field: every pixel is zero or missing";
  if (q.kind !== "z" && !q.z) return now.stopped ?? "finding its latent vector …";
  if (q.kind !== "z" && said(now.inverted, now.stopped)) return said(now.inverted, now.stopped);
  return now.far ? "far from what the model was trained on: do not trust it" : "";
}

export function picture() {
  const { now, health, state } = app, q = state.query, shown = q.kind === "z" ? "grid" : state.look.view, scale = health.model.scale_mm;
  if (shown === "native" && now.native) return { field: now.native.field, scale: now.native.scale, record: now.record, source: now.record.source, title: title(), seen: seenAt(now.record) };
  if (shown === "made" && now.made) {
    const share = now.explained === undefined ? "" : `; it explains ${(100 * now.explained).toFixed(0)} % of the field's power`;
    return { field: now.made.field, scale, source: "generated", title: `the model's closest to ${now.record.region}`, verdict: `differs from it by ${number(rms(now.field, now.made.field), 2)} G (root mean square)${share}` };
  }
  if (shown === "gap" && now.made) {
    const data = now.field.data.map((value, k) => value - now.made.field.data[k]);
    return { field: { ...now.field, data }, scale, record: now.record, source: now.record.source, title: `${title()}, less the reconstruction`, seen: seenAt(now.record), palette: "difference" };
  }
  return {
    field: now.field, scale, record: now.record, source: q.kind === "z" ? "generated" : now.record.source, title: title(), seen: now.record ? seenAt(now.record) : MADE(), verdict: verdict(),
    missed: now.far || Boolean(now.record?.doubt || now.record?.empty || now.inverted?.verdict === "cannot draw"),
  };
}

export function show() {
  const { state, now, history, health } = app, q = state.query, observed = q.kind !== "z";
  byId("views").hidden = !observed;
  for (const input of document.querySelectorAll("[name=view]")) {
    input.checked = input.value === state.look.view;
    if (input.value === "made" || input.value === "gap") input.disabled = !now.made;
  }
  for (const input of document.querySelectorAll("[name=palette]")) input.checked = input.value === state.look.palette;
  for (const input of document.querySelectorAll("[name=stretch]")) input.checked = input.value === state.look.stretch;
  for (const input of document.querySelectorAll("[name=cards]")) input.checked = input.value === state.look.cards;
  byId("numbers").value = state.look.numbers;
  byId("size").value = state.look.size;
  byId("sort").value = state.look.sort;
  byId("pil").checked = state.look.pil;
  byId("cen").checked = state.look.cen;
  byId("close-up").checked = state.look.close;
  byId("limit").value = state.look.limit;
  byId("limit").options[0].textContent = `Auto: ±${look().limit} G`;
  // what is being typed, and what was refused, stays to be mended
  if (app.said !== state.describe) {
    // what was typed while the page was loading is kept too
    if (app.said !== null || state.describe || !byId("describe").value) byId("describe").value = state.describe;
    app.said = state.describe;
  }
  byId("undo").disabled = !history.canUndo;
  byId("redo").disabled = !history.canRedo;
  const shown = picture();
  parts.stage.show(shown, shown.palette ? { ...look(), palette: shown.palette, pil: false, cen: false } : look());
  // sliders speak the numbers of the model, from which its first move starts: the same field, as its grid shows it
  const base = observed && now.base ? now.base : null;
  parts.panel.update({ got: base ? { ...now.got, ...values(base) } : now.got, native: base ? { ...now.worth, ...base } : now.worth, seen: base ? now.worth : null, observed: observed && !base, asked: state.asked, locks: state.locks, verdict: now.verdict, ready: Boolean(q.z), made: now.made?.got });
  table(observed ? now.inverted : null, app.about);
  parts.filters.show();
  parts.kept.show();
  byId("explain").textContent = explained(q, health.model, now);
  byId("log").checked = parts.maps.log = state.look.log;
  byId("cloud-x").value = state.look.cloud[0];
  byId("cloud-y").value = state.look.cloud[1];
  byId("map-p").value = state.look.map;
  parts.maps.update({ got: now.got, matches: now.matches, z: q.z, trail: history.trail() });
  address();
}

const entry = () => ({ step: app.history.step, session: app.session });

export function address() {
  app.written = toHash(app.state, app.health.model.hash);
  window.history.replaceState(entry(), "", app.written);
}

/** Remember the state as a step, to which Undo and the browser's Back come back. */
export function remember() {
  const first = app.history.step === null;
  if (!app.history.push(app.state)) return;
  app.written = toHash(app.state, app.health.model.hash);
  window.history[first ? "replaceState" : "pushState"](entry(), "", app.written);
}

// --------------------------------------------------------------- learning

export const values = (entries) => Object.fromEntries(Object.entries(entries).map(([name, one]) => [name, one.value ?? NaN]));

export function take(answer, field) {
  const verdict_ = Object.keys(answer.requested).length ? answer.verdict : "";
  app.now = { ...app.now, field, got: values(answer.measured), verdict: verdict_, far: answer.far, worth: answer.measured, python: answer.python, record: null, made: null, native: null, stopped: null, inverted: null, base: null };
}

/** Values of an observation as they are compared, with what they are on the grid beside them. */
const seen = (record) => Object.fromEntries(Object.entries(app.about).map(([name, about]) => [name, about.native ? { ...record.parameters[name], grid: record.grid[name] } : record.grid[name]]));

/** Standard errors of an observation; they take a second, and come when they come. */
async function errors(mine, id) {
  try {
    const found = await getJson(`/api/errors/${encodeURIComponent(id)}`);
    if (mine !== app.turn) return;
    for (const [name, { value, bias }] of Object.entries(found.errors)) if (app.about[name]?.native && app.now.worth?.[name]) Object.assign(app.now.worth[name], { error: value, bias, systematic: found.systematic[name] });
    show();
  } catch { /* the values stand without */ }
}

/** Show the state as it is, from its query on. */
export async function load() {
  const mine = ++app.turn, { state } = app, q = state.query;
  await busy(async () => {
    if (q.kind === "z") {
      const { document, fields } = await postPacked("/api/edit?format=packed", { z: q.z });
      if (mine !== app.turn) return;
      take(document, fields[0]);
      app.now.verdict = Object.keys(state.asked).length ? kept() : "";
      lockHere();
    } else {
      const { document, fields } = await observed(q);
      if (mine !== app.turn) return;
      app.now = { ...app.now, field: fields[0], record: document, got: valuesOf(app.about, document), observed: valuesOf(app.about, document), worth: seen(document), python: document.python, verdict: "", far: false, made: null, native: null, stopped: null, explained: undefined, inverted: null, base: null };
      lockHere();
      observe(mine);
      if (document.source === "real" && !document.empty) errors(mine, q.id);
    }
    show();
    inTime();
    await search();
  });
}

/** What is locked stays locked, at the value of what is shown. */
function lockHere() {
  const { state, now } = app;
  for (const name of Object.keys(state.locks)) if (state.locks[name] === null) { if (Number.isFinite(now.got[name])) state.locks[name] = now.got[name]; else delete state.locks[name]; }
  app.history.amend(state);
}

/** The frames beside the query: those that were found, or of its region. */
async function inTime() {
  const { state, now } = app, q = state.query, mine = app.turn;
  const wanted = app.sought_frames ?? (q.kind !== "z" && app.health.archive && now.record ? { region: now.record.region } : null);
  const key = JSON.stringify(wanted);
  if (q.kind === "z" && !app.sought_frames) { parts.time.hide(); return; }
  if (parts.time.key === key && parts.time.frames.length) { parts.time.at_(q.id); return; }
  if (!wanted) { parts.time.hide(); return; }
  try {
    const found = await postJson("/api/frames", { filters: wanted, client: undefined });
    if (mine !== app.turn) return;
    parts.time.show(found, q.id);
    parts.time.key = key;
  } catch (error) { if (mine === app.turn && error.kind === "away") failed(error); }
}

/** A patch of the archive or an upload; a file that the server has forgotten is sent again. */
async function observed(q) {
  const get = () => getPacked(`/api/patch/${encodeURIComponent(q.id)}?format=packed`);
  try { return await get(); } catch (error) {
    const file = q.kind === "upload" && error.kind === "not found" && app.files.get(q.id);
    if (!file) throw error;
    await upload(file);
    return get();
  }
}

/** Send a file; its record, by whose id it is kept here too. */
export async function upload(file) {
  const { document } = await sendFile(`/api/patch?name=${encodeURIComponent(file.name.slice(-200))}&format=packed`, file);
  app.files.set(document.id, file);
  if (app.files.size > FILES) app.files.delete(app.files.keys().next().value);
  return document;
}

/** Whether what a link says was asked has been got, by the rule of ten per cent. */
function kept() {
  return Object.entries(app.state.asked).every(([name, v]) => Math.abs(app.now.got[name] - v) <= 0.1 * Math.abs(v)) ? "met" : "";
}

/** Of an observation: its native picture, and the model's reconstruction. */
async function observe(mine) {
  const { state, now } = app, q = state.query, id = encodeURIComponent(q.id);
  try {
    const { document, fields } = await getPacked(`/api/patch/${id}?grid=native&format=packed`);
    if (mine !== app.turn) return;
    app.now.native = { field: fields[0], scale: document.scale_mm };
    show();
    if (now.record.empty) return;
    if (q.z) {
      const made = await postPacked("/api/edit?format=packed", { z: q.z, origin: q.id });
      if (mine !== app.turn) return;
      startFrom(made.document.observed);
      app.now.made = { field: made.fields[0], got: values(made.document.measured) };
    } else await invert(mine, q, id);
    if (mine === app.turn) show();
  } catch (error) { if (mine === app.turn) failed(error); }
}

/** From here on sliders start from an observation as the model's grid shows it; what is locked there is locked at that. */
function startFrom(observed) {
  const { state, now } = app;
  for (const [name, one] of Object.entries(observed)) if (name in state.locks && state.locks[name] === now.got[name] && one.value !== null) state.locks[name] = one.value;
  now.base = observed;
}

/** The latent vector of an observation: the guess can be changed at once; `app.stop` keeps the closest so far. */
async function invert(mine, q, id) {
  const ended = new AbortController(), stop = () => ended.abort();
  app.stop = stop;
  byId("stop").hidden = false;
  try {
    await busy(() => followed(ofPatch(id), ended.signal, ({ document, fields }) => {
      if (mine !== app.turn) { ended.abort(); return; }
      q.z = document.z;
      app.now.made = { field: fields[0], got: values(document.reconstructed) };
      app.now.inverted = document;
      startFrom(document.observed);
      app.now.explained = document.explained;
      app.history.amend(app.state);
      show();
    }));
  } catch (error) {
    if (!ended.signal.aborted) throw error;
    if (mine === app.turn) app.now.stopped = q.z ? STOPPED : "its latent vector was not looked for: the sliders stay as they are";
  } finally {
    // a newer inversion has a Stop of its own
    if (app.stop === stop) { app.stop = null; byId("stop").hidden = true; }
  }
}

export function queryBody() {
  const { state } = app, q = state.query;
  const body = q.kind === "z" ? { z: q.z } : q.kind === "patch" ? { patch: q.id } : { upload: q.id };
  return { ...body, more: state.more, less: state.less, k: state.k, by: state.by, group: state.perRegion ? "region" : "none", exclude_own: q.kind !== "z" && state.notOwn, filters: filtersOf(state) };
}

/** Which way of searching suits a line-of-sight query, and how it was compared with radial fields. */
function kinds({ query, matches }) {
  const structure = app.state.by === "structure", radial = query.quantity === "line-of-sight" ? matches.filter((m) => m.quantity === "radial").length : 0;
  const text = query.as_radial !== undefined
    ? `A line-of-sight field: compared with radial ones ${query.as_radial ? "as an estimate of its own radial field." : "as it is, since its scale or its place on the disk is not known."}`
    : radial && !structure ? `This is a line-of-sight field, and ${radial} of ${matches.length} matches are radial fields. To find the radial frame of the same region, search by structure.` : "";
  byId("by-said").hidden = !text;
  byId("by-said").firstElementChild.textContent = text;
  byId("by-structure").hidden = structure;
}

/** Errors that pass, after which the newest search is asked for again: an older one may have reached the server after it. */
const PASSING = new Set(["superseded", "busy", "too slow"]), TRIES = 3, PAUSE_MS = 500;

async function matchesOf(mine) {
  for (let tried = 1; ; tried++) {
    try { return await postJson("/api/search", queryBody()); } catch (error) {
      if (mine !== app.sought || tried === TRIES || !PASSING.has(error.kind)) throw error;
      await new Promise((go) => { setTimeout(go, PAUSE_MS); });
    }
  }
}

/** The matches of the state; of several searches under way the newest is shown, whichever answers last. */
export async function search() {
  const { health } = app, { matches } = parts, mine = ++app.sought;
  if (!health.archive) { matches.say(`${health.no_search[0].toUpperCase()}${health.no_search.slice(1)}.`); return; }
  byId("found").setAttribute("aria-busy", "true");
  const doubt = (text, kind = "error") => { const box = byId("found-said"); box.textContent = text; box.hidden = !text; box.classList.toggle("hint", kind === "hint"); };
  try {
    const found = await matchesOf(mine);
    if (mine !== app.sought) return;
    doubt(found.close === false ? FAR : "", "hint");
    kinds(found);
    Object.assign(app.now, { matches: found.matches, recipe: found.recipe });
    byId("count").textContent = `among ${found.candidates.toLocaleString("en")}${found.where ? " that pass" : " patches"}`;
    byId("compare").disabled = !found.matches.length;
    byId("how-to-read").hidden = !found.matches.length;
    if (found.matches.length) { matches.show(found.matches); parts.kept.show(); }
    else matches.say("No patch meets the filters. Widen them.");
    parts.maps.update({ got: app.now.got, matches: found.matches, z: app.state.query.z, trail: app.history.trail() });
    parts.space.update(found.matches, app.state.query.id);
    placeMatches();
  } catch (error) {
    if (mine !== app.sought) return;
    // what was found before is worth more than an empty list
    if (app.now.matches.length) doubt(`These are the matches of before: ${error.message}`);
    else matches.say(error.message);
    if (error.kind === "away") failed(error);
  } finally { if (mine === app.sought) byId("found").removeAttribute("aria-busy"); }
}

/** Where the matches lie in the latent space, as far as the model can tell. */
async function placeMatches() {
  const mine = app.sought, { placed } = app;
  const wanted = app.now.matches.map((match) => match.id).filter((id) => !placed.has(id));
  if (wanted.length && app.health.model.estimates) {
    try {
      const { estimates } = await postJson("/api/estimate", { ids: wanted });
      for (const [id, z] of Object.entries(estimates)) placed.set(id, z);
    } catch { return; /* the map does without */ }
  }
  if (mine === app.sought) parts.maps.place(placed);
}

export function failed(error) {
  complain(error, back);
  if (app.now.field) show();
}

/** The server answers again: the state is asked for anew. Another model in its place is another page. */
export async function back(answer) {
  if (answer.model.hash !== app.health.model.hash) { location.reload(); return; }
  app.health = answer;
  notice("The server answers again.", "hint");
  try { await load(); } catch (error) {
    if (error.kind !== "not found" || !app.state.query.z) throw error;
    lost();
    await load();
  }
}

/** The upload is not at the server any more, and the file is not here: what the model made of it stands in. */
export function lost() {
  const q = app.state.query;
  app.state.query = { kind: "z", z: q.z, from: q.name };
  app.state.look.view = "grid";
  notice(`${q.name} itself is not part of the link: this is the model's reconstruction of it, which can be changed and searched with. Open the file to search by the observation.`);
}
