// The page: one state, what is shown of it, and what the user does to it.

import { getJson, getPacked, Latest, postJson, postPacked, sendFile } from "./api.js";
import { Compare } from "./compare.js";
import { FilterForm } from "./filters.js";
import { byId, make, number, unit, when } from "./format.js";
import { Maps } from "./maps.js";
import { Matches } from "./matches.js";
import { explanation, Panel } from "./panel.js";
import { rms, Stage } from "./stage.js";
import { filtersOf, fresh, fromHash, History, toHash } from "./state.js";
import { setUp } from "./take.js";
import { busy, complain, explained, notice, summary, welcome } from "./tell.js";
import { wire } from "./wire.js";

const SAME = ["tuf", "psep", "r", "polarity"];
const LIMIT_BYTES = 32 * 2 ** 20;

let health, about, state, first = null;
const history = new History();
// estimated latents of matches, by id
const placed = new Map();
// what the server said of the state: fields, parameters, matches
let now = { got: {}, matches: [], recipe: null };
let panel, stage, matches, maps, filters, compare, turn = 0, hand = null, written = "", said = null;

// ---------------------------------------------------------------- showing

function look() {
  const l = state.look, clip = health.bundle.limit_gauss;
  // the colours of HMI are made for 1500 G
  return { palette: l.palette, limit: l.limit || (l.palette === "hmi" ? 1500 : clip), stretch: l.stretch, pil: l.pil, cen: l.cen, clip };
}

function title() {
  const q = state.query, r = now.record;
  if (q.kind === "z") return q.from ? `from ${q.from}, changed` : "by a network, no observation";
  if (!r) return q.name ?? q.id;
  return [r.region, r.noaa?.length ? `NOAA ${r.noaa.join(", ")}` : "", when(r)].filter(Boolean).join(" · ");
}

function picture() {
  const q = state.query, view = q.kind === "z" ? "grid" : state.look.view;
  if (view === "native" && now.native) return { field: now.native.field, scale: now.native.scale, source: now.record.source, title: title() };
  if (view === "made" && now.made) return { field: now.made.field, scale: health.bundle.scale_mm, source: "generated", title: `the model's closest to ${now.record.region}`, verdict: `differs from it by ${number(rms(now.field, now.made.field), 2)} G (root mean square)` };
  return {
    field: now.field, scale: health.bundle.scale_mm, source: q.kind === "z" ? "generated" : now.record.source, title: title(),
    verdict: now.record?.doubt ? `its ${now.record.doubt}: do not trust its numbers` : q.kind !== "z" && !q.z ? "finding its latent vector …" : now.far ? "far from what the model was trained on: do not trust it" : "", missed: now.far || Boolean(now.record?.doubt),
  };
}

function show() {
  const q = state.query, observed = q.kind !== "z";
  byId("views").hidden = !observed;
  for (const input of document.querySelectorAll("[name=view]")) {
    input.checked = input.value === state.look.view;
    if (input.value === "made") input.disabled = !now.made;
  }
  for (const input of document.querySelectorAll("[name=palette]")) input.checked = input.value === state.look.palette;
  for (const input of document.querySelectorAll("[name=stretch]")) input.checked = input.value === state.look.stretch;
  byId("numbers").value = state.look.numbers;
  byId("pil").checked = state.look.pil;
  byId("cen").checked = state.look.cen;
  byId("limit").value = look().limit;
  // what is being typed, and what was refused, stays to be mended
  if (said !== state.describe) byId("describe").value = said = state.describe;
  byId("undo").disabled = !history.canUndo;
  byId("redo").disabled = !history.canRedo;
  stage.show(picture(), look());
  panel.update({ got: now.got, native: now.worth, asked: state.asked, locks: state.locks, verdict: now.verdict, ready: Boolean(q.z) });
  filters.show();
  byId("explain").textContent = explained(q, health.bundle);
  byId("cloud-x").value = state.look.cloud[0];
  byId("cloud-y").value = state.look.cloud[1];
  byId("map-p").value = state.look.map;
  maps.update({ got: now.got, matches: now.matches, z: q.z, trail: history.trail() });
  address();
}

function address() {
  written = toHash(state, health.bundle.hash);
  window.history.replaceState(null, "", written);
}

// --------------------------------------------------------------- learning

const values = (entries) => Object.fromEntries(Object.entries(entries).map(([name, entry]) => [name, entry.value ?? NaN]));

function take(answer, field) {
  now = { ...now, field, got: values(answer.got), verdict: Object.keys(answer.asked).length ? answer.verdict : "", far: answer.far, worth: answer.native, python: answer.python, record: null, made: null, native: null };
}

