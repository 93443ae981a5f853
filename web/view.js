// What the page shows of a state, part by part. `page` has: control, camera, gallery, letters, error, starting, mirrorView.

import { thumbnailOf } from "./details.js";
import { clock } from "./recordings.js";
import { tracking } from "./stats.js";

const $ = (id) => document.getElementById(id);
const INVITATION = "This face follows yours, and nobody sees your own.";
const WATCHED = "This face follows whoever drives it."; // to those who may not
const FIRST = 10; // pictures: the first of all waits until what draws it is loaded
const ROUGH = "face tracking is rough here; the server's log, or its command “doctor”, says how to get the better one";

function noticeText({ control, error }) {
  const { state, puppet } = control;
  if (control.refused) return control.refused;
  if (control.removed) return "This stream was ended by its owner. The page goes on when it is there again.";
  if (error) return error;
  if (!state) return "Lost the server. Trying again…";
  if (state.source && state.source.state !== "live") return state.source.detail || "The camera is starting…";
  if (state.refused) return `${state.refused[0].toUpperCase()}${state.refused.slice(1)}.`;
  if (state.left_out.length) return `The stream was moved, and could not go on with everything: ${state.left_out.join("; ")}.`;
  if (puppet.paused) return "Paused: the puppet rests.";
  if (state.publisher && state.face === "no_face") return "No face in view: the puppet rests.";
  if (state.stalled) return "The puppet is stuck: something failed on the server, which is trying to recover. Its log says more.";
  if (state.problem) return "The graphics card has stopped answering. Until the server is restarted, a simpler engine draws the puppet.";
  return "";
}

export function renderNotice(page) {
  const text = noticeText(page);
  const { state, seen } = page.control;
  if (!state && (page.error || seen)) $("status-line").textContent = ""; // it is neither live nor being connected
  $("notice").textContent = text;
  $("notice").hidden = !text;
  $("notice").classList.toggle("bad", Boolean(page.error) || !page.control.state);
}

// Who else drives, in words; "" where nobody does.
function otherDriver({ control: { state }, camera }) {
  if (camera.on || !state?.publisher) return "";
  if (state.demo) return "The demo drives.";
  if (!state.source) return "Another page or program drives.";
  return `${state.source.name[0].toUpperCase()}${state.source.name.slice(1)} drives.`;
}

// What drives: the own camera, the demo, or something else.
export function renderDriver(page) {
  const { control: { state }, camera, starting } = page;
  const other = otherDriver(page);
  const taken = Boolean(other) && !state.demo; // the demo gives way to whoever comes
  $("camera").hidden = !camera.on;
  $("start").textContent = camera.on ? "Stop" : starting ? "Starting…" : taken ? "Take over" : "Start camera";
  $("start").title = other && `Starts your camera in place of ${taken ? "what drives now" : "the demo"}`;
  $("start").classList.toggle("primary", !camera.on && !taken);
  $("start").disabled = starting;
  $("mirror-view").disabled = Boolean(other);
  $("driver").textContent = other;
  $("driver").hidden = !other;
  renderDemo(state, camera.on, other);
}

// Why the demo's button is grey is said beside it, and by its title.
function renderDemo(state, own, other) {
  const why = own ? "Stop your camera to see the demo." : other && !state.demo ? "The demo plays when nobody else drives." : "";
  $("demo").textContent = state?.demo ? "Stop demo" : "Demo";
  $("demo").disabled = Boolean(why);
  $("demo").title = why || "A clip of a talking face drives (D)";
  $("why").textContent = why;
  $("why").hidden = !why;
}

// What is wrong with a face is said to nobody but the one before this page's camera.
export function renderCalibration({ control: { state }, camera }) {
  const problem = camera.on ? state.calibration.problem : "";
  $("ring").hidden = !(state.publisher && state.face === "calibrating");
  $("ring-share").style.strokeDashoffset = 100 - 100 * state.calibration.share;
  $("ring-text").textContent = problem || (camera.on ? "Good. Hold it for a moment." : "Getting to know the face…");
  $("ring").classList.toggle("wrong", Boolean(problem));
}

export function renderEngine({ control }) {
  const { state, wanted } = control;
  $("status-line").textContent = statusText(state, control.lacks("publish") ? WATCHED : INVITATION);
  const engine = wanted.get("engine")?.[0] ?? state.engine;
  if ($("engine").value !== engine) $("engine").value = engine; // writing moves the mark in an open list
}

function statusText(state, invitation) {
  const rough = tracking(state) === "rough" ? ROUGH : "";
  if (!state.publisher) return [invitation, rough && `(${rough[0].toUpperCase()}${rough.slice(1)}.)`].filter(Boolean).join(" ");
  const delay = state.age_p50_ms === null || state.animated < FIRST ? "" : `${Math.round(state.age_p50_ms)} ms delay`;
  const fps = Math.round(state.fps);
  const rate = fps && `${fps} picture${fps === 1 ? "" : "s"} a second`; // none is known in the first moments
  return ["Live", rate, delay, rough].filter(Boolean).join(" · ");
}

// The ground round the picture is its own colours, and the view is a mirror while the own camera drives: its preview is
// one, too. A puppet that moves as a mirror image already agrees with it.
export function renderStage({ control: { state, puppet }, camera, gallery, letters, mirrorView }) {
  const shown = gallery.portraits.find(({ id }) => id === state.portrait) ?? { id: state.portrait, faces: [] }; // deleted
  if (gallery.portraits.length) $("stage").style.setProperty("--picture", `url("${thumbnailOf(shown)}")`);
  const mirrored = camera.on && mirrorView && !puppet.mirror;
  $("stage").classList.toggle("mirrored", mirrored);
  letters.show(mirrored ? state.label_at : null);
}

export function renderButtons({ control: { state, puppet } }) {
  const recording = Boolean(state.recording?.running);
  $("record").innerHTML = recording ? 'Stop<span class="visually-hidden"> recording</span> ' : "Record";
  if (recording) $("record").append(clock(state.recording.seconds));
  $("record").setAttribute("aria-pressed", recording);
  $("pause").textContent = puppet.paused ? "Resume" : "Pause";
  $("pause").setAttribute("aria-pressed", puppet.paused);
  $("next-face").hidden = state.faces < 2;
  $("previous").hidden = !state.previous_portrait;
}
