// Sliders, switches and presets: made once, then kept equal to the state.

const SLIDERS = [
  ["pose_gain", "Head", 0, 2, 0.05], ["expression_gain", "Expression", 0, 2, 0.05], ["mouth_gain", "Mouth", 0, 2, 0.05],
  ["eyes_gain", "Eyes", 0, 2, 0.05], ["brows_gain", "Brows", 0, 2, 0.05], ["smoothing", "Smoothing", 0, 1, 0.05],
];
const PLAIN = { pose_gain: 1, expression_gain: 1, mouth_gain: 1, eyes_gain: 1, brows_gain: 1, smoothing: 0.5, region: "all", scale_lock: false };
const PRESETS = {
  Natural: PLAIN,
  Calm: { ...PLAIN, pose_gain: 0.6, expression_gain: 0.8, smoothing: 0.8, scale_lock: true },
  Lively: { ...PLAIN, expression_gain: 1.3, brows_gain: 1.4, smoothing: 0.3 },
  "Face only": { ...PLAIN, region: "exp" },
};
const KEPT = "puppetcast.presets";
const SPACING_MS = 80; // between the commands of a slider that is being moved

export class Panel {
  constructor(control, attempt) {
    this.control = control;
    this.attempt = attempt;
    document.getElementById("sliders").append(...SLIDERS.map((row) => this.slider(...row)));
    this.inputs = [...document.querySelectorAll("[data-key]")];
    for (const input of this.inputs) if (input.type !== "range") input.addEventListener("change", attempt(() => this.changed(input)));
    this.presets();
  }

  slider(key, title, min, max, step) {
    const label = document.createElement("label");
    label.className = "slider";
    const [text, value, input] = ["span", "output", "input"].map((tag) => document.createElement(tag));
    text.textContent = title;
    Object.assign(input, { type: "range", min, max, step, id: `slider-${key}` });
    label.htmlFor = input.id; // an output inside a label would be what it labels
    input.dataset.key = key;
    value.dataset.for = key;
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
    const [, , min, max, step] = SLIDERS.find((row) => row[0] === key);
    const value = Math.min(max, Math.max(min, this.control.puppet[key] + steps * step));
    await this.control.send({ [key]: Math.round(value * 100) / 100 });
  }

  own() {
    try {
      return JSON.parse(localStorage.getItem(KEPT)) || {};
    } catch {
      return {};
    }
  }

  presets() {
    const own = this.own();
    const button = (title, work, about) => {
      const element = document.createElement("button");
      element.className = "small";
      element.textContent = title;
      element.title = about;
      element.addEventListener("click", this.attempt(work));
      return element;
    };
    const all = Object.entries({ ...PRESETS, ...own }).map(([title, values]) => {
      const element = button(title, () => this.control.send(values), title in own ? "Your preset; right click removes it" : "Preset");
      element.dataset.preset = title;
      if (title in own) element.addEventListener("contextmenu", (event) => (event.preventDefault(), this.keep(title, null)));
      return element;
    });
    const save = button("Save…", () => {
      const title = prompt("Name of the preset")?.trim().slice(0, 24);
      if (title) this.keep(title, Object.fromEntries(Object.keys(PLAIN).map((key) => [key, this.control.puppet[key]])));
    }, "Keep the present settings in this browser");
    document.getElementById("presets").replaceChildren(...all, save);
  }

  keep(title, values) {
    const own = { ...this.own(), [title]: values };
    if (!values) delete own[title];
    localStorage.setItem(KEPT, JSON.stringify(own));
    this.presets();
  }

  render() {
    const { puppet, state } = this.control;
    for (const input of this.inputs) {
      input.disabled = !state || (state.lacks.includes(input.dataset.key) && !input.checked);
      if (!state || (document.activeElement === input && input.type === "number")) continue;
      const value = puppet[input.dataset.key];
      if (input.type === "checkbox") input.checked = value;
      else if (input.value !== String(value ?? "") && !input.matches(":active")) input.value = value ?? "";
    }
    for (const output of document.querySelectorAll("output[data-for]")) {
      if (state) output.textContent = puppet[output.dataset.for].toFixed(2);
    }
    for (const button of document.querySelectorAll("[data-preset]")) {
      const values = { ...PRESETS, ...this.own() }[button.dataset.preset] || {};
      button.setAttribute("aria-pressed", Boolean(state) && Object.entries(values).every(([key, value]) => puppet[key] === value));
    }
  }
}
