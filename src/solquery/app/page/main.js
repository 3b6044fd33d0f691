// The page: what the user does to the state, and how it starts.

import { getJson, postJson, postPacked } from "./api.js";
import { chips, finds, intoFilters, makes, understand } from "./ask.js";
import { Compare } from "./compare.js";
import { address, app, failed, load, look, lost, MADE, parts, picture, queryBody, ranges, remember, search, seenAt, show, take, title, upload } from "./core.js";
import { FilterForm } from "./filters.js";
import { byId, make } from "./format.js";
import { followed, said } from "./inversion.js";
import { Kept } from "./kept.js";
import { Maps } from "./maps.js";
import { drag, lock, only, release } from "./hand.js";
import { framesOf, Matches } from "./matches.js";
import { explanation, Panel } from "./panel.js";
import { Sketch } from "./sketch.js";
import { Space } from "./space.js";
import { Stage } from "./stage.js";
import { filtersOf, fresh, fromHash } from "./state.js";
import { setUp } from "./take.js";
import { Time } from "./time.js";
import { busy, complain, notice, summary, welcome } from "./tell.js";
import { early, wire } from "./wire.js";

const LIMIT_BYTES = 32 * 2 ** 20;
/** Parameters that another like a region shares. */
const SAME = ["flux", "tuf", "psep", "r", "polarity"];

/** A step: change the state, remember it, show it. */
function step(change) {
  change(app.state);
  remember();
  notice("");
  return load().catch(failed);
}

// -------------------------------------------------------------- new queries

/** Ask for new patches, and show the first that was not shown lately. */
async function make_(body, change) {
  const mine = ++app.turn;
  notice("");
  try {
    await busy(async () => {
      const { document, fields } = await postPacked("/api/generate?format=packed", body);
      if (mine !== app.turn) return;
      // one that was not shown yet, or else the one that was shown longest ago
      const seen = app.history.trail(), ago = document.answers.map((one) => seen.lastIndexOf(one.z)), at = ago.indexOf(Math.min(...ago)), answer = document.answers[at];
      take(answer, fields[at]);
      app.now.verdict = answer.verdict;
      const { state } = app;
      state.query = { kind: "z", z: answer.z };
      state.asked = Object.fromEntries(Object.entries(answer.requested).filter(([name, one]) => name in app.about && one.value !== null && !(name in state.locks)).map(([name, one]) => [name, one.value]));
      change(state);
      state.look.view = "grid";
      remember();
      show();
      await search();
    });
    return true;
  } catch (error) { if (mine === app.turn) failed(error); return false; }
}

/** A text finds observations, makes a patch, or both; an empty one makes any. */
async function describe(text) {
  if (!text) {
    chips([]);
    app.sought_frames = null;
    return make_({ describe: null, set: { ...app.state.locks }, seed: 1 + Math.floor(Math.random() * 1e6), nearest: true }, (s) => { Object.assign(s, { describe: "", goal: null, seed: 1, more: [], less: [] }); });
  }
  let asked;
  try { asked = await busy(() => understand(text)); } catch (error) { failed(error); return false; }
  chips(asked.parts);
  if (makes(asked)) {
    const body = { describe: asked.describe || null, set: { ...app.state.locks, ...asked.set } };
    app.sought_frames = null;
    parts.time.hide();
    return make_({ ...body, seed: 0, nearest: true }, (s) => { Object.assign(s, { describe: text, goal: body, seed: 1, more: [], less: [] }); intoFilters(s.filters, asked); });
  }
  if (finds(asked)) return findFrames(text, asked);
  if (asked.filters.source !== "any" || asked.filters.quantity !== "any") { notice(""); app.state.describe = text; intoFilters(app.state.filters, asked); remember(); show(); await search(); return true; }
  notice("Nothing of this was understood. Try NOAA 11158, HARP 377, 2011-02-15 or N20W13, words of the vocabulary such as strong bipole, or flux 3e22.");
  return false;
}

/** The frames that a text names: the one nearest to the disk centre is the query, the others lie in time below it. */
async function findFrames(text, asked) {
  if (!app.health.archive) { notice(`There is no archive to find it in: ${app.health.no_search}`); return false; }
  const mine = ++app.turn;
  try {
    const found = await busy(() => postJson("/api/frames", { filters: asked.filters, client: undefined }));
    if (mine !== app.turn) return false;
    if (!found.of) {
      const noaa = asked.filters.noaa, harp = asked.filters.region?.match(/^HARP (\d+)$/)?.[1];
      const fetched = noaa ? ` Get it with solquery fetch --archive DIR --noaa ${noaa}.` : harp ? ` Get it with solquery fetch --archive DIR --harp ${harp}.` : "";
      notice(`No patch of this archive is ${asked.parts.filter((part) => part.kind !== "unknown").map((part) => part.text).join(", ")}.${fetched}`);
      return false;
    }
    app.sought_frames = asked.filters;
    await step((s) => { begun(s, { kind: "patch", id: found.best }); s.describe = text; });
    return true;
  } catch (error) { if (mine === app.turn) failed(error); return false; }
}

