// Asks for the five points that place a face where the server has no landmark model.

const POINTS = ["the middle of the eye on the left", "the middle of the eye on the right", "the tip of the nose",
  "the corner of the mouth on the left", "the corner of the mouth on the right"];

export async function mark(file) {
  const picture = await createImageBitmap(file);
  const scale = Math.min(1, 2048 / Math.max(picture.width, picture.height)); // as the server scales it
  const [dialog, canvas, ask, cancel] = ["marker", "canvas", "ask", "cancel"].map((id) => document.getElementById(id));
  canvas.width = picture.width * scale;
  canvas.height = picture.height * scale;
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  dialog.showModal();
  const points = [];
  return new Promise((resolve) => {
    const done = (result) => {
      canvas.onclick = cancel.onclick = dialog.oncancel = null;
      dialog.close();
      resolve(result);
    };
    const next = () => (ask.textContent = `Click ${POINTS[points.length]}.`);
    canvas.onclick = (event) => {
      const x = (event.offsetX / canvas.clientWidth) * canvas.width;
      const y = (event.offsetY / canvas.clientHeight) * canvas.height;
      points.push([x, y]);
      context.fillStyle = "#ecb24a";
      context.beginPath();
      context.arc(x, y, canvas.width / 120 + 2, 0, 7);
      context.fill();
      points.length === POINTS.length ? done(points) : next();
    };
    cancel.onclick = dialog.oncancel = () => done(null);
    next();
  });
}
