// Sliders, switches and presets: made once from the server's schema, then kept equal to the state.

import { askReplace } from "./ask.js";
import { keep, kept } from "./kept.js";
import { limits } from "./schema.js";

// What the page calls the keys, and their choices. One that has no name here is not shown; a choice shows its own.
const SLIDERS = {
  pose_gain: "Head", expression_gain: "Expression", mouth_gain: "Mouth", eyes_gain: "Eyes", brows_gain: "Brows",
  wrinkles_gain: "Wrinkles", smoothing: "Smoothing",
};
const CHOICES = {
  region: { all: "Everything", exp: "Expression", pose: "Head", lip: "Lips", eyes: "Eyes" },
  engine: { auto: "the best one here" },
};
// What presets set otherwise than the server's defaults, and which keys they set.
const PRESETS = {
  Natural: {},
  Calm: { pose_gain: 0.6, expression_gain: 0.8, smoothing: 0.8, scale_lock: true },
  Lively: { expression_gain: 1.3, brows_gain: 1.4, smoothing: 0.3 },
  "Face only": { region: "exp" },
};
const PRESET_KEYS = [...Object.keys(SLIDERS), "region", "scale_lock"];
const SPACING_MS = 80; // between the commands of a slider that is being moved

export class Panel {
  constructor(control, attempt) {
    this.control = control;
    this.attempt = attempt;
    this.schema = null;
    this.inputs = [...document.querySelectorAll("[data-key]")];
    for (const input of this.inputs) input.addEventListener("change", attempt(() => this.changed(input)));
    this.naming = document.getElementById("naming");
    this.naming.addEventListener("submit", (event) => {
      event.preventDefault();
      this.named();
    });
    this.naming.addEventListener("keydown", ({ key }) => key === "Escape" && this.unnamed());
    document.getElementById("naming-leave").addEventListener("click", () => this.unnamed());
  }

  // Give every control its limits and choices.
  build(schema) {
    this.schema = schema.puppet;
    for (const [key, titles] of Object.entries(CHOICES)) {
      const options = schema.change[key].enum.map((value) => new Option(titles[value] ?? value, value));
      document.getElementById(key).replaceChildren(...options);
    }
    for (const input of document.querySelectorAll("input[type=number][data-key]")) {
      Object.assign(input, limits(this.schema[input.dataset.key]));
    }
    const sliders = Object.entries(SLIDERS).filter(([key]) => key in this.schema);
    document.getElementById("sliders").replaceChildren(...sliders.map(([key, title]) => this.slider(key, title)));
    this.inputs = [...document.querySelectorAll("[data-key]")];
    this.presets();
  }

  // Say that there is nothing to build from.
  fail(reason) {
    const line = document.createElement("p");
    line.className = "bad";
    const why = reason.replace(/\.$/, "");
    line.textContent = `The sliders and lists could not be loaded (${why}). Reload the page to try again.`;
    document.getElementById("sliders").replaceChildren(line);
  }

  slider(key, title) {
    const label = document.createElement("label");
    label.className = "slider";
    const [text, value, input] = ["span", "output", "input"].map((tag) => document.createElement(tag));
    text.textContent = title;
    Object.assign(input, { type: "range", ...limits(this.schema[key]), id: `slider-${key}` });
    label.htmlFor = input.id; // an output inside a label would be what it labels
    label.title = this.schema[key].description;
    input.dataset.key = key;
    value.dataset.for = key;
    value.ariaLive = "off"; // the slider itself is read aloud
    const follow = this.follower(key);
    input.addEventListener("input", () => {
      this.control.want({ [key]: Number(input.value) });
      follow();
    });
    label.append(text, value, input);
    return label;
  }

  // Sends what a slider is at, once in SPACING_MS and one command after the other, so that none overtakes a newer one.
  follower(key) {
    const { wanted } = this.control;
    let busy = false;
    const follow = () => {
      if (busy) return;
      busy = true;
      setTimeout(send, SPACING_MS);
    };
    const send = this.attempt(async () => {
      try {
        if (wanted.has(key)) await this.control.send({ [key]: wanted.get(key)[0] }); // else a preset has come first
      } finally {
        busy = false;
        if (wanted.has(key)) follow();
      }
    });
    return follow;
  }

