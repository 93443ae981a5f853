// The page, put together: what a click or a key does, and when what is shown.

import { Background } from "./background.js";
import { Calls } from "./calls.js";
import { Camera } from "./camera.js";
import { Control, name, refusal, words } from "./control.js";
import { onDrop, onPaste } from "./drop.js";
import { Editor } from "./editor.js";
import { rememberFolds } from "./folds.js";
import { Gallery } from "./gallery.js";
import { keep, kept } from "./kept.js";
import { Last } from "./last.js";
import { Letters } from "./letters.js";
import { Panel } from "./panel.js";
import { showPhones } from "./phones.js";
import { Presets } from "./presets.js";
import { isClip, Puppets } from "./puppets.js";
import { Recordings } from "./recordings.js";
import { Rights } from "./rights.js";
import { watch } from "./rtc.js";
import { loadSchema } from "./schema.js";
import { shortcuts } from "./shortcuts.js";
import { takePicture } from "./snapshot.js";
import { Stats } from "./stats.js";
import { Studio } from "./studio.js";
import { renderButtons, renderCalibration, renderDriver, renderEngine, renderNotice, renderStage } from "./view.js";

const $ = (id) => document.getElementById(id);
const live = `/live/${encodeURIComponent(name)}`;

// Does what a user asks for; a failure is shown until the next thing is asked for.
const attempt = (work) => async (...args) => {
  page.error = "";
  try {
    await work(...args);
  } catch (problem) {
    page.error = words(problem);
  }
  render();
};

const control = new Control(() => render());
const camera = new Camera(`${live}/whip`, attempt((reason) => {
  throw new Error(reason);
}));
const letters = new Letters($("puppet"), $("letters"));
const panel = new Panel(control, attempt);
const gallery = new Gallery(control, attempt, async () => {
  await learned;
  return rights.me?.asks_whose ?? true;
});
const page = { control, camera, gallery, letters, error: "", starting: false, mirrorView: kept("mirror", true) };
const puppets = new Puppets(gallery);
const studio = new Studio(camera, (...made) => puppets.make(...made), attempt((clip) => gallery.upload(clip)));
const rights = new Rights();
control.lacks = (need) => rights.lacks(need);
const recordings = new Recordings(attempt, rights);
const background = new Background(control, attempt);
const last = new Last(live, attempt);
const calls = new Calls(control, attempt);
const presets = new Presets(control, attempt);
const editor = new Editor(control, presets, live, attempt);
const stats = new Stats();
let sought = null; // the portrait on show that was last looked for in the gallery

function render() {
  const { state } = control;
  renderNotice(page);
  renderDriver(page);
  panel.render();
  if (!state) {
    sought = null;
    return;
  }
  renderCalibration(page);
  renderEngine(page);
  renderStage(page);
  renderButtons(page);
  if (state.portrait !== sought && !gallery.portraits.some((each) => each.id === state.portrait)) {
    sought = state.portrait;
    attempt(() => gallery.load())();
    attempt(() => puppets.resume())();
  }
  gallery.render();
  background.render();
  recordings.render(state);
  last.render(state);
  calls.render(state);
  presets.render(state);
  editor.render(state);
  stats.render(state);
  rights.render();
}

// What this page may do; without an answer, each thing is tried, and refused by itself.
async function learn() {
  try {
    await rights.load();
  } catch (problem) {
    if (problem instanceof TypeError || problem.status >= 500) setTimeout(learn, 2000);
  }
  render();
}

// Watching: again and again for as long as the page is open, soon where nobody answers, ever more slowly where the answer is no.
async function keepWatching(delay = 500, told = "") {
  // At rest nothing new comes. Without news something is wrong, as it is where the news is that nobody watches: a stream that has
  // been moved is at rest until its driver has come again.
  const suspicious = () => !control.state || control.state.publisher || !control.state.viewers;
  try {
    const link = await watch(`${live}/whep`, $("puppet"), () => keepWatching(), suspicious);
    control.use(link.channel);
    if (told && page.error === told) page.error = "";
    refuse("");
  } catch (problem) {
    const away = problem instanceof TypeError;
    if (!away) page.error = told = words(problem);
    if (refusal(problem) && !control.removed) refuse(refusal(problem));
    if (control.refused && problem.code !== "UnknownStream") return; // a stream may begin; a link gets no better
    setTimeout(keepWatching, delay, Math.min(delay * 1.6, away ? 1000 : 8000), told);
  }
  render();
}

// Nothing on the page would work: what is wrong is all that it says; "" where that is over.
function refuse(why) {
  control.refused = why;
  document.body.classList.toggle("refused", Boolean(why));
  render();
}

async function describe() {
  try {
    panel.build(await loadSchema());
  } catch (problem) {
    panel.fail(words(problem));
  }
  render();
}

