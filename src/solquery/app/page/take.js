// Taking it away: FITS, CSV, PNG, the link, and the lines that do the same without the page.

import { getBlob, postBlob } from "./api.js";
import { byId } from "./format.js";
import { patchOf } from "./matches.js";
import { csv, fetchLines, keptCsv, recordList } from "./tables.js";

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function copy(text) {
  try { await navigator.clipboard.writeText(text); return true; } catch { /* not on plain http from elsewhere */ }
  const area = document.createElement("textarea");
  area.value = text;
  byId("take-box").append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

/** context() → {query, matches, recipe, name, kept, list, sheet}; stage for the PNG. */
export function setUp(context, stage) {
  const box = byId("take-box"), said = byId("take-said");
  // another address than this machine's, where the server was told one
  const shared = () => (context().publicUrl ? new URL(location.hash, context().publicUrl).href : location.href);
  const tell = (text) => { said.textContent = text; };
  byId("take").addEventListener("click", () => {
    const { recipe, python } = context();
    byId("code-python").textContent = recipe?.python || python || "Nothing to repeat yet.";
    byId("code-cli").textContent = recipe?.cli || "Without an archive there is nothing to search: solquery app --archive DIR";
    tell("");
    box.showModal();
  });
  const doing = (id, work) => byId(id).addEventListener("click", async () => {
    try { tell(await work()); } catch (error) { tell(error.message); }
  });
  doing("get-fits", async () => {
    const { query, name } = context();
    const own = query.kind !== "z";
    save(own ? await getBlob(`/api/patch/${encodeURIComponent(query.id)}?format=fits`) : await postBlob("/api/edit?format=fits", { z: query.z }), `${name}.fits`);
    return own ? "Saved, at native scale." : "Saved. Its header says SOURCE = 'generated'; NOMINAL lists what of place and scale it does not have.";
  });
  doing("get-csv", async () => {
    const { matches, name } = context();
    if (!matches.length) return "There are no matches to save.";
    save(new Blob([csv(matches)], { type: "text/csv" }), `${name}-matches.csv`);
    return "Saved: parameters at native scale, how they differ from the query's as difference_…, and those on the grid of the model as grid_….";
  });
  doing("get-png", async () => { save(await stage.png(), `${context().name}.png`); return "Saved."; });
  doing("get-link", async () => ((await copy(shared())) ? "Copied. With the same model and archive the link shows the same." : "The browser does not let the page copy; take the link from the address bar."));
  doing("get-kept", async () => {
    const { kept, list } = context();
    if (!kept.length) return "Nothing is kept; star a match.";
    const records = await Promise.all(kept.map(async (id) => (await patchOf(id)).document));
    save(new Blob([keptCsv(records)], { type: "text/csv" }), `${list}.csv`);
    return `Saved: ${kept.length} patches, their parameters at native scale and on the grid.`;
  });
  doing("get-sheet", async () => {
    const { sheet, list } = context(), blob = await sheet();
    if (!blob) return "Nothing is kept; star a match.";
    save(blob, `${list}.png`);
    return "Saved.";
  });
  const lines = (id, of, what) => doing(id, async () => {
    const text = of(context().matches);
    if (!text) return "No match is a SHARP observation.";
    return (await copy(text)) ? `Copied ${text.split("\n").length} ${what}.` : text;
  });
  lines("get-list", recordList, "lines of HARPNUM and T_REC");
  lines("get-fetch", fetchLines, "lines of the command line");
  for (const button of box.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => tell((await copy(byId(button.dataset.copy).textContent)) ? "Copied." : "The browser does not let the page copy; select the text."));
  }
}
