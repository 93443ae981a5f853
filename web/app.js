import { api, call, Control, name } from "./control.js";
import { chooseFace, mark } from "./marker.js";
import { Panel } from "./panel.js";
import { publish, watch, withToken } from "./rtc.js";
import { shortcuts } from "./shortcuts.js";
import { Stats } from "./stats.js";

const $ = (id) => document.getElementById(id);
const live = `/live/${encodeURIComponent(name)}`;

let camera = null; // the MediaStream of the own camera
let uplink = null;
let starting = false;
let error = "";
let portraits = [];
let gallery = "";

const attempt = (work) => async (...args) => {
  error = "";
  try {
    await work(...args);
  } catch (problem) {
    error = problem instanceof TypeError ? "The server does not answer." : problem.message;
  }
  render();
};

const control = new Control(() => render());
const panel = new Panel(control, attempt);
const stats = new Stats();
const send = (change) => control.send(typeof change === "function" ? change(control.state) : change);
const act = (change) => attempt(async () => void (await send(change)));

// Watching: again and again, ever more slowly, for as long as the page is open.
async function keepWatching(delay = 500) {
  const again = () => keepWatching(Math.min(delay * 1.6, 8000));
  try {
    const link = await watch(`${live}/whep`, $("puppet"), () => setTimeout(() => keepWatching(), 500));
    control.use(link.channel);
  } catch (problem) {
    if (!(problem instanceof TypeError)) error = problem.message;
    setTimeout(again, delay);
  }
}

const PLAIN = {
  NotAllowedError: "The browser may not use the camera. Allow it in the address bar and start again.",
  NotFoundError: "No camera was found. Plug one in, or try the demo.",
  NotReadableError: "The camera is in use by another program.",
  OverconstrainedError: "That camera is gone. Choose another one.",
};

async function startCamera() {
  if (!navigator.mediaDevices) throw new Error("The browser gives a camera only to https or localhost pages.");
  const deviceId = $("cameras").value;
  try {
    camera = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, ...(deviceId && { deviceId: { exact: deviceId } }) },
      audio: $("microphone").checked,
    });
  } catch (problem) {
    throw new Error(PLAIN[problem.name] || problem.message);
  }
  camera.getVideoTracks()[0].addEventListener("ended", attempt(async () => {
    stopCamera();
    throw new Error("The camera was unplugged or taken away.");
  }));
  $("camera").srcObject = camera;
  await listCameras();
  await connectCamera();
}

async function connectCamera() {
  try {
    uplink = await publish(`${live}/whip`, camera, () => camera && setTimeout(reconnectCamera, 700));
  } catch (problem) {
    stopCamera();
    throw problem;
  }
}

async function reconnectCamera(delay = 700) {
  if (!camera) return;
  try {
    uplink = await publish(`${live}/whip`, camera, () => camera && setTimeout(reconnectCamera, 700));
  } catch {
    setTimeout(() => reconnectCamera(Math.min(delay * 1.6, 8000)), delay);
  }
}

function stopCamera() {
  const [stream, link] = [camera, uplink];
  camera = uplink = null;
  stream?.getTracks().forEach((track) => track.stop());
  link?.end();
  $("camera").srcObject = null;
}

async function listCameras() {
  const devices = (await navigator.mediaDevices.enumerateDevices()).filter((d) => d.kind === "videoinput");
  const chosen = $("cameras").value;
  $("cameras").replaceChildren(...devices.map((d, k) => new Option(d.label || `Camera ${k + 1}`, d.deviceId)));
  if (devices.some((d) => d.deviceId === chosen)) $("cameras").value = chosen;
}

async function loadGallery() {
  portraits = await call("GET", "/api/portraits");
  showGallery();
}

function thumbnail(portrait) {
  const button = document.createElement("button");
  const image = new Image();
  const [left, top, width, height] = portrait.faces[portrait.face];
  // A square of a long picture: where the face is, not in the middle. seen: the share of a side that the square shows.
  const slide = (middle, seen) => `${100 * Math.min(Math.max((middle - seen / 2) / (1 - seen || 1), 0), 1)}%`;
  image.addEventListener("load", () => {
    const side = Math.min(image.naturalWidth, image.naturalHeight);
    const [x, y] = [slide(left + width / 2, side / image.naturalWidth), slide(top + height / 2, side / image.naturalHeight)];
    image.style.objectPosition = `${x} ${y}`;
  });
  image.src = withToken(`/api/portraits/${encodeURIComponent(portrait.id)}/image`);
  image.alt = portrait.name;
  button.append(image);
  button.title = portrait.name;
  button.addEventListener("click", act({ portrait: portrait.id }));
  return button;
}

function showGallery() {
  const key = JSON.stringify(portraits);
  if (key !== gallery) $("gallery").replaceChildren(...portraits.map(thumbnail));
  gallery = key;
  const shown = control.wanted.get("portrait")?.[0] ?? control.state?.portrait;
  [...$("gallery").children].forEach((button, k) => button.setAttribute("aria-pressed", portraits[k].id === shown));
}

