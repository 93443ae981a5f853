// A picture on a canvas that is zoomed and moved: by wheel, two fingers, drag, buttons and keys. What a click or Enter picks is told in
// the picture's own pixels.

const MOST = 16; // times as large as it fits
const STEP = 1.5;
const AROUND = 3; // times as much as the points surround
const STILL = 5; // CSS pixels that a pointer may move and still click
const REACH = 18; // CSS pixels around what can be dragged
const SHARE = { width: 0.8, height: 0.58 }; // of the window
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
export const ACCENT = "#ecb24a";

export class Viewer {
  // draw: called with the context and `at`, which turns a point of the picture into one of the canvas; pick: with a point;
  // key: with an event before the keys here, and true where it has dealt with it; grab: with a point at which a drag begins and
  // a distance: what takes the drag's points where there is something so near, else the picture moves.
  constructor(canvas, picture, { draw, pick, key = () => false, grab = () => null }) {
    Object.assign(this, { canvas, picture, draw, pick, grab, own: key, pressed: null, zoomed: 1 });
    this.fingers = new Map(); // where pointers are that press
    this.cursor = null; // where the keys are, in the picture's pixels
    this.ended = new AbortController();
    this.middle = [picture.width / 2, picture.height / 2];
    this.fit();
    const listen = (target, kind, work) => target.addEventListener(kind, work, { signal: this.ended.signal, passive: false });
    listen(canvas, "wheel", (event) => this.wheel(event));
    listen(canvas, "pointerdown", (event) => this.press(event));
    listen(canvas, "pointermove", (event) => this.move(event));
    listen(canvas, "pointerup", (event) => this.release(event));
    listen(canvas, "pointercancel", (event) => this.lift(event));
    listen(canvas, "keydown", (event) => this.key(event));
    listen(canvas, "blur", () => this.setCursor(null));
    listen(window, "resize", () => this.fit());
  }

  end() {
    this.ended.abort();
  }

  // The canvas has the picture's shape, and as many pixels as the screen.
  fit() {
    const { width, height } = this.picture;
    this.base = Math.min((innerWidth * SHARE.width) / width, (innerHeight * SHARE.height) / height);
    const ratio = devicePixelRatio || 1;
    Object.assign(this.canvas.style, { width: `${width * this.base}px`, height: `${height * this.base}px` });
    this.canvas.width = Math.round(width * this.base * ratio);
    this.canvas.height = Math.round(height * this.base * ratio);
    this.redraw();
  }

  // CSS pixels for each of the picture's.
  get scale() {
    return this.base * this.zoomed;
  }

  redraw() {
    const { canvas, picture, scale } = this;
    const context = canvas.getContext("2d");
    const ratio = canvas.width / (picture.width * this.base);
    const half = [canvas.width / ratio / 2, canvas.height / ratio / 2];
    this.middle = this.middle.map((at, k) => {
      const [seen, whole] = [half[k] / scale, k ? picture.height : picture.width];
      return Math.min(Math.max(at, seen), whole - seen);
    });
    const at = ([x, y]) => [(x - this.middle[0]) * scale + half[0], (y - this.middle[1]) * scale + half[1]];
    this.at = at;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.imageSmoothingEnabled = scale * ratio < 4;
    context.drawImage(picture, ...at([0, 0]), picture.width * scale, picture.height * scale);
    this.draw(context, at);
    if (this.cursor) cross(context, at(this.cursor));
  }

  // A point of the canvas, in CSS pixels from its corner, as one of the picture.
  pointAt(x, y) {
    const [left, top] = this.at([0, 0]);
    const clamp = (value, most) => Math.min(Math.max(value, 0), most);
    return [clamp((x - left) / this.scale, this.picture.width), clamp((y - top) / this.scale, this.picture.height)];
  }

  // Keep `fixed`, a point of the picture, where it is.
  zoom(factor, fixed = this.cursor ?? this.middle) {
    const before = this.scale;
    this.zoomed = Math.min(Math.max(this.zoomed * factor, 1), MOST);
    this.middle = fixed.map((at, k) => at + ((this.middle[k] - at) * before) / this.scale);
    this.redraw();
  }

