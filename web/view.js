// What the page shows of a state, part by part. `page` has: control, camera, error, starting.

import { clock } from "./recordings.js";

const $ = (id) => document.getElementById(id);
const TRACKER_HINT = " (rough; run “puppetcast models fetch” for the better one)";

function noticeText({ control, error }) {
  const { state, puppet } = control;
  if (error) return error;
  if (!state) return "The server is gone. Trying again…";
  if (state.source && state.source.state !== "live") return state.source.detail || "The camera is starting…";
  if (puppet.paused) return "Paused: the puppet rests.";
  if (state.publisher && state.face === "no_face") return "No face in view: the puppet rests.";
  return "";
}

export function renderNotice(page) {
  const text = noticeText(page);
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
  $("camera").hidden = !camera.on;
  $("start").textContent = camera.on ? "Stop" : other ? "Take over" : "Start camera";
  $("start").title = other && "Ends what drives now, and starts your camera";
  $("start").disabled = starting;
  $("driver").textContent = other;
  $("driver").hidden = !other;
  $("demo").textContent = state?.demo ? "Stop demo" : "Demo";
  $("demo").disabled = camera.on || (Boolean(state?.publisher) && !state.demo);
}

export function renderCalibration({ control: { state } }) {
  $("ring").hidden = !(state.publisher && state.face === "calibrating");
  $("ring-share").style.strokeDashoffset = 100 - 100 * state.calibration.share;
  $("ring-text").textContent = state.calibration.problem || "Good. Hold it for a moment.";
  $("ring").classList.toggle("wrong", Boolean(state.calibration.problem));
}

export function renderEngine({ control: { state, wanted } }) {
  const hint = state.tracker === "cascade" ? TRACKER_HINT : "";
  $("engine-line").textContent = `engine ${state.engine} · tracker ${state.tracker}${hint}`;
  const engine = wanted.get("engine")?.[0] ?? state.engine;
  if ($("engine").value !== engine) $("engine").value = engine; // writing moves the mark in an open list
}

export function renderButtons({ control: { state, puppet } }) {
  const recording = Boolean(state.recording?.running);
  $("record").textContent = recording ? `Stop recording ${clock(state.recording.seconds)}` : "Record";
  $("record").setAttribute("aria-pressed", recording);
  $("pause").textContent = puppet.paused ? "Resume" : "Pause";
  $("pause").setAttribute("aria-pressed", puppet.paused);
  $("next-face").hidden = state.faces < 2;
  $("previous").disabled = !state.previous_portrait;
}
