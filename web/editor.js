// The editor of expressions: sliders whose pose the puppet on the stage shows at once, to be kept as an expression or a picture.

import { ask, askReplace } from "./ask.js";
import { call, failure } from "./control.js";
import { at } from "./presets.js";
import { authorized } from "./rtc.js";

// What the page calls the server's sliders, in groups.
const GROUPS = {
  Head: { yaw: "Turn", pitch: "Nod", roll: "Tilt" },
  "Eyes and brows": {
    gazeX: "Look sideways", gazeY: "Look up, down", blinkLeft: "Left lid", blinkRight: "Right lid", brows: "Brows",
  },
  Mouth: { smile: "Smile", frown: "Frown", mouthOpen: "Open mouth", pucker: "Pucker", puff: "Puffed cheeks" },
};
// A name that the server takes, and why else it does not keep an expression.
const NAME = /^[\p{L}\p{N}_]([\p{L}\p{N}_ '&+-]{0,22}[\p{L}\p{N}_+])?$/u;
const REFUSED = {
  BadPreset: "The server does not take that name. Choose another one.",
  PresetsFull: "The server keeps no more expressions. Delete one of yours first.",
  CannotKeep: "The server could not write that down: its disk may be full.",
  UnknownPreset: "That expression was deleted meanwhile.",
};
const SPACING_MS = 60; // between the commands of a slider that is being moved
const $ = (id) => document.getElementById(id);
const clamp = (value, { least, most }) => Math.min(most, Math.max(least, value));
const isDegrees = ({ most }) => most > 1;

export class Editor {
  // live: where the stream's pictures are.
  constructor(control, presets, live, attempt) {
    Object.assign(this, { control, presets, live, attempt, shapes: null, sliders: null, pose: {}, busy: false, waiting: false });
    this.held = false; // whether the puppet shows the sliders' pose for this page
    this.seen = "{}"; // what was held by number when the sliders were last set to it, as JSON
    this.section = $("editor");
    presets.onload = () => this.choices();
    this.section.addEventListener("toggle", attempt(() => (this.section.open ? this.open() : this.letGo())));
    $("pose-from").addEventListener("change", attempt(() => this.from($("pose-from").value)));
    $("pose-reset").addEventListener("click", attempt(() => this.reset()));
    $("pose-picture").addEventListener("click", attempt(() => this.savePicture()));
    $("pose-delete").addEventListener("click", attempt(() => this.delete()));
    $("pose-form").addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(() => this.save())();
    });
    addEventListener("pagehide", () => this.letGo());
  }

  async open() {
    if (this.sliders) return;
    ({ shapes: this.shapes, sliders: this.sliders } = await call("GET", "/api/shapes"));
    const groups = Object.entries(GROUPS).map(([title, sliders]) => this.group(title, sliders));
    $("pose-sliders").replaceChildren(...groups);
    this.show();
    if (this.control.state) this.render(this.control.state);
  }

  // What is held on the stream, by whomever; not while this page's own is on its way there.
  render({ shapes }) {
    const held = JSON.stringify(shapes);
    if (!this.sliders || this.waiting || this.control.wanted.has("shapes") || held === this.seen) return;
    this.seen = held;
    this.take(shapes);
    this.show();
  }

  group(title, sliders) {
    const [group, legend] = ["fieldset", "legend"].map((tag) => document.createElement(tag));
    legend.textContent = title;
    const known = Object.entries(sliders).filter(([name]) => name in this.sliders);
    group.append(legend, ...known.map(([name, text]) => this.slider(name, text)));
    return group;
  }

  slider(name, title) {
    const [label, text, value, input] = ["label", "span", "output", "input"].map((tag) => document.createElement(tag));
    const { least, most } = this.sliders[name];
    label.className = "slider";
    label.htmlFor = input.id = `pose-${name}`;
    label.title = "Double-click, or press Delete, to reset";
    text.textContent = title;
    value.ariaLive = "off"; // the slider itself is read aloud
    value.dataset.pose = name;
    Object.assign(input, { type: "range", min: least, max: most, step: isDegrees(this.sliders[name]) ? 1 : 0.02 });
    input.addEventListener("input", () => this.set(name, Number(input.value)));
    const reset = () => this.set(name, 0);
    input.addEventListener("dblclick", reset);
    input.addEventListener("keydown", ({ key }) => ["Delete", "Backspace"].includes(key) && reset());
    label.append(text, value, input);
    return label;
  }

  // Where a slider is, of what its shapes are at: those that its negative half moves count against it.
  value(name) {
    const mean = (parts) => parts.reduce((sum, part) => sum + part, 0) / (parts.length || 1);
    const ways = Object.entries(this.sliders[name].shapes).map(([shape, factor]) => [factor, (this.pose[shape] ?? 0) / factor]);
    const [up, down] = [1, -1].map((sign) => mean(ways.filter(([factor]) => factor * sign > 0).map(([, part]) => part)));
    return clamp(up + down, this.sliders[name]);
  }

  set(name, value) {
    for (const [shape, factor] of Object.entries(this.sliders[name].shapes)) {
      this.pose[shape] = clamp(factor * value, this.shapes[shape]);
      if (!this.pose[shape]) delete this.pose[shape];
    }
    this.show();
    this.hold();
  }

  // Take shapes, or sliders, by name.
  take(named) {
    this.pose = {};
    for (const [name, value] of Object.entries(named)) {
      const parts = this.sliders[name]?.shapes ?? { [name]: 1 };
      for (const [shape, factor] of Object.entries(parts)) if (value) this.pose[shape] = clamp(factor * value, this.shapes[shape]);
    }
  }

  show() {
    $("pose-said").textContent = "";
    for (const output of document.querySelectorAll("[data-pose]")) {
      const name = output.dataset.pose;
      const value = this.value(name);
      const degrees = isDegrees(this.sliders[name]);
      const text = (degrees ? `${Math.round(value)}°` : `${Math.round(100 * value)} %`).replace("-", "−");
      output.textContent = text;
      const input = $(`pose-${name}`);
      if (Number(input.value) !== value) input.value = value;
      input.setAttribute("aria-valuetext", text);
    }
  }

  // Let the puppet show the pose and nothing else, of the newest one where they come fast.
  hold() {
    this.waiting = true;
    if (this.busy) return;
    this.busy = true;
    setTimeout(this.attempt(async () => {
      try {
        const wanted = this.waiting; // else the puppet was let go meanwhile
        this.waiting = false;
        if (wanted) await this.send();
      } finally {
        this.busy = false;
        if (this.waiting) this.hold();
      }
    }), SPACING_MS);
  }

  async send() {
    const whole = Object.fromEntries(Object.entries(this.shapes).map(([name, { region }]) => [region, name])); // one of each
    const still = Object.fromEntries(Object.values(whole).map((name) => [name, 0]));
    const shapes = { ...still, ...this.pose };
    this.held = true;
    this.seen = JSON.stringify(shapes);
    await this.control.send({ shapes });
  }

  async letGo() {
    this.waiting = false;
    if (!this.held) return;
    this.held = false;
    this.seen = "{}"; // the sliders stay where they are
    await this.control.send({ shapes: {} });
  }

  async reset() {
    this.pose = {};
    this.held ||= this.seen !== "{}"; // what others hold goes, too
    $("pose-from").value = "";
    this.choose("");
    this.show();
    await this.letGo();
  }

  // What can be begun from, and the keys that an expression can have.
  choices() {
    const { all } = this.presets;
    const before = $("pose-from").value;
    $("pose-from").replaceChildren(new Option("The face at rest", ""), ...all.map(({ name }) => new Option(name)));
    $("pose-from").value = all.some(({ name }) => name === before) ? before : "";
    const keys = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((key) => {
      const on = all.find(({ hotkey }) => hotkey === key);
      return new Option(`Key ${key}${on ? `, now ${on.name}` : ""}`, key);
    });
    const key = $("pose-key").value;
    $("pose-key").replaceChildren(new Option("No key", ""), ...keys);
    $("pose-key").value = key;
    this.choose($("pose-from").value);
  }

  choose(name) {
    $("pose-delete").hidden = !this.presets.all.find((each) => each.name === name)?.own;
  }

  async from(name) {
    if (!name) return this.reset();
    const preset = this.presets.all.find((each) => each.name === name);
    this.take(preset.shapes);
    $("pose-name").value = name;
    $("pose-mode").value = preset.mode;
    $("pose-key").value = preset.hotkey ?? "";
    this.choose(name);
    this.show();
    await this.send();
  }

  async save() {
    const name = $("pose-name").value.trim();
    $("pose-said").textContent = "";
    if (!Object.keys(this.pose).length) throw new Error("The face is at rest: move a slider first.");
    this.check(name);
    const there = name !== $("pose-from").value && this.presets.all.find((each) => each.name === name);
    if (there && !(await askReplace("an expression", name, there.own))) return;
    const key = $("pose-key").value;
    const preset = { version: 1, shapes: this.pose, mode: $("pose-mode").value };
    await this.change("PUT", `${at(name)}${key && `?hotkey=${key}`}`, preset);
    $("pose-from").value = name;
    this.choose(name);
    $("pose-said").textContent = `Saved as “${name}”.`;
  }

  // Throws what is wrong with a name, and what would be right.
  check(name) {
    const twin = this.presets.all.find((each) => each.name !== name && each.name.toLowerCase() === name.toLowerCase());
    if (twin) throw new Error(`There is “${twin.name}” already. Write it just so to replace it, or choose another name.`);
    if (!NAME.test(name)) {
      throw new Error("A name has letters, digits, spaces and ' & + - in it, and begins and ends with a letter or a digit.");
    }
  }

  // Keeps or deletes one on the server; what it refuses is said in a person's words.
  async change(...request) {
    try {
      await call(...request);
    } catch (problem) {
      throw failure(REFUSED[problem.code] ?? problem.message, problem.code);
    }
    await this.presets.load();
  }

  async delete() {
    const name = $("pose-from").value;
    if (!(await ask(`Delete the expression “${name}”? This cannot be undone.`, "Delete it"))) return;
    await this.change("DELETE", at(name));
    await this.reset();
    $("pose-from").focus();
  }

  async savePicture() {
    const reply = await fetch(`${this.live}/snapshot.png`, { headers: authorized() });
    if (!reply.ok) throw new Error((await reply.json()).detail);
    const url = URL.createObjectURL(await reply.blob());
    Object.assign(document.createElement("a"), { href: url, download: `${$("pose-from").value || "pose"}.png` }).click();
    URL.revokeObjectURL(url);
  }
}