async function startOrStop() {
  if (camera.on) return camera.stop();
  page.starting = true;
  render();
  try {
    const { publisher, source, demo } = control.state ?? {};
    await camera.start(publisher ? (source && !demo ? "source" : "session") : null);
  } finally {
    page.starting = false;
  }
}

const act = (change) => attempt(() => {
  if (typeof change !== "function") return control.send(change);
  if (!control.state) throw new Error("The stream has not told its state yet. Try again in a moment."); // a click while it loads
  return control.send(change());
});
const toggle = (key) => act(() => ({ [key]: !control.puppet[key] }));
const work = {
  start: attempt(startOrStop),
  calibrate: act(() => {
    if (!control.state?.publisher) throw new Error("Nothing drives yet: start your camera, and then calibrate.");
    return { calibrate: true };
  }),
  pause: toggle("paused"),
  record: act(() => ({ recording: !control.state.recording?.running })),
  previous: act({ previous_portrait: true }),
  "next-face": act({ next_face: true }),
  demo: act(() => ({ demo: !control.state.demo })),
  fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : $("stage").requestFullscreen()),
};
for (const [id, task] of Object.entries(work)) $(id).addEventListener("click", task);

const DIGITS = [1, 2, 3, 4, 5, 6, 7, 8, 9];
const numbered = (prefix, text, choose) => Object.fromEntries(DIGITS.map((k) => [`${prefix}${k}`, [text, attempt(() => choose(k))]]));
shortcuts({
  C: ["Calibrate", work.calibrate],
  " ": ["Pause and resume", work.pause],
  M: ["Swap left and right", toggle("mirror")],
  R: ["Record", work.record],
  N: ["Next face", work["next-face"]],
  B: ["Back to the portrait from before", work.previous],
  D: ["Demo", () => $("demo").disabled || work.demo()],
  F: ["Full screen", work.fullscreen],
  S: ["Show and hide how it runs", () => ($("stats").open = !$("stats").open)],
  "[": ["Less smoothing", attempt(() => panel.nudge("smoothing", -1))],
  "]": ["More smoothing", attempt(() => panel.nudge("smoothing", 1))],
  ...numbered("", "Expression, on and off", (k) => presets.press(k)),
  0: ["All expressions off", attempt(() => presets.clear())],
  ...numbered("Shift+", "Portrait by its place in the gallery", (k) => gallery.choose(k)),
});

// The microphone is switched by command; one that was not asked for at the start needs a new start.
async function switchMicrophone() {
  const muted = !$("microphone").checked;
  if (!rights.lacks("control")) await control.send({ muted });
  if (camera.on && !muted && !camera.hasSound) await camera.restart();
}

// A portrait, a puppet or a clip that was chosen or dropped.
async function take(files) {
  await learned;
  const why = rights.lacks("owner");
  if (why) throw new Error(why);
  if (files.length > 1) throw new Error("One file at a time, please.");
  if (!isClip(files[0])) await gallery.upload(files[0]);
  else if (puppets.busy) throw new Error("A puppet is being made already; try again when it is done.");
  else studio.ofClip(files[0]);
}

async function chosen({ target }) {
  const files = [...target.files];
  target.value = "";
  if (files.length) await take(files);
}

function switchView() {
  page.mirrorView = $("mirror-view").checked;
  keep("mirror", page.mirrorView);
  render();
}

rememberFolds();
$("mirror-view").checked = page.mirrorView;
$("mirror-view").addEventListener("change", switchView);
$("engine").addEventListener("change", act(() => ({ engine: $("engine").value })));
$("listen").addEventListener("change", () => ($("puppet").muted = !$("listen").checked));
$("microphone").addEventListener("change", attempt(switchMicrophone));
$("upload").addEventListener("change", attempt(chosen));
$("phone").addEventListener("click", attempt(showPhones));
$("clip").addEventListener("change", attempt(chosen));
$("take").addEventListener("click", attempt(async () => {
  const file = await takePicture(camera);
  if (file) await take([file]);
}));
$("yourself").addEventListener("click", attempt(() => studio.ofYourself()));
$("making-show").addEventListener("click", attempt(() => puppets.choose()));
$("making-end").addEventListener("click", attempt(() => puppets.end()));
onDrop(attempt(take));
onPaste(attempt(take));
addEventListener("focus", () => gallery.load().catch(() => {})); // its folder may have been changed meanwhile
$("cameras").addEventListener("change", attempt(() => camera.on && camera.restart()));
addEventListener("hashchange", () => location.reload()); // another link: another token
addEventListener("pagehide", () => camera.stop());

navigator.mediaDevices?.enumerateDevices().then(() => camera.list()).catch(() => {});
const learned = learn();
describe();
keepWatching();
attempt(() => gallery.load())();
attempt(() => presets.load())();
attempt(() => puppets.resume())();
