// Before the first paint: the theme the user chose, else the system's.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("solquery-theme"); } catch { /* storage may be forbidden */ }
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
