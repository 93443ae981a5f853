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
    const told = begin({ say: (text) => ($("ask").textContent = text), redraw: () => viewer.redraw(), done });
    $("marker-title").textContent = title;
    $("marker-keys").textContent = `Wheel, + and − zoom; dragging moves the picture. ${told.keys}`;
    $("undo").hidden = $("marked").hidden = !told.undo;
    dialog.showModal(); // before the canvas is measured
    viewer = new Viewer($("canvas"), picture, told);
    const listen = (target, kind, work) => target.addEventListener(kind, work, { signal: ended.signal });
    listen($("nearer"), "click", () => viewer.zoom(1.5));
    listen($("farther"), "click", () => viewer.zoom(1 / 1.5));
    listen($("undo"), "click", () => told.undo());
    listen($("marked"), "click", () => told.finish());
    listen($("cancel"), "click", () => done(null));
    listen(dialog, "cancel", () => done(null));
    listen(dialog, "keydown", (event) => {
      const undo = event.key === "Backspace" || (event.key === "z" && (event.ctrlKey || event.metaKey));
      if (!undo || !told.undo) return;
      told.undo();
      event.preventDefault();
    });
    $("canvas").focus();
  });
}

// The five points that place a face in a picture, in its pixels; null where the user gives up.
export function mark(title, picture) {
  const points = [];
  return asked(title, picture, ({ say, redraw, done }) => {
    const tell = () => {
      const { length } = points;
      say(length < POINTS.length ? `${length + 1} of ${POINTS.length}: click ${POINTS[length]}.`
        : "Does it lie on the face? Then use it; else undo.");
      $("undo").disabled = !length;
      $("marked").disabled = length < POINTS.length;
    };
    const change = (work) => {
      work();
      tell();
      redraw();
    };
    tell();
    return {
      keys: "Arrows move a cross, Enter places a point, Backspace takes one back.",
      draw: (context, at) => drawPoints(context, points.map(at)),
      pick: (point) => points.length < POINTS.length && change(() => points.push(point)),
      undo: () => points.length && change(() => points.pop()),
      finish: () => done(points),
    };
  });
}

// Which of several faces is to move: its index, or null. faces: x, y, width, height as shares of the picture.
export function chooseFace(title, picture, faces, now) {
  const boxes = faces.map(([x, y, width, height]) =>
    [x * picture.width, y * picture.height, width * picture.width, height * picture.height]);
  let chosen = now;
  return asked(title, picture, ({ say, redraw, done }) => {
    say("Click the face that is to move.");
    return {
      keys: "Left and right go from face to face, Enter takes one.",
      draw: (context, at) => boxes.forEach((box, k) => drawBox(context, at, box, k === chosen, k + 1)),
      pick: (point) => done(nearest(boxes, point)),
      key: ({ key }) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
        if (key === "Enter") done(chosen);
        else if (step) {
          chosen = (chosen + step + boxes.length) % boxes.length;
          say(`Face ${chosen + 1} of ${boxes.length}; Enter takes it.`);
          redraw();
        }
        return key === "Enter" || Boolean(step);
      },
    };
  });
}

function nearest(boxes, [x, y]) {
  const away = boxes.map(([left, top, width, height]) => Math.hypot(x - left - width / 2, y - top - height / 2));
  return away.indexOf(Math.min(...away));
}

function drawPoints(context, points) {
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
}

function drawBox(context, at, [left, top, width, height], chosen, number) {
  const [x, y] = at([left, top]);
  const [right, bottom] = at([left + width, top + height]);
  for (const [colour, wide] of [["#000", chosen ? 7 : 4], [chosen ? ACCENT : "#fff", chosen ? 4 : 2]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: wide });
    context.strokeRect(x, y, right - x, bottom - y);
  }
  Object.assign(context, { font: "600 16px system-ui", fillStyle: chosen ? ACCENT : "#fff", strokeStyle: "#000", lineWidth: 4 });
  const place = [x, y < 20 ? bottom + 18 : y - 6];
  context.strokeText(number, ...place);
  context.fillText(number, ...place);
}
