// Drawing a magnetic field: colours, scale bar, inversion line, centroids. Row 0 of a field is the southernmost.

const GREY = [[0, 0, 0, 0], [255, 255, 255, 255]];
// Corner points of sunpy's `hmimag` colour table (BSD-2-Clause, the SunPy developers), linear in between.
const HMI = [
  [0, 137, 0, 20], [39, 255, 61, 0], [107, 255, 219, 188], [108, 255, 103, 0], [125, 255, 255, 0], [126, 199, 200, 130],
  [127, 181, 181, 166], [128, 154, 154, 167], [129, 95, 129, 104], [130, 0, 120, 14], [147, 0, 255, 92],
  [148, 200, 200, 255], [202, 52, 96, 251], [217, 0, 56, 251], [250, 0, 0, 133], [255, 0, 0, 73],
];

function table(corners) {
  const out = new Uint8Array(256 * 3);
  for (let k = 1; k < corners.length; k++) {
    const [from, ...a] = corners[k - 1], [to, ...b] = corners[k];
    for (let i = from; i <= to; i++) {
      for (let c = 0; c < 3; c++) out[3 * i + c] = Math.round(a[c] + ((b[c] - a[c]) * (i - from)) / (to - from));
    }
  }
  return out;
}
const DIVERGING = [[0, 33, 102, 172], [64, 146, 197, 222], [128, 247, 247, 247], [192, 244, 165, 130], [255, 178, 24, 43]];
export const PALETTES = { grey: table(GREY), hmi: table(HMI), difference: table(DIVERGING) };

/** Below this field, in gauss, the asinh stretch is even; far above it goes with the logarithm. */
const SOFT = 50;
/** Where a field in gauss lies on the scale of colours, from -1 to 1 at the limits. */
export const shade = (value, limit, stretch) => (stretch === "asinh" ? Math.asinh(value / SOFT) / Math.asinh(limit / SOFT) : value / limit);

/** The field as an image of its own size: north up, black to white (or the table's colours) from -limit to limit. */
export function image(field, limit, palette, stretch = "linear") {
  const { data, h, w } = field, colours = PALETTES[palette], bent = stretch === "asinh", whole = bent ? Math.asinh(limit / SOFT) : limit;
  const canvas = new OffscreenCanvas(w, h), pixels = new ImageData(w, h), out = pixels.data;
  for (let y = 0, at = 0; y < h; y++) {
    for (let x = 0, from = (h - 1 - y) * w; x < w; x++, at += 4) {
      // as `shade` has it, with what is the same for all pixels found once
      const value = data[from + x], share = (bent ? Math.asinh(value / SOFT) : value) / whole;
      const k = 3 * Math.max(0, Math.min(255, Math.round((share * 0.5 + 0.5) * 255)));
      // what is missing is grey in any palette
      const missing = Number.isNaN(value);
      out[at] = missing ? 128 : colours[k];
      out[at + 1] = missing ? 128 : colours[k + 1];
      out[at + 2] = missing ? 128 : colours[k + 2];
      out[at + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

const THRESHOLD = 150, REACH = 3, EDGE = 100, AROUND = 0.06, LEAST = 0.25;
/** Share of the smoothed flux that may lie beyond each side of a crop: the network and noise far from a region. */
const BEYOND = 0.03;

/** The first and the last place between which all but BEYOND at each end of some amounts lie. */
function middle(amounts) {
  const least = BEYOND * amounts.reduce((a, b) => a + b, 0);
  let from = 0, to = amounts.length - 1;
  for (let sum = amounts[from]; sum < least; sum += amounts[from]) from++;
  for (let sum = amounts[to]; sum < least; sum += amounts[to]) to--;
  return [from, to];
}

/** The part of a field around where its flux lies, smoothed, of the field's own shape and as a field of its own, with the pixel at which it begins; the whole where nothing is. */
export function cropped(field) {
  const { data, h, w } = field;
  const smooth = blurred(field), across = new Float64Array(w), up = new Float64Array(h);
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
    const size = Math.abs(smooth[y * w + x]);
    if (size > EDGE) { across[x] += size; up[y] += size; }
  }
  if (!across.some(Boolean)) return field;
  const [x0, x1] = middle(across), [y0, y1] = middle(up);
  // as a share of the field, the same across and up: the picture keeps its shape
  const share = Math.min(1, Math.max(LEAST, (x1 - x0 + 1) / w + 2 * AROUND, (y1 - y0 + 1) / h + 2 * AROUND));
  const wide = Math.round(share * w), high = Math.round(share * h);
  const from = (a, b, n, side) => Math.max(0, Math.min(n - side, Math.round((a + b + 1 - side) / 2)));
  const left = from(x0, x1, w, wide), bottom = from(y0, y1, h, high), out = new Float32Array(wide * high);
  for (let y = 0; y < high; y++) out.set(data.subarray((bottom + y) * w + left, (bottom + y) * w + left + wide), y * wide);
  return { data: out, h: high, w: wide, left, bottom };
}

const contrasts = new WeakMap();
/** Of the ranges, the least beyond which at most one pixel in 100 of those with any field lies; found once for a field. */
export function contrast(field, ranges) {
  if (!contrasts.has(field)) {
    const sizes = Float32Array.from(field.data, Math.abs).filter((v) => v > 10).sort();
    contrasts.set(field, sizes[Math.min(sizes.length - 1, Math.floor(0.99 * sizes.length))] ?? 0);
  }
  return ranges.find((range) => range >= contrasts.get(field)) ?? ranges.at(-1);
}

function blurred({ data, h, w }, times = 2) {
  let out = Float32Array.from(data, (v) => (Number.isNaN(v) ? 0 : v));
  for (let t = 0; t < times; t++) {
    const next = new Float32Array(out.length);
    for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
      let sum = 0, n = 0;
      for (let j = Math.max(0, y - 1); j <= Math.min(h - 1, y + 1); j++)
        for (let i = Math.max(0, x - 1); i <= Math.min(w - 1, x + 1); i++) { sum += out[j * w + i]; n++; }
      next[y * w + x] = sum / n;
    }
    out = next;
  }
  return out;
}

function grown(mask, h, w) {
  const across = new Uint8Array(mask.length), out = new Uint8Array(mask.length);
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++)
    for (let i = Math.max(0, x - REACH); i <= Math.min(w - 1, x + REACH); i++) across[y * w + x] |= mask[y * w + i];
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++)
    for (let j = Math.max(0, y - REACH); j <= Math.min(h - 1, y + REACH); j++) out[y * w + x] |= across[j * w + x];
  return out;
}

