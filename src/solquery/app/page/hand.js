// What the hand does to the query: a slider that is moved and let go, a number that is typed, a value that is held.

import { Latest, postJson, postPacked } from "./api.js";
import { chips } from "./ask.js";
import { app, back, failed, load, look, MADE, parts, queryBody, remember, search, show, take, values } from "./core.js";
import { busy, complain, notice } from "./tell.js";

const NEAREST = 4;

const origin = () => (app.state.query.kind === "z" ? app.state.query.from : app.now.record?.region ?? app.state.query.name);
const holdWithout = (name) => Object.fromEntries(Object.entries(app.state.locks).filter(([held]) => held !== name));

/** One change: away from an observation, all else is held where it was observed. */
function moving(z, name, value, exact) {
  const { query } = app.state;
  return { z, set: { [name]: value }, hold: holdWithout(name), exact, ...(query.kind === "z" ? {} : { origin: query.id }) };
}

/** The nearest few follow the hand; the whole list is asked for when it rests. */
const meanwhile = new Latest(async (mine, z) => {
  const asked = ++app.sought;
  try {
    const found = await postJson("/api/search", { ...queryBody(), patch: undefined, upload: undefined, exclude_own: false, z, k: Math.min(NEAREST, app.state.k) });
    if (mine === app.turn && app.hand && asked === app.sought) parts.matches.first(found.matches);
  } catch { /* the search at the end tells */ }
});

/** Once the picture has been painted; of several works that wait the newest is done. */
let waiting = null;
function painted(work) {
  if (!waiting) requestAnimationFrame(() => setTimeout(() => { const newest = waiting; waiting = null; newest(); }));
  waiting = work;
}

const follow = new Latest(async (mine, z, name, value) => {
  try {
    const { document, fields } = await postPacked("/api/edit?format=packed", moving(z, name, value, false));
    if (mine !== app.turn || !app.hand) return;
    app.now.got = values(document.measured);
    app.now.verdict = "";
    parts.stage.show({ field: fields[0], scale: app.health.model.scale_mm, source: "generated", title: origin() ? `from ${origin()}, changed` : "no observation", seen: MADE() }, look());
    const { got } = app.now;
    painted(() => {
      if (mine !== app.turn || !app.hand) return;
      parts.panel.update({ got, native: document.measured, asked: { [name]: value }, locks: app.state.locks, verdict: "", ready: true });
      parts.maps.update({ got, matches: app.now.matches, z: document.z, trail: app.history.trail() });
    });
    if (app.health.archive) meanwhile.ask(mine, document.z);
  } catch (error) { if (mine === app.turn && error.kind !== "out of reach") complain(error, back); }
});

export function drag(name, value) {
  // all of one drag starts from where the hand took hold, so that going back goes back
  if (app.hand?.name !== name) { app.hand = { name, z: app.state.query.z, before: { got: app.now.got, verdict: app.now.verdict } }; app.turn++; }
  document.documentElement.dataset.hand = name;
  follow.ask(app.turn, app.hand.z, name, value);
}

export async function release(name, value) {
  const z = app.hand?.name === name ? app.hand.z : app.state.query.z, from = origin(), before = app.hand?.before, refining = Boolean(app.stop);
  app.hand = null;
  delete document.documentElement.dataset.hand;
  follow.drop();
  meanwhile.drop();
  const mine = ++app.turn;
  notice("");
  try {
    await busy(async () => {
      const { document, fields } = await postPacked("/api/edit?format=packed", moving(z, name, value, true));
      if (mine !== app.turn) return;
      take(document, fields[0]);
      if (Math.abs(app.now.got[name] - value) <= 0.1 * Math.abs(value)) app.now.verdict = "met";
      Object.assign(app.state, { query: { kind: "z", z: document.z, from }, asked: { [name]: value }, describe: "", goal: null });
      app.state.look.view = "grid";
      chips([]);
      app.sought_frames = null;
      remember();
      show();
      await search();
    });
  } catch (error) {
    if (mine !== app.turn) return;
    if (error.nearest?.[name] !== undefined) {
      // what was typed stays to be seen, beside what can be had; nothing else has changed, but for a look for the latent vector that ended
      if (refining) await load().catch(() => {});
      else { Object.assign(app.now, before); show(); if (before) await search(); }
      parts.panel.refuse(name, value, error.nearest[name]);
      return;
    }
    await load().catch(() => {});
    failed(error);
  }
}

export function lock(name, on) {
  if (on) app.state.locks[name] = app.now.got[name]; else delete app.state.locks[name];
  delete app.state.asked[name];
  remember();
  show();
}

/** Hold other values while one moves, or release them. */
export function only(name, others, on) {
  const { state, now } = app;
  delete state.locks[name];
  for (const other of others) if (on) state.locks[other] = now.got[other]; else delete state.locks[other];
  remember();
  show();
}