  async changed(input) {
    const { key } = input.dataset;
    const number = input.value === "" ? null : Number(input.value);
    const value = input.type === "checkbox" ? input.checked : input.tagName === "SELECT" ? input.value : number;
    await this.control.send({ [key]: value });
  }

  // Move a slider by a number of its steps.
  async nudge(key, steps) {
    if (!this.schema) return;
    const { min, max, step } = limits(this.schema[key]);
    const value = Math.min(max, Math.max(min, this.control.puppet[key] + steps * step));
    await this.control.send({ [key]: Math.round(value * 100) / 100 });
  }

  own() {
    return kept("presets", {});
  }

  // All presets by title: what each sets.
  values() {
    const keys = PRESET_KEYS.filter((key) => key in this.schema);
    const defaults = Object.fromEntries(keys.map((key) => [key, this.schema[key].default]));
    const given = Object.entries(PRESETS).map(([title, changes]) => [title, { ...defaults, ...changes }]);
    return { ...Object.fromEntries(given), ...this.own() };
  }

  presets() {
    const buttons = Object.entries(this.values()).flatMap(([title, values]) => this.preset(title, values));
    const save = this.button("Save…", "Keep the present settings in this browser", () => {
      this.naming.hidden = false;
      this.naming.elements[0].focus();
    });
    save.id = "preset-save";
    document.getElementById("presets").replaceChildren(...buttons, save);
  }

  // Keep the present settings under the name that was given.
  async named() {
    const title = this.naming.elements[0].value.trim();
    if (!title || (title in this.values() && !(await askReplace("a preset", title, title in this.own())))) return;
    const keys = PRESET_KEYS.filter((key) => key in this.schema);
    this.keep(title, Object.fromEntries(keys.map((key) => [key, this.control.puppet[key]])));
    this.unnamed();
  }

  unnamed() {
    this.naming.reset();
    this.naming.hidden = true;
    document.getElementById("preset-save").focus();
  }

  // The buttons of one: an own one has a second, which removes it.
  preset(title, values) {
    const own = title in this.own();
    const button = this.button(title, own ? "Your preset; the Delete key removes it, too" : "Preset", () => this.control.send(values));
    button.dataset.preset = title;
    if (!own) return [button];
    const remove = this.button("×", `Remove the preset “${title}”`, () => this.remove(title));
    remove.ariaLabel = remove.title;
    remove.classList.add("remove");
    button.addEventListener("keydown", ({ key }) => key === "Delete" && this.remove(title));
    return [button, remove];
  }

  remove(title) {
    this.keep(title, null);
    document.querySelector("#presets button").focus();
  }

  button(title, about, work) {
    const button = document.createElement("button");
    button.className = "small";
    button.textContent = title;
    button.title = about;
    button.addEventListener("click", this.attempt(work));
    return button;
  }

  keep(title, values) {
    const own = { ...this.own(), [title]: values };
    if (!values) delete own[title];
    keep("presets", own);
    this.presets();
  }

  render() {
    const { puppet, state } = this.control;
    for (const input of this.inputs) {
      input.disabled = !state || (state.lacks.includes(input.dataset.key) && !input.checked);
      if (state) this.show(input, puppet[input.dataset.key]);
    }
    if (state && this.schema) this.renderPresets(puppet);
    const grey = this.inputs.some((input) => state?.lacks.includes(input.dataset.key) && input.disabled);
    document.getElementById("lacks").hidden = !grey;
    if (grey) document.getElementById("lacks").textContent = `The engine “${state.engine}” cannot do what is greyed out.`;
  }

  show(input, value) {
    if (input.type === "checkbox") {
      input.checked = value;
      return;
    }
    const output = document.querySelector(`output[data-for=${input.dataset.key}]`);
    if (output) output.textContent = value.toFixed(2);
    const inHand = input.type === "number" ? document.activeElement === input : input.matches(":active");
    // Writing even the same value moves the mark in an open list.
    if (!inHand && input.value !== String(value ?? "")) input.value = value ?? "";
  }

  renderPresets(puppet) {
    const values = this.values();
    for (const button of document.querySelectorAll("[data-preset]")) {
      const settings = Object.entries(values[button.dataset.preset] ?? {});
      button.setAttribute("aria-pressed", settings.every(([key, value]) => puppet[key] === value));
    }
  }
}