async function upload(file, marks) {
  const form = new FormData();
  form.append("file", file);
  if (marks) form.append("marks", JSON.stringify(marks));
  let added;
  try {
    added = await call("POST", "/api/portraits", form);
  } catch (problem) {
    if (problem.code !== "LandmarksNeeded") throw problem;
    const points = await mark(file);
    if (points) await upload(file, points);
    return;
  }
  if (added.faces.length > 1) {
    const face = await chooseFace(file, added.faces);
    if (face !== null && face !== added.face) await call("PUT", `/api/portraits/${added.id}/face`, { face });
  }
  await loadGallery();
  await send({ portrait: added.id });
}

function notice(state) {
  if (error) return error;
  if (!state) return "The server is gone. Trying again…";
  if (state.source && state.source.state !== "live") return state.source.detail || "The camera is starting…";
  if (control.puppet.paused) return "Paused: the puppet rests.";
  if (state.publisher && state.face === "no_face") return "No face in view: the puppet rests.";
  return "";
}

function render() {
  const { state } = control;
  const text = notice(state);
  $("notice").textContent = text;
  $("notice").hidden = !text;
  $("notice").classList.toggle("bad", Boolean(error) || !state);
  $("camera").hidden = !camera;
  $("start").textContent = camera ? "Stop" : "Start camera";
  $("start").disabled = starting || (!camera && Boolean(state?.publisher));
  $("demo").textContent = state?.demo ? "Stop demo" : "Demo";
  $("demo").disabled = Boolean(camera) || (Boolean(state?.publisher) && !state.demo);
  panel.render();
  if (!state) return;
  const calibrating = state.publisher && state.face === "calibrating";
  $("ring").hidden = !calibrating;
  $("ring-share").style.strokeDashoffset = 100 - 100 * state.calibration.share;
  $("ring-text").textContent = state.calibration.problem || "Good. Hold it for a moment.";
  $("ring").classList.toggle("wrong", Boolean(state.calibration.problem));
  $("engine-line").textContent = `engine ${state.engine} · tracker ${state.tracker}` +
    (state.tracker === "cascade" ? " (rough; run “puppetcast models fetch” for the better one)" : "");
  const engine = control.wanted.get("engine")?.[0] ?? state.engine;
  if ($("engine").value !== engine) $("engine").value = engine; // writing moves the mark in an open list
  const recording = state.recording?.running;
  $("record").textContent = recording ? "Stop recording" : "Record";
  $("record").setAttribute("aria-pressed", Boolean(recording));
  $("pause").textContent = control.puppet.paused ? "Resume" : "Pause";
  $("pause").setAttribute("aria-pressed", control.puppet.paused);
  $("next-face").hidden = state.faces < 2;
  $("previous").disabled = !state.previous_portrait;
  if (!portraits.some((p) => p.id === state.portrait)) attempt(loadGallery)();
  showGallery();
  stats.render(state);
}

const toggle = (key) => act(() => ({ [key]: !control.puppet[key] }));
const work = {
  calibrate: act({ calibrate: true }),
  pause: toggle("paused"),
  record: act((state) => ({ recording: !state.recording?.running })),
  previous: act({ previous_portrait: true }),
  "next-face": act({ next_face: true }),
  demo: act((state) => ({ demo: !state.demo })),
  fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : $("stage").requestFullscreen()),
  start: attempt(async () => {
    if (camera) return stopCamera();
    starting = true;
    render();
    try {
      await startCamera();
    } finally {
      starting = false;
    }
  }),
};
for (const [id, task] of Object.entries(work)) $(id).addEventListener("click", task);
const nth = (k) => ["Portrait by its place in the gallery", attempt(async () => void (portraits[k - 1] && (await send({ portrait: portraits[k - 1].id }))))];
shortcuts({
  C: ["Calibrate", work.calibrate],
  " ": ["Pause and resume", work.pause],
  M: ["Mirror", toggle("mirror")],
  R: ["Record", work.record],
  N: ["Next face", work["next-face"]],
  B: ["Back to the portrait from before", work.previous],
  D: ["Demo", () => $("demo").disabled || work.demo()],
  F: ["Full screen", work.fullscreen],
  S: ["Show and hide live numbers", () => ($("stats").open = !$("stats").open)],
  "[": ["Less smoothing", attempt(() => panel.nudge("smoothing", -1))],
  "]": ["More smoothing", attempt(() => panel.nudge("smoothing", 1))],
  ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8, 9].map((k) => [String(k), nth(k)])),
});
$("engine").addEventListener("change", act(() => ({ engine: $("engine").value })));
$("listen").addEventListener("change", () => ($("puppet").muted = !$("listen").checked));
// The microphone is switched by command; one that was not asked for at the start needs a new start.
$("microphone").addEventListener("change", attempt(async () => {
  const muted = !$("microphone").checked;
  await send({ muted });
  if (camera && !muted && !camera.getAudioTracks().length) {
    stopCamera();
    await startCamera();
  }
}));
$("upload").addEventListener("change", attempt(async (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) await upload(file);
}));
$("cameras").addEventListener("change", attempt(async () => {
  if (camera) {
    stopCamera();
    await startCamera();
  }
}));
addEventListener("pagehide", stopCamera);

navigator.mediaDevices?.enumerateDevices().then(() => listCameras()).catch(() => {});
keepWatching();
attempt(loadGallery)();
