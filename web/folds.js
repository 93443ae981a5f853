// Sections that fold: which of them are open is remembered in this browser.

import { keep, kept } from "./kept.js";

export function rememberFolds() {
  for (const section of document.querySelectorAll("aside details")) {
    section.open = kept("folds", {})[section.id] ?? section.open;
    section.addEventListener("toggle", () => keep("folds", { ...kept("folds", {}), [section.id]: section.open }));
  }
}
