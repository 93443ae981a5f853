// Asks where the face of a picture is, by five points, or which of several faces is to move.

import { ACCENT, Viewer } from "./viewer.js";

const POINTS = ["the middle of the eye on the left", "the middle of the eye on the right", "the tip of the nose",
  "the corner of the mouth on the left", "the corner of the mouth on the right"];
const LINES = [[0, 1], [0, 2], [1, 2], [2, 3], [2, 4], [3, 4]];
const $ = (id) => document.getElementById(id);

// The dialog with a picture in it. begin: called with what shows and ends it; it gives what is drawn, picked and undone.
function asked(title, picture, begin) {
  const dialog = $("marker");
  return new Promise((resolve) => {
    let viewer;
    const ended = new AbortController();
    const done = (result) => {
      ended.abort();
      viewer.end();
      dialog.close();
      resolve(result);
    };
    const say = (text) => ($("ask").textContent = text);
    $("marker-problem").textContent = "";
    const told = begin({ say, redraw: () => viewer.redraw(), cursor: (point) => viewer.setCursor(point), whole: () => viewer.whole(), done });
    $("marker-title").textContent = title;
    $("marker-keys").textContent = `Wheel, + and − zoom; dragging moves the picture. ${told.keys}`;
    $("undo").hidden = $("anew").hidden = $("marked").hidden = !told.undo;
    dialog.showModal(); // before the canvas is measured
    viewer = new Viewer($("canvas"), picture, told);
    const listen = (target, kind, work) => target.addEventListener(kind, work, { signal: ended.signal });
    listen($("nearer"), "click", () => viewer.zoom(1.5));
    listen($("farther"), "click", () => viewer.zoom(1 / 1.5));
    listen($("undo"), "click", () => told.undo());
    listen($("anew"), "click", () => told.anew());
    listen($("marked"), "click", () => told.finish());
    listen($("cancel"), "click", () => done(null));
    listen(dialog, "cancel", () => done(null));
    listen(dialog, "keydown", (event) => {
      const undo = event.key === "Backspace" || (event.key === "z" && (event.ctrlKey || event.metaKey));
      if (!undo || !told.undo) return;
      told.undo();
      event.preventDefault();
    });
    if (told.shown?.length) viewer.show(told.shown);
    $("canvas").focus();
  });
}

// The five points that place a face in a picture, in its pixels; null where the user gives up. given: points to begin with;
// problem: what is wrong with them.
export function mark(title, picture, given = [], problem = "") {
  let points = given;
  let taken = null; // the number of the point that a key has taken up
  const before = []; // what can be undone
  return asked(title, picture, ({ say, redraw, done, cursor, whole }) => {
    const tell = () => {
      const { length } = points;
      say(taken !== null ? `Point ${taken + 1}, ${POINTS[taken]}: arrow keys move the cross, Enter places it.`
        : length < POINTS.length ? `${length + 1} of ${POINTS.length}: click ${POINTS[length]}.`
          : "Are all five in the right place? Drag any that is not, or click where it should be.");
      $("undo").disabled = !before.length;
      $("anew").disabled = !length;
      $("marked").disabled = length < POINTS.length;
    };
    const set = (now) => {
      [points, taken] = [now, null];
      $("marker-problem").textContent = "";
      tell();
      redraw();
    };
    const change = (now) => {
      before.push(points);
      set(now);
    };
    const moved = (k, point) => points.map((each, i) => (i === k ? point : each));
    const place = (point) => {
      if (taken === null && points.length < POINTS.length) return [...points, point];
      return moved(taken ?? nearest(points.map((each) => [...each, 0, 0]), point), point);
    };
    tell();
    $("marker-problem").textContent = plain(problem);
    return {
      shown: problem ? given : [], // else the face may be anywhere: where it was found is what may be wrong
      keys: "Arrow keys move the cross, Enter places a point, 1 to 5 pick one up, Backspace undoes the last step.",
      draw: (context, at) => drawPoints(context, points.map(at), taken),
      pick: (point) => change(place(point)),
      grab: (from, reach) => {
        const k = nearest(points.map((each) => [...each, 0, 0]), from);
        if (k < 0 || Math.hypot(points[k][0] - from[0], points[k][1] - from[1]) > reach) return null;
        change(points);
        return (point) => set(moved(k, point));
      },
      key: ({ key }) => {
        if (!points[key - 1]) return false;
        taken = key - 1;
        tell();
        cursor(points[taken]);
        return true;
      },
      undo: () => before.length && set(before.pop()),
      anew: () => {
        change([]);
        whole();
      },
      finish: () => done(points),
    };
  });
}

// "cat.jpg: marks: the eyes are …" without what the dialog's title says.
const plain = (problem) => problem.replace(/^.*: marks: (.)/, (_, first) => first.toUpperCase());

// Which of several faces is to move: its index, or null. faces: x, y, width, height as shares of the picture.
export function chooseFace(title, picture, faces, now) {
  const boxes = faces.map(([x, y, width, height]) =>
    [x * picture.width, y * picture.height, width * picture.width, height * picture.height]);
  let chosen = now;
  return asked(title, picture, ({ say, redraw, done }) => {
    say("Click the face you want to move.");
    return {
      keys: "Left and right move between faces, Enter picks one.",
      draw: (context, at) => boxes.forEach((box, k) => drawBox(context, at, box, k === chosen, k + 1)),
      pick: (point) => done(nearest(boxes, point)),
      key: ({ key }) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
        if (key === "Enter") done(chosen);
        else if (step) {
          chosen = (chosen + step + boxes.length) % boxes.length;
          say(`Face ${chosen + 1} of ${boxes.length}; Enter picks it.`);
          redraw();
        }
        return key === "Enter" || Boolean(step);
      },
    };
  });
}

function nearest(boxes, [x, y]) {
  const away = boxes.map(([left, top, width, height]) => Math.hypot(x - left - width / 2, y - top - height / 2));
  return away.indexOf(Math.min(...away)); // -1 of none
}

// taken: the number of the one that is to be put elsewhere.
function drawPoints(context, points, taken) {
  for (const [colour, width] of [["#000a", 5], [ACCENT, 2]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: width });
    context.beginPath();
    for (const [from, to] of LINES.filter((line) => line.every((k) => points[k]))) {
      context.moveTo(...points[from]);
      context.lineTo(...points[to]);
    }
    context.stroke();
  }
  for (const [radius, colour] of [[7, "#000"], [5, ACCENT]]) {
    context.fillStyle = colour;
    for (const [x, y] of points) {
      context.beginPath();
      context.arc(x, y, radius, 0, 7);
      context.fill();
    }
  }
  points.forEach(([x, y], k) => drawNumber(context, k + 1, [x + 9, y - 7], k === taken));
}

function drawNumber(context, number, place, chosen) {
  Object.assign(context, { font: "600 16px system-ui", fillStyle: chosen ? ACCENT : "#fff", strokeStyle: "#000", lineWidth: 4 });
  context.strokeText(number, ...place);
  context.fillText(number, ...place);
}

function drawBox(context, at, [left, top, width, height], chosen, number) {
  const [x, y] = at([left, top]);
  const [right, bottom] = at([left + width, top + height]);
  for (const [colour, wide] of [["#000", chosen ? 7 : 4], [chosen ? ACCENT : "#fff", chosen ? 4 : 2]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: wide });
    context.strokeRect(x, y, right - x, bottom - y);
  }
  drawNumber(context, number, [x, y < 20 ? bottom + 18 : y - 6], chosen);
}