function another() {
  const { state, now, about } = app, seed = state.seed + 1, held = Object.keys(state.locks);
  // what was asked for, in words or numbers; where nothing was, what the first of them has
  const goal = state.goal ?? {
    describe: null,
    set: Object.fromEntries((held.length ? held : SAME).map((name) => [name, state.locks[name] ?? state.asked[name] ?? now.got[name]]).filter(([name, v]) => name in about && Number.isFinite(v))),
  };
  return make_({ ...goal, seed, n: 4, nearest: true }, (s) => { Object.assign(s, { seed, goal }); });
}

/** What a new query leaves: locks stay, at what the new patch has. */
function begun(s, query) {
  Object.assign(s, { query, asked: {}, describe: "", goal: null, more: [], less: [], locks: Object.fromEntries(Object.keys(s.locks).map((name) => [name, null])) });
  s.look.view = "grid";
}

async function use(id) {
  const within = byId("found").contains(document.activeElement), among = parts.time.frames.some((frame) => frame.id === id), said = app.state.describe;
  if (!among) { app.sought_frames = null; chips([]); }
  await step((s) => { begun(s, { kind: "patch", id }); if (among && app.sought_frames) s.describe = said; });
  // its button is gone from the list: the keyboard goes on at the patch
  if (within) byId("patch").focus({ preventScroll: true });
}

async function openFile(file, among = 1) {
  if (!file) return;
  if (among > 1) { notice("One file at a time is a query here; solquery ingest takes many."); return; }
  if (file.size > LIMIT_BYTES) { notice(`${file.name} is larger than 32 MB; use solquery ingest for it`); return; }
  const mine = ++app.turn;
  try {
    const document = await busy(() => upload(file));
    if (mine !== app.turn) return;
    app.sought_frames = null;
    chips([]);
    await step((s) => begun(s, { kind: "upload", id: document.id, name: file.name }));
  } catch (error) { if (mine === app.turn) failed(error); }
}

/** The region of a sketch, shown while it is refined, and then the query. `closed` is called when there is something to see. */
async function drawSketch(started, blobs, closed) {
  const mine = ++app.turn, ended = new AbortController(), stop = () => ended.abort();
  let last = null;
  notice("");
  app.stop = stop;
  byId("stop").hidden = false;
  try {
    await busy(() => followed(started, ended.signal, ({ document, fields }) => {
      if (mine !== app.turn) { ended.abort(); return; }
      if (!last) closed();
      last = document;
      parts.stage.show({ field: fields[0], scale: app.health.model.scale_mm, source: "generated", title: "drawn for a sketch", seen: MADE(), verdict: said(document) }, look());
    }));
  } catch (error) {
    // refused: the panel is still open, and tells it
    if (!last && !ended.signal.aborted) throw error;
    if (!ended.signal.aborted) failed(error);
  } finally {
    if (app.stop === stop) { app.stop = null; byId("stop").hidden = true; }
  }
  if (mine !== app.turn || !last) return;
  app.sought_frames = null;
  chips([]);
  await step((s) => begun(s, { kind: "z", z: last.z, from: "a sketch", sketch: blobs }));
  if (last.verdict === "cannot draw") notice(`The model cannot draw this sketch closely: ${last.reason}. This is the nearest region.`, "hint");
}

// ------------------------------------------------------------ to and fro

function travel(by) {
  app.state = app.history.go(by, app.state.look);
  notice("");
  return recall(app.state).then(load).catch(failed);
}

let arrived = null;
/** Undo and redo are the browser's Back and Forward. */
function go(by) {
  if (!(by > 0 ? app.history.canRedo : app.history.canUndo)) return;
  busy(() => new Promise((done) => {
    const late = setTimeout(() => { arrived = null; travel(by).finally(done); }, 1000);
    arrived = (work) => { clearTimeout(late); arrived = null; work.finally(done); };
    window.history.go(by);
  }));
}

function popped(event) {
  app.written = location.hash;
  const by = event.state?.session === app.session ? app.history.away(event.state.step) : null;
  const work = by === null ? begin() : by === 0 ? Promise.resolve() : travel(by);
  if (arrived) arrived(work); else busy(() => work);
}

