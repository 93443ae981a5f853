// Expressions that a press of a button or of a key shows, and the next one lets go: a strip of them, lit while they are on.

import { call } from "./control.js";

const $ = (id) => document.getElementById(id);
export const at = (name) => `/api/presets/${encodeURIComponent(name)}`;

export class Presets {
  constructor(control, attempt) {
    this.control = control;
    this.attempt = attempt;
    this.all = [];
    this.changes = 0; // of the presets, when they were loaded
    this.onload = () => {};
    $("expressions-off").addEventListener("click", attempt(() => this.clear()));
  }

  async load() {
    const all = await call("GET", "/api/presets");
    this.all = all.sort((a, b) => (a.hotkey ?? 10) - (b.hotkey ?? 10));
    $("expressions").replaceChildren(...this.all.map((preset) => this.button(preset)));
    this.onload();
    if (this.control.state) this.render(this.control.state);
  }

  button({ name, hotkey, own }) {
    const button = document.createElement("button");
    button.className = "small";
    button.dataset.expression = name;
    button.title = `${own ? "Your own expression" : "Expression"}${hotkey ? `; key ${hotkey}` : ""}`;
    if (hotkey) {
      const key = document.createElement("kbd");
      key.textContent = hotkey;
      key.ariaHidden = "true";
      button.append(key);
      button.setAttribute("aria-keyshortcuts", hotkey);
    }
    button.append(name);
    button.addEventListener("click", this.attempt(() => this.toggle(name)));
    return button;
  }

  toggle(name) {
    return this.control.send({ preset: { name, on: !this.control.state.presets.includes(name) } });
  }

  // The one with this key, 1 to 9.
  async press(hotkey) {
    const preset = this.all.find((each) => each.hotkey === hotkey);
    if (preset) await this.toggle(preset.name);
  }

  clear() {
    return this.control.send({ clear_shapes: true });
  }

  render({ presets, shapes, preset_changes: changes }) {
    if (changes !== this.changes) {
      this.changes = changes;
      this.load().catch(() => {}); // another page has changed them
    }
    for (const button of document.querySelectorAll("[data-expression]")) {
      button.setAttribute("aria-pressed", presets.includes(button.dataset.expression));
    }
    $("expressions-off").hidden = !presets.length && !Object.keys(shapes).length;
  }
}
