// Matches as text to take away: CSV, lists of records, lines of the command line.

/** HARPNUM and T_REC of the observations among matches, one a line, for a script. */
export const recordList = (matches) => matches.filter((m) => m.record_set).map((m) => `${m.harpnum}\t${m.t_rec}`).join("\n");
/** The lines that get the observations among matches. */
export const fetchLines = (matches) => [...new Set(matches.map((m) => m.fetch).filter(Boolean))].join("\n");

/** Names of what limits the numbers of a record. */
const limits = (record) => (record.caveats ?? []).map((one) => one.name).join(" ");

const cell = (v) => {
  const text = v === null || v === undefined ? "" : Array.isArray(v) ? v.join(" ") : String(v);
  // a text that a spreadsheet would run as a formula
  const safe = typeof v === "string" && /^[=+@\t-]/.test(text) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
};

/** Patches that were kept, as CSV: parameters native and on the grid. */
export function keptCsv(records) {
  const names = Object.keys(records[0].grid), of = (kind, n) => records.map((r) => r[kind][n]?.unit).find(Boolean);
  const named = (text, u) => `${text}${u ? ` [${u}]` : ""}`;
  const head = ["id", "region", "source", "time_utc", "t_rec", "harpnum", "noaa", "latitude_deg", "longitude_deg", "mu", "quantity", "quality", "caveats", ...names.map((n) => named(n, of("parameters", n))), ...names.map((n) => named(`grid_${n}`, of("grid", n)))];
  const rows = records.map((r) => [r.id, r.region, r.source, r.t_utc, r.t_rec, r.harpnum, r.noaa, r.latitude_deg, r.longitude_deg, r.mu, r.quantity, r.quality, limits(r), ...names.map((n) => r.parameters[n]?.value), ...names.map((n) => r.grid[n]?.value)]);
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** The matches as CSV: parameters native, on the grid, and less the query's there, with their units in the head. */
export function csv(matches) {
  if (!matches.length) return "";
  const names = Object.keys(matches[0].grid), apart = Object.keys(matches[0].difference);
  const native = names.map((n) => [n, matches.map((m) => m.parameters[n]?.unit).find(Boolean) ?? ""]);
  const head = ["rank", "id", "region", "source", "distance", "time_utc", "t_rec", "harpnum", "noaa", "latitude_deg", "longitude_deg", "mu", "quantity", "quality", "caveats",
    ...native.map(([n, u]) => `${n}${u ? ` [${u}]` : ""}`), ...names.map((n) => `grid_${n}${matches[0].grid[n].unit ? ` [${matches[0].grid[n].unit}]` : ""}`),
    ...apart.map((n) => `difference_${n}${matches[0].difference[n].unit ? ` [${matches[0].difference[n].unit}]` : ""}`)];
  const rows = matches.map((m) => [m.rank, m.id, m.region, m.source, m.distance, m.t_utc, m.t_rec, m.harpnum, m.noaa, m.latitude_deg, m.longitude_deg, m.mu, m.quantity, m.quality, limits(m),
    ...names.map((n) => m.parameters[n]?.value), ...names.map((n) => m.grid[n]?.value), ...apart.map((n) => m.difference[n]?.value)]);
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}