/** The frames of a match in time, with the query's value as a line. */
async function inTime({ id, region }) {
  try {
    const found = await busy(() => postJson("/api/frames", { filters: { region }, client: undefined }));
    parts.time.show(found, id);
    parts.time.key = null;
    byId("time").scrollIntoView({ block: "nearest" });
    byId("strip").focus({ preventScroll: true });
  } catch (error) { failed(error); }
}

function prefer(change) { change(app.state.look); app.history.amend(app.state); show(); parts.matches.redraw(); parts.time.redraw(); }

// --------------------------------------------------------------- starting

const actions = {
  describe, another, openFile, prefer, go, popped,
  arrange: () => { parts.matches.arrange(); parts.matches.redraw(); },
  reset: () => step((s) => Object.assign(s, fresh(), { look: s.look, kept: s.kept, list: s.list, query: { kind: "z", z: app.first } })),
  compare: () => parts.compare.open("query", app.now.matches[0]?.id),
  stop: () => app.stop?.(),
  recolour: () => { parts.maps.draw(); parts.space.draw(); },
  map: () => parts.maps.choose(app.state.look.cloud, app.state.look.map, Boolean(app.health.archive)).catch(failed),
  follow: () => { if (location.hash !== app.written) { app.written = location.hash; begin(); } },
};

function explain(name, button) {
  const box = byId("about-param");
  box.replaceChildren(...explanation(name, app.about[name], parts.panel.told(name)));
  box.showPopover();
  const at = button.getBoundingClientRect();
  box.style.left = `${Math.max(8, Math.min(innerWidth - box.offsetWidth - 8, at.left))}px`;
  box.style.top = `${Math.max(8, Math.min(innerHeight - box.offsetHeight - 8, at.bottom + 6))}px`;
}

/** What the query is called in the name of a file. */
function fileName() {
  const q = app.state.query;
  return q.kind === "z" ? `generated-${q.z.slice(0, 8)}` : q.kind === "upload" ? (q.name || q.id).replace(/\.(fits|fz|gz)$/gi, "").replace(/\.fits$/i, "") : q.id;
}

/** Where there is no column for them, the matches come before the maps. */
function arrangeMaps() {
  const narrow = matchMedia("(max-width: 1239px)");
  const move = () => { if (narrow.matches) byId("found").after(byId("maps")); else byId("stage").append(byId("maps")); };
  narrow.addEventListener("change", move);
  move();
}

/** Values of the query on the grid of the model, by name. */
const gridOf = () => Object.fromEntries(Object.entries(app.now.worth ?? {}).map(([name, entry]) => [name, entry?.grid ?? entry]));

function build() {
  const { about, health } = app;
  arrangeMaps();
  const [height, width] = health.model.shape, [sy, sx] = health.model.scale_mm ?? [1, 1], aspect = (width * sx) / (height * sy);
  document.documentElement.style.setProperty("--aspect", aspect);
  parts.panel = new Panel(about, byId("params"), byId("params-more"), { drag, release, lock, only, explain, brushed: (limits) => parts.filters.brushed(limits) });
  byId("more").hidden = !byId("params-more").childElementCount;
  parts.stage = new Stage(about);
  parts.matches = new Matches(byId("matches"), {
    use, look, aspect, scale: health.model.scale_mm, view: health.model.scale_mm?.map((mm, k) => mm * health.model.shape[k]), inTime, judges: (id) => parts.kept.buttons(id), cards: () => app.state.look, numbers: () => app.state.look.numbers, symbol: (name) => about[name].symbol, about: (name) => about[name], quantity: () => (app.state.query.kind === "z" ? "radial" : app.now.record?.quantity), grouped: () => app.state.perRegion,
    compare: (id) => parts.compare.open("query", id),
    frames: (region) => framesOf({ ...queryBody(), filters: { ...filtersOf(app.state), region } }),
  });
  parts.time = new Time(about, {
    look, use, query: () => (app.state.query.kind === "z" ? app.now.got : null), closed: () => { app.sought_frames = null; show(); },
    preview: (frame, field) => parts.stage.show({ field, scale: health.model.scale_mm, record: frame, source: frame.source, title: frame.region, seen: seenAt(frame), verdict: "a frame of the strip; click it to make it the query" }, look()),
  });
  parts.kept = new Kept(() => app.state, { use, look, changed: (again) => { remember(); show(); if (again) search(); } });
  parts.maps = new Maps(byId("cloud"), byId("map"), about, { use, brushed: (limits) => parts.filters.brushed(limits), lassoed: (lasso) => parts.filters.lassoed(lasso), lasso: () => app.state.filters.lasso });
  parts.space = new Space(byId("space"), about, { use, hover: (card) => parts.matches.hover(card), lassoed: (lasso) => parts.filters.lassoed(lasso), lasso: () => app.state.filters.lasso });
  byId("space-box").hidden = !health.archive;
  parts.sketch = new Sketch(health.model, { look, last: () => app.state.query.sketch ?? null, drawn: drawSketch });
  parts.filters = new FilterForm(about, () => app.state, () => { remember(); show(); search(); });
  parts.compare = new Compare(
    () => ({ ...picture(), field: app.now.field, got: app.now.got, grid: gridOf(), record: app.now.record, title: title(), source: app.state.query.kind === "z" ? "generated" : app.now.record.source }),
    () => app.now.matches, look, about, health.model.scale_mm, (pair) => { app.state.pair = pair; address(); });
  setUp(() => ({ query: app.state.query, kept: parts.kept.ids, list: app.state.list, sheet: () => parts.kept.sheet(), matches: parts.matches.ordered, recipe: app.now.recipe, publicUrl: health.public_url, python: app.now.python, name: fileName() }), parts.stage);
  for (const id of ["cloud-x", "cloud-y", "map-p"]) byId(id).append(...Object.entries(about).map(([name, p]) => make("option", { value: name }, p.title)));
  byId("phrases").append(...Object.entries(health.vocabulary).map(([phrase, meaning]) => make("option", { value: phrase }, meaning)));
  byId("limit").append(make("option", { value: 0 }, "Auto"), ...ranges().map((v) => make("option", { value: v }, `±${v} G`)));
  byId("sort").append(...[["distance", "best first"], ["time", "by time"], ["mu", "by μ"]].map(([value, text]) => make("option", { value }, text)), ...Object.entries(about).map(([name, p]) => make("option", { value: name }, `by ${p.title.toLowerCase()}`)));
  byId("placed").hidden = !(health.model.estimates && health.archive);
  byId("about").textContent = summary(health);
}

