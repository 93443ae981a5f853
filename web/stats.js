// What the stream does, in numbers and over the last minute.

const KEPT = 240; // a minute at the server's pace of four a second
const WIDTH = 240;
const HEIGHT = 34;
const NONE = "–"; // where nothing drives, old numbers would be untrue
const ms = (value) => (value === null ? NONE : `${Math.round(value)} ms`);
const $ = (id) => document.getElementById(id);

export const tracking = ({ tracker }) => (tracker === "cascade" ? "rough" : "good");

class Spark {
  constructor(id, title, unit) {
    this.box = $(id);
    this.title = title;
    this.unit = unit;
    this.values = [];
    const size = `viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none"`;
    this.box.innerHTML = `<svg ${size} role="img"><path/></svg><span></span>`;
  }

  add(value) {
    if (value === null) return this.tell(NONE);
    this.values = [...this.values.slice(1 - KEPT), value];
    const ordered = [...this.values].sort((a, b) => a - b);
    const scale = Math.max(1.4 * ordered[Math.floor(0.95 * (ordered.length - 1))], 1e-9);
    const x = (k) => (WIDTH * (k + KEPT - this.values.length)) / (KEPT - 1);
    const y = (v) => HEIGHT - 2 - (HEIGHT - 4) * Math.min(v / scale, 1);
    const points = this.values.map((v, k) => `${x(k).toFixed(1)},${y(v).toFixed(1)}`);
    this.box.querySelector("path").setAttribute("d", `M${points.join("L")}`);
    this.tell(`${value.toFixed(0)} ${this.unit}`, `; most in the last minute: ${ordered.at(-1).toFixed(0)} ${this.unit}`);
  }

  tell(value, most = "") {
    this.box.querySelector("span").textContent = `${this.title} ${value}`;
    this.box.querySelector("svg").setAttribute("aria-label", `${this.title} ${value}${most}`);
  }
}

export class Stats {
  constructor() {
    this.age = new Spark("spark-age", "Delay", "ms");
    this.fps = new Spark("spark-fps", "Pictures", "a second");
    this.shown = null;
  }

  render(state) {
    if (state === this.shown) return;
    this.shown = state;
    this.age.add(state.publisher ? state.age_p50_ms : null);
    this.fps.add(state.publisher ? state.fps : null);
    if ($("stats").open) list($("numbers"), numbers(state));
    if ($("stats").open && $("more-numbers").open) list($("expert-numbers"), expertNumbers(state));
  }
}

// rows: label -> value.
function list(box, rows) {
  box.replaceChildren(...Object.entries(rows).flatMap(([label, value]) => {
    const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
    dt.textContent = label;
    dd.textContent = value;
    return [dt, dd];
  }));
}

function numbers(state) {
  const { recording } = state;
  return {
    "Face tracking": tracking(state),
    Viewers: state.viewers,
    ...(recording && { Recording: told(recording) }),
  };
}

function expertNumbers(state) {
  const { publisher } = state;
  const skipped = Object.entries(state.skipped).filter(([, n]) => n).map(([why, n]) => `${why} ${n}`);
  const encoders = state.encoders.map((e) => `${e.codec.split("/")[1]} ${(e.bitrate_kbps / 1000).toFixed(1)} Mb/s`);
  const times = (what) => (publisher ? `${ms(state[`${what}_p50_ms`])} · p95 ${ms(state[`${what}_p95_ms`])}` : NONE);
  return {
    Engine: state.engine,
    Tracker: state.tracker,
    "Frame rate, at most": publisher ? `${state.rate_limit.toFixed(0)} fps` : NONE,
    "Age at send": times("age"),
    "Stage time": times("stage"),
    "Frames in": state.frames_in,
    Skipped: skipped.join(", ") || "none",
    Encoders: encoders.join(", ") || "none",
  };
}

function told({ running, seconds, file, detail }) {
  return running ? `${seconds.toFixed(0)} s · ${file}` : detail || `saved as ${file}`;
}
