// Asks for the five points that place a face where the server has no landmark model.

const POINTS = ["the middle of the eye on the left", "the middle of the eye on the right", "the tip of the nose",
  "the corner of the mouth on the left", "the corner of the mouth on the right"];

// The dialog with a picture in it; `done` closes it, a click gives its place in the picture.
async function asked(file, onclick) {
  const picture = await createImageBitmap(file);
  const scale = Math.min(1, 2048 / Math.max(picture.width, picture.height)); // as the server scales it
  const [dialog, canvas, ask, cancel] = ["marker", "canvas", "ask", "cancel"].map((id) => document.getElementById(id));
  canvas.width = picture.width * scale;
  canvas.height = picture.height * scale;
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  dialog.showModal();
  return new Promise((resolve) => {
    const done = (result) => {
      canvas.onclick = cancel.onclick = dialog.oncancel = null;
      dialog.close();
      resolve(result);
    };
    canvas.onclick = (event) => {
      const x = (event.offsetX / canvas.clientWidth) * canvas.width;
      const y = (event.offsetY / canvas.clientHeight) * canvas.height;
      onclick({ x, y, canvas, context, ask, done });
    };
    cancel.onclick = dialog.oncancel = () => done(null);
    onclick({ x: null, canvas, context, ask, done });
  });
}

export function mark(file) {
  const points = [];
  return asked(file, ({ x, y, canvas, context, ask, done }) => {
    if (x !== null) {
      points.push([x, y]);
      context.fillStyle = "#ecb24a";
      context.beginPath();
      context.arc(x, y, canvas.width / 120 + 2, 0, 7);
      context.fill();
    }
    if (points.length === POINTS.length) done(points);
    else ask.textContent = `Click ${POINTS[points.length]}.`;
  });
}

// Which of several faces is to move: its index, or null. faces: x, y, width, height as shares of the picture.
export function chooseFace(file, faces) {
  return asked(file, ({ x, y, canvas, context, ask, done }) => {
    const { width: across, height: down } = canvas;
    const boxes = faces.map(([left, top, width, height]) => [left * across, top * down, width * across, height * down]);
    if (x === null) {
      ask.textContent = "Click the face that is to move.";
      context.strokeStyle = "#ecb24a";
      context.lineWidth = canvas.width / 200 + 1;
      for (const box of boxes) context.strokeRect(...box);
      return;
    }
    const away = boxes.map(([left, top, width, height]) => Math.hypot(x - left - width / 2, y - top - height / 2));
    done(away.indexOf(Math.min(...away)));
  });
}