/** What a link says was asked for, as it was understood. */
async function recall(state) {
  app.sought_frames = null;
  chips([]);
  if (!state.describe) return;
  try {
    const asked = await understand(state.describe);
    chips(asked.parts);
    if (state.query.kind === "patch" && !makes(asked) && finds(asked)) app.sought_frames = asked.filters;
    if (state.query.kind === "z" && makes(asked)) state.goal = { describe: asked.describe || null, set: { ...state.locks, ...asked.set } };
  } catch { /* the chips are an extra */ }
}

async function begin() {
  const link = fromHash(location.hash), { about, health } = app, state = (app.state = link.state);
  for (const values_ of [state.asked, state.locks, state.filters.parameters, state.filters.grid]) for (const name of Object.keys(values_)) if (!(name in about)) delete values_[name];
  const lasso = state.filters.lasso;
  if (lasso?.x && !(lasso.x in about && lasso.y in about)) state.filters.lasso = null;
  for (const k of [0, 1]) if (!(state.look.cloud[k] in about)) state.look.cloud[k] = Object.keys(about)[k] ?? Object.keys(about)[0];
  if (!(state.look.map in about)) state.look.map = Object.keys(about)[0];
  const pair = state.pair;
  state.pair = null;
  if (!state.query) state.query = { kind: "z", z: app.first };
  if (link.model && !health.model.hash?.startsWith(link.model)) notice("This link was made with another model; what it shows here may differ.", "hint");
  await recall(state);
  try { await load(); } catch (error) {
    const q = state.query;
    if (q.kind === "upload" && q.z) {
      // the file is not in the link, but what the model made of it is
      lost();
      await load();
    } else {
      Object.assign(state, { query: { kind: "z", z: app.first }, asked: {}, locks: {} });
      await load();
      notice(q.kind === "upload" ? `${q.name} is not part of the link, and it was not inverted yet; open the file again.` : `The link cannot be shown: ${error.message}`);
    }
  }
  remember();
  show();
  if (pair) parts.compare.open(...pair);
  document.documentElement.dataset.ready = "";
}

async function start() {
  const typed = early();
  [app.health, { parameters: app.about }] = await Promise.all([getJson("/api/health"), getJson("/api/parameters")]);
  const made = (body) => postPacked("/api/generate?format=packed", body);
  app.first = (await made({ describe: app.health.opens_on, seed: 0 }).catch(() => made({ seed: 1 }))).document.answers[0].z;
  build();
  wire(actions);
  welcome();
  await begin();
  typed(describe);
  await actions.map();
}

start().catch((error) => {
  byId("about").textContent = "The page could not start.";
  // once somebody answers, from the beginning
  complain(error, () => location.reload());
});
