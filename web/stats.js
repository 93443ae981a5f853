// What the stream does, in numbers and over the last minute.

const KEPT = 240; // a minute at the server's pace of four a second
const WIDTH = 240;
const HEIGHT = 34;
const ms = (value) => (value === null ? "–" : `${Math.round(value)} ms`);

class Spark {
  constructor(id, title, unit) {
    this.box = document.getElementById(id);
    this.title = title;
    this.unit = unit;
    this.values = [];
    const size = `viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none"`;
    this.box.innerHTML = `<svg ${size} role="img"><path/></svg><span></span>`;
  }

  add(value) {
    if (value === null) return;
    this.values = [...this.values.slice(1 - KEPT), value];
    const ordered = [...this.values].sort((a, b) => a - b);
    const scale = Math.max(1.4 * ordered[Math.floor(0.95 * (ordered.length - 1))], 1e-9);
    const x = (k) => (WIDTH * (k + KEPT - this.values.length)) / (KEPT - 1);
    const y = (v) => HEIGHT - 2 - (HEIGHT - 4) * Math.min(v / scale, 1);
    const points = this.values.map((v, k) => `${x(k).toFixed(1)},${y(v).toFixed(1)}`);
    this.box.querySelector("path").setAttribute("d", `M${points.join("L")}`);
    const text = `${this.title} ${value.toFixed(0)} ${this.unit}`;
    const most = `most in the last minute: ${ordered.at(-1).toFixed(0)} ${this.unit}`;
    this.box.querySelector("span").textContent = text;
    this.box.querySelector("svg").setAttribute("aria-label", `${text}; ${most}`);
  }
}

export class Stats {
  constructor() {
    this.age = new Spark("spark-age", "Age", "ms");
    this.fps = new Spark("spark-fps", "Frames", "fps");
    this.shown = null;
  }

  render(state) {
    if (state === this.shown) return;
    this.shown = state;
    this.age.add(state.publisher ? state.age_p50_ms : null);
    this.fps.add(state.fps);
    if (!document.getElementById("stats").open) return;
    document.getElementById("numbers").replaceChildren(...Object.entries(numbers(state)).flatMap(([label, value]) => {
      const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
      dt.textContent = label;
      dd.textContent = value;
      return [dt, dd];
    }));
  }
}

// What is told in words: label -> value.
function numbers(state) {
  const skipped = Object.entries(state.skipped).filter(([, n]) => n).map(([why, n]) => `${why} ${n}`);
  const encoders = state.encoders.map((e) => `${e.codec.split("/")[1]} ${(e.bitrate_kbps / 1000).toFixed(1)} Mb/s`);
  return {
    Animated: `${state.fps.toFixed(0)} fps of ${state.rate_limit.toFixed(0)}`,
    "Age at send": `${ms(state.age_p50_ms)} · p95 ${ms(state.age_p95_ms)}`,
    "Stage time": `${ms(state.stage_p50_ms)} · p95 ${ms(state.stage_p95_ms)}`,
    "Frames in": state.frames_in,
    Skipped: skipped.join(", ") || "none",
    ...(state.recording && { Recording: told(state.recording) }),
    Viewers: [state.viewers, ...encoders].join(" · "),
  };
}

function told({ running, seconds, file, detail }) {
  return running ? `${seconds.toFixed(0)} s · ${file}` : detail || `saved as ${file}`;
}