/** Segments [x0, y0, x1, y1] of the line where the smoothed field changes sign between strong opposite polarities:
    within the overlap of the two masks beyond 150 G, each grown by 3 pixels, over which R is summed. */
export function inversionLine(field) {
  const { data, h, w } = field, smooth = blurred(field);
  const code = grown(Uint8Array.from(data, (v) => (v > THRESHOLD ? 1 : v < -THRESHOLD ? 2 : 0)), h, w);
  const segments = [];
  const cut = (a, b) => a / (a - b);
  for (let y = 0; y + 1 < h; y++) for (let x = 0; x + 1 < w; x++) {
    if (code[y * w + x] !== 3) continue;
    const a = smooth[y * w + x], b = smooth[y * w + x + 1], c = smooth[(y + 1) * w + x + 1], d = smooth[(y + 1) * w + x];
    const points = [];
    if (a > 0 !== b > 0) points.push([x + cut(a, b), y]);
    if (b > 0 !== c > 0) points.push([x + 1, y + cut(b, c)]);
    if (c > 0 !== d > 0) points.push([x + 1 - cut(c, d), y + 1]);
    if (d > 0 !== a > 0) points.push([x, y + 1 - cut(d, a)]);
    for (let k = 0; k + 1 < points.length; k += 2) segments.push([...points[k], ...points[k + 1]]);
  }
  return segments;
}

/** Field-weighted centres (x, y) of the pixels beyond +150 G and -150 G; null where a polarity is missing. */
export function centroids({ data, h, w }) {
  return [1, -1].map((sign) => {
    let sum = 0, sx = 0, sy = 0;
    for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
      const value = sign * data[y * w + x];
      if (value > THRESHOLD) { sum += value; sx += value * x; sy += value * y; }
    }
    return sum > 0 ? [sx / sum, sy / sum] : null;
  });
}

const NICE = [1, 2, 5, 10, 20, 50, 100, 200, 500];

/**
 * Draw a field into a canvas, fitted to its box.
 * options: limit, palette, stretch, pil, cen, scale ([y, x] Mm per pixel or null), cross ([x, y]), bar (draw the scale bar),
 * ratio (device pixels).
 */
