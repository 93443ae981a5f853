import { mark } from "./marker.js";
import { authorized, publish, watch, withToken } from "./rtc.js";

const $ = (id) => document.getElementById(id);
const name = new URLSearchParams(location.search).get("stream") || "live";
const api = `/api/streams/${encodeURIComponent(name)}`;
const live = `/live/${encodeURIComponent(name)}`;

let camera = null; // the MediaStream of the own camera
let uplink = null;
let starting = false;
let state = null;
let error = "";
let gallery = "";
let last = { time: 0, animated: 0 };

async function call(method, path, body) {
  const options = { method, headers: authorized() };
  if (body instanceof FormData) options.body = body;
  else if (body) Object.assign(options, { headers: authorized({ "Content-Type": "application/json" }), body: JSON.stringify(body) });
  const reply = await fetch(path, options);
  const data = await reply.json().catch(() => ({}));
  if (!reply.ok) throw Object.assign(new Error(data.detail || `the server answered ${reply.status}`), { code: data.code });
  return data;
}

const attempt = (work) => async (...args) => {
  error = "";
  try {
    await work(...args);
  } catch (problem) {
    error = problem instanceof TypeError ? "The server does not answer." : problem.message;
  }
  render();
};

// Watching: again and again, ever more slowly, for as long as the page is open.
async function keepWatching(delay = 500) {
  const again = () => keepWatching(Math.min(delay * 1.6, 8000));
  try {
    await watch(`${live}/whep`, $("puppet"), () => setTimeout(() => keepWatching(), 500));
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

async function showGallery() {
  const portraits = await call("GET", "/api/portraits");
  const key = JSON.stringify([portraits, state?.portrait]);
  if (key === gallery) return;
  gallery = key;
  $("gallery").replaceChildren(...portraits.map((p) => {
    const button = document.createElement("button");
    const image = new Image();
    image.src = withToken(`/api/portraits/${encodeURIComponent(p.id)}/image`);
    image.alt = p.name;
    button.append(image);
    button.title = p.name;
    button.setAttribute("aria-pressed", state?.portrait === p.id);
    button.addEventListener("click", attempt(async () => void (await call("PUT", `${api}/portrait`, { portrait: p.id }))));
    return button;
  }));
}

async function upload(file, marks) {
  const form = new FormData();
  form.append("file", file);
  if (marks) form.append("marks", JSON.stringify(marks));
  try {
    const added = await call("POST", "/api/portraits", form);
    await call("PUT", `${api}/portrait`, { portrait: added.id });
  } catch (problem) {
    if (problem.code !== "landmarks_needed") throw problem;
    const points = await mark(file);
    if (points) await upload(file, points);
  }
}

function notice() {
  if (error) return error;
  if (!state) return "The server is gone. Trying again…";
  if (state.source && state.source.state !== "live") return state.source.detail || "The camera is starting…";
  if (state.publisher && state.face === "no_face") return "No face in view: the puppet rests.";
  if (state.publisher && state.face === "calibrating") return "Calibrating: look straight ahead for a second.";
  return "";
}

const ms = (value) => (value === null ? "–" : `${Math.round(value)} ms`);

function render() {
  const text = notice();
  $("notice").textContent = text;
  $("notice").hidden = !text;
  $("notice").classList.toggle("bad", Boolean(error) || !state);
  $("camera").hidden = !camera;
  $("start").textContent = camera ? "Stop" : "Start camera";
  $("start").disabled = starting || (!camera && Boolean(state?.publisher));
  $("demo").textContent = state?.demo ? "Stop demo" : "Demo";
  $("demo").disabled = Boolean(camera) || (Boolean(state?.publisher) && !state.demo);
  if (!state) return;
  $("engine").textContent = `engine ${state.engine} · tracker ${state.tracker}` +
    (state.tracker === "cascade" ? " (rough; run “puppetcast models fetch” for the better one)" : "");
  if (document.activeElement !== $("mirror")) $("mirror").checked = state.mirror;
  const recording = state.recording?.running;
  $("record").textContent = recording ? "Stop recording" : "Record";
  $("record").setAttribute("aria-pressed", Boolean(recording));
  const now = performance.now();
  const fps = last.time ? ((state.animated - last.animated) * 1000) / (now - last.time) : 0;
  last = { time: now, animated: state.animated };
  const skipped = Object.entries(state.skipped).filter(([, n]) => n).map(([why, n]) => `${why} ${n}`).join(", ");
  const rows = {
    Animated: `${Math.max(fps, 0).toFixed(1)} fps of ${state.rate_limit.toFixed(0)}`,
    "Age at send": `${ms(state.age_p50_ms)} · p95 ${ms(state.age_p95_ms)}`,
    "Stage time": `${ms(state.stage_p50_ms)} · p95 ${ms(state.stage_p95_ms)}`,
    "Frames in": state.frames_in,
    Skipped: skipped || "none",
    ...(state.recording && { Recording: state.recording.running ? `${state.recording.seconds.toFixed(0)} s · ${state.recording.file}` : state.recording.detail || state.recording.file }),
    Viewers: [state.viewers, ...state.encoders.map((e) => `${e.codec.split("/")[1]} ${(e.bitrate_kbps / 1000).toFixed(1)} Mb/s`)]
      .join(" · "),
  };
  $("numbers").replaceChildren(...Object.entries(rows).flatMap(([label, value]) => {
    const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
    dt.textContent = label;
    dd.textContent = value;
    return [dt, dd];
  }));
}

async function poll() {
  try {
    state = await call("GET", api);
    await showGallery();
  } catch (problem) {
    state = null;
    if (!(problem instanceof TypeError)) error = problem.message;
  }
  render();
  setTimeout(poll, state ? 1000 : 2000);
}

$("start").addEventListener("click", attempt(async () => {
  if (camera) return stopCamera();
  starting = true;
  render();
  try {
    await startCamera();
  } finally {
    starting = false;
  }
}));
$("demo").addEventListener("click", attempt(async () => void (state = await call(state?.demo ? "DELETE" : "POST", `${api}/demo`))));
$("listen").addEventListener("change", () => ($("puppet").muted = !$("listen").checked));
// The microphone is switched by command; one that was not asked for at the start needs a new start.
$("microphone").addEventListener("change", attempt(async () => {
  const muted = !$("microphone").checked;
  await call("PUT", `${api}/mute`, { muted });
  if (camera && !muted && !camera.getAudioTracks().length) {
    stopCamera();
    await startCamera();
  }
}));
$("record").addEventListener("click", attempt(async () => {
  state = await call(state?.recording?.running ? "DELETE" : "POST", `${api}/recording`);
}));
$("calibrate").addEventListener("click", attempt(async () => void (await call("POST", `${api}/calibrate`))));
$("mirror").addEventListener("change", attempt(async () => void (await call("PUT", `${api}/mirror`, { mirror: $("mirror").checked }))));
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
$("fullscreen").addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : $("stage").requestFullscreen()));
addEventListener("pagehide", stopCamera);

navigator.mediaDevices?.enumerateDevices().then(() => listCameras()).catch(() => {});
keepWatching();
poll();