/** Show the state as it is, from its query on. */
async function load() {
  const mine = ++turn, q = state.query;
  await busy(async () => {
    if (q.kind === "z") {
      const { document, fields } = await postPacked("/api/edit?format=packed", { z: q.z });
      if (mine !== turn) return;
      take(document, fields[0]);
      now.verdict = Object.keys(state.asked).length ? kept() : "";
    } else {
      const path = `/api/patch/${encodeURIComponent(q.id)}?format=packed`;
      const { document, fields } = await getPacked(path);
      if (mine !== turn) return;
      now = { ...now, field: fields[0], record: document, got: values(document.grid), worth: document.parameters, python: document.python, verdict: "", far: false, made: null, native: null };
      observe(mine);
    }
    show();
    await search(mine);
  });
}

/** Whether what a link says was asked has been got, by the rule of ten per cent. */
function kept() {
  return Object.entries(state.asked).every(([name, v]) => Math.abs(now.got[name] - v) <= 0.1 * Math.abs(v)) ? "met" : "";
}

/** Of an observation: its native picture, and the model's reconstruction. */
async function observe(mine) {
  const q = state.query, id = encodeURIComponent(q.id);
  try {
    const { document, fields } = await getPacked(`/api/patch/${id}?grid=native&format=packed`);
    if (mine !== turn) return;
    now.native = { field: fields[0], scale: document.scale_mm };
    show();
    if (q.z) {
      const made = await postPacked("/api/edit?format=packed", { z: q.z });
      if (mine !== turn) return;
      now.made = { field: made.fields[0] };
    } else {
      const found = await busy(() => sendFile(`/api/invert?patch=${id}&starts=4&steps=100&format=packed`));
      if (mine !== turn) return;
      q.z = found.document.z;
      now.made = { field: found.fields[1] };
      history.amend(state);
    }
    show();
  } catch (error) { if (mine === turn) failed(error); }
}

function queryBody() {
  const q = state.query;
  const body = q.kind === "z" ? { z: q.z } : q.kind === "patch" ? { patch: q.id } : { upload: q.id };
  return { ...body, k: state.k, by: state.by, group: state.perRegion ? "region" : "none", exclude_own: q.kind !== "z" && state.notOwn, filters: filtersOf(state) };
}

async function search(mine = turn) {
  if (!health.archive) { matches.say(`${health.no_search[0].toUpperCase()}${health.no_search.slice(1)}.`); return; }
  byId("found").setAttribute("aria-busy", "true");
  try {
    const found = await postJson("/api/search", queryBody());
    if (mine !== turn) return;
    now.matches = found.matches;
    now.recipe = found.recipe;
    byId("count").textContent = `among ${found.candidates.toLocaleString("en")}${found.where ? " that pass" : " patches"}`;
    byId("compare").disabled = !found.matches.length;
    byId("how-to-read").hidden = !found.matches.length;
    if (found.matches.length) matches.show(found.matches);
    else matches.say("No patch meets the filters. Widen them.");
    maps.update({ got: now.got, matches: now.matches, z: state.query.z, trail: history.trail() });
    place(mine);
  } catch (error) { if (mine === turn && error.kind !== "superseded") { matches.say(error.message); if (error.kind === "away") failed(error); } } finally { byId("found").removeAttribute("aria-busy"); }
}

/** Where the matches lie in the latent space, as far as the model can tell. */
async function place(mine) {
  const wanted = now.matches.map((match) => match.id).filter((id) => !placed.has(id));
  if (wanted.length && health.bundle.estimates) {
    try {
      const { estimates } = await postJson("/api/estimate", { ids: wanted });
      for (const [id, z] of Object.entries(estimates)) placed.set(id, z);
    } catch { return; /* the map does without */ }
  }
  if (mine === turn) maps.place(placed);
}

// ------------------------------------------------------------------ doing

/** A step: change the state, remember it, show it. */
function step(change) {
  change(state);
  history.push(state);
  notice("");
  return load().catch(failed);
}

function failed(error) {
  complain(error, back);
  if (now.field) show();
}

/** The server answers again: the state is asked for anew; it may be another server by now. */
async function back(answer) {
  health = answer;
  notice("The server answers again.", "hint");
  await load();
}

const origin = () => (state.query.kind === "z" ? state.query.from : now.record?.region ?? state.query.name);

const follow = new Latest(async (mine, z, name, value) => {
  try {
    const { document, fields } = await postPacked("/api/edit?format=packed", { z, set: { [name]: value }, hold: holdWithout(name), exact: false });
    if (mine !== turn || !hand) return;
    now.got = values(document.got);
    now.verdict = "";
    stage.show({ field: fields[0], scale: health.bundle.scale_mm, source: "generated", title: origin() ? `from ${origin()}, changed` : "by a network, no observation" }, look());
    panel.update({ got: now.got, native: document.native, asked: { [name]: value }, locks: state.locks, verdict: "", ready: true });
    maps.update({ got: now.got, matches: now.matches, z: document.z, trail: history.trail() });
  } catch (error) { if (mine === turn) complain(error, back); }
});