export function draw(canvas, field, options) {
  const ratio = options.ratio ?? Math.max(1, window.devicePixelRatio || 1);
  const width = Math.max(2, Math.round((options.width ?? canvas.clientWidth) * ratio));
  // with a scale, the picture has the shape that the Sun has
  const [sy, sx] = options.scale ?? [1, 1];
  const height = Math.round((width * field.h * sy) / (field.w * sx));
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const g = canvas.getContext("2d");
  g.imageSmoothingEnabled = field.w > width;
  g.drawImage(image(field, options.limit, options.palette, options.stretch), 0, 0, width, height);
  const px = width / field.w, py = height / field.h;
  const at = ([x, y]) => [(x + 0.5) * px, height - (y + 0.5) * py];
  const unit = width / 560;
  if (options.pil) {
    const path = new Path2D();
    for (const [x0, y0, x1, y1] of inversionLine(field)) { path.moveTo(...at([x0, y0])); path.lineTo(...at([x1, y1])); }
    g.lineCap = "round";
    g.lineWidth = Math.max(2.4 * ratio, 3.6 * unit); g.strokeStyle = "rgba(0,0,0,.65)"; g.stroke(path);
    g.lineWidth = Math.max(1.3 * ratio, 1.9 * unit); g.strokeStyle = "#ffd21f"; g.stroke(path);
  }
  if (options.cen) drawCentroids(g, centroids(field), at, Math.max(8 * ratio, 9 * unit));
  if (options.cross) {
    const [x, y] = at(options.cross);
    g.lineWidth = ratio; g.strokeStyle = "#ff8a1f";
    g.strokeRect(x - px / 2 - ratio, y - py / 2 - ratio, px + 2 * ratio, py + 2 * ratio);
  }
  if (options.bar !== false) scaleBar(g, field, options.scale, width, height, px, ratio);
}

function drawCentroids(g, [plus, minus], at, size) {
  if (plus && minus) {
    g.lineWidth = size / 5; g.strokeStyle = "rgba(255,138,31,.9)"; g.setLineDash([size / 2, size / 2]);
    g.beginPath(); g.moveTo(...at(plus)); g.lineTo(...at(minus)); g.stroke(); g.setLineDash([]);
  }
  for (const [centre, sign] of [[plus, "+"], [minus, "−"]]) {
    if (!centre) continue;
    const [x, y] = at(centre);
    g.beginPath(); g.arc(x, y, size, 0, 7);
    g.fillStyle = sign === "+" ? "#fff" : "#111"; g.fill();
    g.lineWidth = size / 5; g.strokeStyle = "#ff8a1f"; g.stroke();
    g.fillStyle = sign === "+" ? "#111" : "#fff";
    g.font = `700 ${1.5 * size}px system-ui, sans-serif`; g.textAlign = "center"; g.textBaseline = "middle";
    g.fillText(sign, x, y + size * 0.06);
  }
}

function scaleBar(g, field, scale, width, height, px, ratio) {
  const per = scale ? scale[1] : 1, whole = field.w * per;
  const length = NICE.filter((n) => n <= whole / 4).pop() ?? 1, w = (length / per) * px;
  const x = 12 * ratio, y = height - 14 * ratio;
  const label = scale ? `${length} Mm` : `${length} px`;
  g.font = `600 ${12 * ratio}px system-ui, sans-serif`;
  g.fillStyle = "rgba(0,0,0,.55)";
  const box = Math.max(w, g.measureText(label).width) + 12 * ratio;
  g.fillRect(x - 6 * ratio, y - 21 * ratio, box, 29 * ratio);
  g.fillStyle = "#fff"; g.fillRect(x, y, w, 3 * ratio);
  g.textAlign = "left"; g.textBaseline = "alphabetic"; g.fillText(label, x, y - 5 * ratio);
}

/** The colours from -limit to limit, as a strip. */
export function colourBar(canvas, palette) {
  const g = canvas.getContext("2d"), strip = new ImageData(256, 1), colours = PALETTES[palette];
  for (let i = 0; i < 256; i++) strip.data.set([colours[3 * i], colours[3 * i + 1], colours[3 * i + 2], 255], 4 * i);
  const one = new OffscreenCanvas(256, 1);
  one.getContext("2d").putImageData(strip, 0, 0);
  g.drawImage(one, 0, 0, canvas.width, canvas.height);
}