  whole() {
    this.zoomed = 1;
    this.redraw(); // which leaves no choice of the middle
  }

  // Show what these points surround, and what is around it.
  show(points) {
    const ends = [0, 1].map((k) => [Math.min(...points.map((point) => point[k])), Math.max(...points.map((point) => point[k]))]);
    const room = ends.map(([low, high], k) => (k ? this.picture.height : this.picture.width) / Math.max(high - low, 1));
    this.middle = ends.map(([low, high]) => (low + high) / 2);
    this.zoomed = Math.min(Math.max(Math.min(...room) / AROUND, 1), MOST);
    this.redraw();
  }

  wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 300), this.pointAt(event.offsetX, event.offsetY));
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (this.fingers.size > 1) this.pressed = null; // neither a click nor a drag
    else this.pressed = { from: [event.offsetX, event.offsetY], middle: this.middle, moved: false };
  }

  move(event) {
    if (this.fingers.size === 2 && this.fingers.has(event.pointerId)) return this.pinch(event);
    if (!this.pressed) return;
    const { from, middle } = this.pressed;
    const [dx, dy] = [event.offsetX - from[0], event.offsetY - from[1]];
    if (!this.pressed.moved) {
      if (Math.hypot(dx, dy) <= STILL) return;
      Object.assign(this.pressed, { moved: true, carry: this.grab(this.pointAt(...from), REACH / this.scale) });
    }
    if (this.pressed.carry) return this.pressed.carry(this.pointAt(event.offsetX, event.offsetY));
    this.middle = [middle[0] - dx / this.scale, middle[1] - dy / this.scale];
    this.redraw();
  }

  pinch(event) {
    const apart = () => {
      const [[x, y], [u, v]] = this.fingers.values();
      return [Math.hypot(u - x, v - y) || 1, (x + u) / 2, (y + v) / 2];
    };
    const [before] = apart();
    this.fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    const [now, x, y] = apart();
    this.zoom(now / before, this.pointAt(x, y));
  }

  lift(event) {
    this.fingers.delete(event.pointerId);
    this.pressed = null;
  }

  release(event) {
    const click = this.pressed && !this.pressed.moved;
    this.lift(event);
    if (!click) return;
    this.setCursor(null);
    this.pick(this.pointAt(event.offsetX, event.offsetY));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.own(event)) return this.handled(event);
    if (ARROWS[event.key]) this.step(ARROWS[event.key], event.shiftKey ? 2 : 12);
    else if (event.key === "+" || event.key === "=") this.zoom(STEP);
    else if (event.key === "-") this.zoom(1 / STEP);
    else if (this.cursor && (event.key === "Enter" || event.key === " ")) this.pick(this.cursor);
    else return;
    this.handled(event);
  }

  handled(event) {
    event.preventDefault();
    event.stopPropagation();
  }

  // The cross goes on by so many CSS pixels, and the picture with it where it would leave.
  step([dx, dy], pixels) {
    const [x, y] = this.cursor ?? this.middle;
    this.setCursor([
      Math.min(Math.max(x + (dx * pixels) / this.scale, 0), this.picture.width),
      Math.min(Math.max(y + (dy * pixels) / this.scale, 0), this.picture.height),
    ]);
  }

  setCursor(point) {
    this.cursor = point;
    if (point) {
      const shown = [this.picture.width, this.picture.height].map((whole) => whole / this.zoomed / 2.5);
      this.middle = this.middle.map((at, k) => Math.min(Math.max(at, point[k] - shown[k]), point[k] + shown[k]));
    }
    this.redraw();
  }
}

function cross(context, [x, y]) {
  for (const [colour, width] of [["#000", 4], [ACCENT, 2]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: width });
    context.beginPath();
    for (const [dx, dy] of Object.values(ARROWS)) {
      context.moveTo(x + 4 * dx, y + 4 * dy);
      context.lineTo(x + 18 * dx, y + 18 * dy);
    }
    context.stroke();
  }
}