const holdWithout = (name) => Object.fromEntries(Object.entries(state.locks).filter(([held]) => held !== name));

function drag(name, value) {
  // all of one drag starts from where the hand took hold, so that going back goes back
  if (!hand || hand.name !== name) { hand = { name, z: state.query.z }; turn++; }
  follow.ask(turn, hand.z, name, value);
}

async function release(name, value) {
  const z = hand?.name === name ? hand.z : state.query.z, from = origin();
  hand = null;
  follow.drop();
  const mine = ++turn;
  notice("");
  try {
    await busy(async () => {
      const { document, fields } = await postPacked("/api/edit?format=packed", { z, set: { [name]: value }, hold: holdWithout(name) });
      if (mine !== turn) return;
      take(document, fields[0]);
      state.query = { kind: "z", z: document.z, from };
      state.asked = { [name]: value };
      state.describe = "";
      state.look.view = "grid";
      history.push(state);
      show();
      await search(mine);
    });
  } catch (error) {
    if (mine !== turn) return;
    await load().catch(() => {});
    failed(error);
  }
}

function lock(name, on) {
  if (on) state.locks[name] = now.got[name]; else delete state.locks[name];
  delete state.asked[name];
  history.push(state);
  show();
}

async function make_(body, remember) {
  const mine = ++turn;
  notice("");
  try {
    await busy(async () => {
      const { document, fields } = await postPacked("/api/generate?format=packed", body);
      if (mine !== turn) return;
      const at = Math.max(0, document.answers.findIndex((one) => one.z !== state.query.z)), answer = document.answers[at]; // not the one shown
      take(answer, fields[at]);
      now.verdict = answer.verdict;
      state.query = { kind: "z", z: answer.z };
      state.asked = Object.fromEntries(Object.entries(answer.asked).filter(([name, entry]) => name in about && entry.value !== null && !(name in state.locks)).map(([name, entry]) => [name, entry.value]));
      remember(answer);
      state.look.view = "grid";
      history.push(state);
      show();
      await search(mine);
    });
  } catch (error) { if (mine === turn) failed(error); }
}

function describe(text) {
  return make_({ describe: text || null, set: {}, seed: text ? 0 : 1 + Math.floor(Math.random() * 1e6) }, () => { state.describe = text; state.locks = {}; });
}

function another() {
  const seed = state.seed + 1, held = Object.keys(state.locks);
  const names = held.length ? held : SAME;
  const set = Object.fromEntries(names.map((name) => [name, state.locks[name] ?? now.got[name]]).filter(([name, v]) => name in about && Number.isFinite(v))
    // an observation may lie beyond what the model reaches
    .map(([name, v]) => [name, Math.max(about[name].reach[0], Math.min(about[name].reach[1], v))]));
  return make_({ set, seed, n: 2 }, () => { state.seed = seed; state.describe = ""; });
}

const use = (id) => step((s) => { s.query = { kind: "patch", id }; s.asked = {}; s.locks = {}; s.describe = ""; s.look.view = "grid"; });

async function openFile(file, among = 1) {
  if (!file) return;
  if (among > 1) { notice("One file at a time is a query here; solquery ingest takes many."); return; }
  if (file.size > LIMIT_BYTES) { notice(`${file.name} is larger than 32 MB; use solquery ingest for it`); return; }
  const mine = ++turn;
  try {
    const { document } = await busy(() => sendFile(`/api/patch?name=${encodeURIComponent(file.name.slice(-200))}&format=packed`, file));
    if (mine !== turn) return;
    await step((s) => { s.query = { kind: "upload", id: document.id, name: file.name }; s.asked = {}; s.locks = {}; s.describe = ""; s.look.view = "grid"; });
  } catch (error) { if (mine === turn) failed(error); }
}

function travel(by) {
  state = history.go(by);
  notice("");
  load().catch(failed);
}

function prefer(change) { change(state.look); history.amend(state); show(); matches.redraw(); }

// --------------------------------------------------------------- starting

const actions = {
  describe, another, openFile, prefer,
  travel: (by) => { if (by > 0 ? history.canRedo : history.canUndo) travel(by); },
  reset: () => step((s) => Object.assign(s, fresh(), { look: s.look, query: { kind: "z", z: first } })),
  compare: () => compare.open("query", now.matches[0]?.id),
  recolour: () => maps.draw(),
  map: () => maps.choose(state.look.cloud, state.look.map, Boolean(health.archive)).catch(failed),
  follow: () => { if (location.hash !== written) begin(); },
};

