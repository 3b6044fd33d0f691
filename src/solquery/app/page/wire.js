// From what the user touches to what the page does: mouse, keys, files, the address bar.

import { byId } from "./format.js";
import { notice } from "./tell.js";

const FIELDS = "input[type=text], input[type=number], input[type=date]";

/** act: what the page can do, by name (see main.js). */
export function wire(act) {
  const click = (id, work) => byId(id).addEventListener("click", work);
  byId("ask").addEventListener("submit", (event) => { if (event.defaultPrevented) return; event.preventDefault(); act.describe(byId("describe").value.trim()); });
  click("another", act.another);
  click("undo", () => act.go(-1));
  click("redo", () => act.go(1));
  click("reset", act.reset);
  click("compare", act.compare);
  click("stop", act.stop);
  click("theme", () => {
    const root = document.documentElement;
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("solquery-theme", root.dataset.theme); } catch { /* only for this visit, then */ }
    act.recolour();
  });
  const chosen = (name, change) => {
    for (const input of document.querySelectorAll(`[name=${name}]`)) input.addEventListener("change", () => act.prefer((look) => change(look, input.value)));
  };
  chosen("palette", (look, value) => { look.palette = value; look.limit = 0; });
  chosen("stretch", (look, value) => { look.stretch = value; });
  chosen("view", (look, value) => { look.view = value; });
  chosen("cards", (look, value) => { look.cards = value; });
  for (const input of document.querySelectorAll("[name=cards]")) input.addEventListener("change", act.arrange);
  byId("size").addEventListener("input", (event) => { act.prefer((look) => { look.size = Number(event.target.value); }); act.arrange(); });
  byId("sort").addEventListener("change", (event) => { act.prefer((look) => { look.sort = event.target.value; }); act.arrange(); });
  const changed = (id, change) => byId(id).addEventListener("change", (event) => act.prefer((look) => change(look, event.target)));
  changed("pil", (look, box) => { look.pil = box.checked; });
  changed("log", (look, box) => { look.log = box.checked; });
  changed("cen", (look, box) => { look.cen = box.checked; });
  changed("close-up", (look, box) => { look.close = box.checked; });
  changed("limit", (look, box) => { look.limit = Number(box.value); });
  changed("numbers", (look, box) => { look.numbers = box.value; });
  for (const [id, change] of [["cloud-x", (look, v) => { look.cloud[0] = v; }], ["cloud-y", (look, v) => { look.cloud[1] = v; }], ["map-p", (look, v) => { look.map = v; }]]) {
    changed(id, (look, box) => change(look, box.value));
    byId(id).addEventListener("change", act.map);
  }
  // what a mark says is a tip of the mouse; a finger gets it as a line
  document.addEventListener("click", (event) => { const mark = event.target.closest?.(".mark-"); if (mark?.title) notice(mark.title, "hint"); });
  files(act.openFile);
  addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.target.matches?.(FIELDS) || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    act.go(key === "y" || event.shiftKey ? 1 : -1);
  });
  // a link put into the address bar of this very page
  addEventListener("hashchange", act.follow);
  addEventListener("popstate", act.popped);
}

/** Before the page knows anything, what is typed and sent waits; gives what does it once it can be done. */
export function early() {
  const box = byId("describe");
  let sent = null, touched = box.value !== "";
  const wait = (event) => { event.preventDefault(); sent = box.value.trim(); byId("about").textContent = "Loading … what you asked for comes next"; };
  const touch = () => { touched = true; };
  byId("ask").addEventListener("submit", wait);
  box.addEventListener("input", touch);
  return (work) => {
    byId("ask").removeEventListener("submit", wait);
    box.removeEventListener("input", touch);
    if (sent !== null) return work(sent);
    return touched;
  };
}

/** A FITS file by button or dropped anywhere. */
function files(openFile) {
  byId("open").addEventListener("change", (event) => { openFile(event.target.files[0]); event.target.value = ""; });
  byId("open-label").addEventListener("click", () => byId("open").click());
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => { if (carries(event)) { event.preventDefault(); byId("drop").hidden = false; } });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) byId("drop").hidden = true; });
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    byId("drop").hidden = true;
    openFile(event.dataTransfer.files[0], event.dataTransfer.files.length);
  });
}
