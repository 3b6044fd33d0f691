// Talking to the server: packed patches, errors as sentences, one request at a time for a moving slider.

/** Who this page is, to the server. */
export const CLIENT = Math.random().toString(36).slice(2, 14);

export class ApiError extends Error {
  constructor(kind, message, nearest = null) {
    super(message);
    this.kind = kind;
    // out of reach: the nearest value that the model makes, by parameter
    this.nearest = nearest;
  }
}

async function checked(response) {
  if (response.ok) return response;
  let error = { kind: "fault", message: `the server answered ${response.status}` };
  try { error = (await response.json()).error ?? error; } catch { /* no JSON: the status has to do */ }
  throw new ApiError(error.kind, error.message, error.nearest);
}

async function reach(path, options) {
  try {
    return await checked(await fetch(path, options));
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    throw new ApiError("away", "the server does not answer; is solquery app still running? The page asks again every few seconds, and goes on when it is there");
  }
}

const posted = (body, signal) => ({
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal,
});

export const getJson = async (path) => (await reach(path)).json();
export const postJson = async (path, body, signal) => (await reach(path, posted({ client: CLIENT, ...body }, signal))).json();
export const postPacked = async (path, body, signal) =>
  unpack(await (await reach(path, posted({ client: CLIENT, ...body }, signal))).arrayBuffer());
export const getPacked = async (path, signal) => unpack(await (await reach(path, { signal })).arrayBuffer());
export const sendFile = async (path, file) => unpack(await (await reach(path, {
  method: "POST", headers: { "content-type": "application/fits" }, body: file ?? undefined,
})).arrayBuffer());
export const postBlob = async (path, body) => (await reach(path, posted(body))).blob();
export const getBlob = async (path) => (await reach(path)).blob();

// Float16 by table: all 65,536 of them.
const HALF = new Float32Array(65536);
for (let code = 0; code < 65536; code++) {
  const sign = code & 0x8000 ? -1 : 1, exponent = (code >> 10) & 31, rest = code & 1023;
  HALF[code] = exponent === 31 ? (rest ? NaN : sign * Infinity)
    : exponent ? sign * 2 ** (exponent - 15) * (1 + rest / 1024) : sign * 2 ** -14 * (rest / 1024);
}

/** A packed body: the document, and its fields as {data: Float32Array, h, w}. */
export function unpack(buffer) {
  const view = new DataView(buffer);
  if (view.getUint32(0) !== 0x53515031) throw new ApiError("fault", "the server sent something that is no patch");
  const size = view.getUint32(4, true);
  const document = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
  const [n, h, w] = document.fields;
  const codes = new Uint16Array(buffer, 8 + size, n * h * w);
  const fields = Array.from({ length: n }, (_, k) => {
    const data = new Float32Array(h * w);
    for (let i = 0; i < data.length; i++) data[i] = HALF[codes[k * h * w + i]];
    return { data, h, w };
  });
  return { document, fields };
}

/** One request in flight and the newest waiting: `ask(...)` may be called at any rate. */
export class Latest {
  constructor(work) { this.work = work; this.running = false; this.waiting = null; }
  ask(...args) {
    if (this.running) { this.waiting = args; return; }
    this.running = true;
    this.work(...args).finally(() => {
      this.running = false;
      const next = this.waiting;
      this.waiting = null;
      if (next) this.ask(...next);
    });
  }
  drop() { this.waiting = null; }
}

/** Latent vector from its text, as Float32Array; what is local to an inversion follows after a dot. */
export function latent(whole) {
  const [text] = whole.split(".");
  const raw = atob(text.replace(/-/g, "+").replace(/_/g, "/").padEnd(Math.ceil(text.length / 4) * 4, "="));
  const bytes = Uint8Array.from(raw, (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer, 0, bytes.length >> 2);
}