function build() {
  const handlers = {
    drag, release, lock,
    explain: (name, button) => {
      const box = byId("about-param");
      box.replaceChildren(...explanation(name, about[name]));
      box.showPopover();
      const at = button.getBoundingClientRect();
      box.style.left = `${Math.max(8, Math.min(innerWidth - box.offsetWidth - 8, at.left))}px`;
      box.style.top = `${Math.max(8, Math.min(innerHeight - box.offsetHeight - 8, at.bottom + 6))}px`;
    },
  };
  panel = new Panel(about, byId("params"), byId("params-more"), handlers);
  byId("more").hidden = !byId("params-more").childElementCount;
  stage = new Stage(about);
  matches = new Matches(byId("matches"), {
    use, look, numbers: () => state.look.numbers, symbol: (name) => about[name].symbol, grouped: () => state.perRegion,
    compare: (id) => compare.open("query", id),
    frames: async (region) => (await postJson("/api/search", { ...queryBody(), client: undefined, k: 100, group: "none", exclude_own: false, filters: { ...filtersOf(state), region } })).matches,
  });
  maps = new Maps(byId("cloud"), byId("map"), about, use);
  filters = new FilterForm(about, () => state, () => { history.push(state); show(); search(); });
  compare = new Compare(
    () => { const p = picture(); return { ...p, field: now.field, got: now.got, native: now.record?.parameters, title: title(), source: state.query.kind === "z" ? "generated" : now.record.source }; },
    () => now.matches, look, about, health.bundle.scale_mm, (pair) => { state.pair = pair; address(); });
  setUp(() => ({ query: state.query, matches: now.matches, recipe: now.recipe, python: now.python, name: state.query.kind === "z" ? `generated-${state.query.z.slice(0, 8)}` : state.query.id }), stage);
  for (const [id, list] of [["cloud-x", about], ["cloud-y", about], ["map-p", about]]) byId(id).append(...Object.entries(list).map(([name, p]) => make("option", { value: name }, p.title)));
  byId("phrases").append(...Object.entries(health.vocabulary).map(([phrase, meaning]) => make("option", { value: phrase }, meaning)));
  const clip = health.bundle.limit_gauss;
  byId("limit").append(...[100, 200, 500, 1000, 1500, 3000].filter((v) => v !== clip).concat(clip).sort((x, y) => x - y).map((v) => make("option", { value: v }, `±${v} G`)));
  byId("placed").hidden = !(health.bundle.estimates && health.archive);
  byId("about").textContent = summary(health);
}

async function begin() {
  const link = fromHash(location.hash);
  state = link.state;
  for (const values_ of [state.asked, state.locks, state.filters.parameters]) for (const name of Object.keys(values_)) if (!(name in about)) delete values_[name];
  for (const k of [0, 1]) if (!(state.look.cloud[k] in about)) state.look.cloud[k] = Object.keys(about)[k] ?? Object.keys(about)[0];
  if (!(state.look.map in about)) state.look.map = Object.keys(about)[0];
  const pair = state.pair;
  state.pair = null;
  if (!state.query) state.query = { kind: "z", z: first };
  if (link.bundle && !health.bundle.hash?.startsWith(link.bundle)) notice("This link was made with another model; what it shows here may differ.", "hint");
  try { await load(); } catch (error) {
    const lost = state.query;
    if (lost.kind === "upload" && lost.z) {
      // the file is not in the link, but what the model made of it is
      state.query = { kind: "z", z: lost.z, from: lost.name };
      state.look.view = "grid";
    } else {
      state.query = { kind: "z", z: first };
      state.asked = {}; state.locks = {};
    }
    await load();
    notice(lost.kind === "upload" ? lost.z ? `${lost.name} itself is not part of the link: this is the model's reconstruction of it, which can be changed and searched with. Open the file to search by the observation.` : `${lost.name} is not part of the link, and it was not inverted yet; open the file again.` : `The link cannot be shown: ${error.message}`);
  }
  history.push(state);
  show();
  if (pair) compare.open(...pair);
  document.documentElement.dataset.ready = "";
}

async function start() {
  [health, { parameters: about }] = await Promise.all([getJson("/api/health"), getJson("/api/parameters")]);
  first = (await postPacked("/api/generate?format=packed", { describe: "moderate bipole", seed: 0 }).catch(() => postPacked("/api/generate?format=packed", { seed: 1 }))).document.answers[0].z;
  build();
  wire(actions);
  welcome();
  await begin();
  await maps.choose(state.look.cloud, state.look.map, Boolean(health.archive));
}

start().catch((error) => {
  byId("about").textContent = "The page could not start.";
  // once somebody answers, from the beginning
  complain(error, () => location.reload());
});
