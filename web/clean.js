// The picture alone, with its sound: for OBS, a window that is captured, a display on a wall. Its address says what is behind.

import { call, words } from "./control.js";
import { CutOut } from "./cutout.js";
import { authorized, watch, withToken } from "./rtc.js";

const LEAST_MS = 500;
const AWAY_MS = 1000; // where nobody answers
const MOST_MS = 8000;
const $ = (id) => document.getElementById(id);
const live = `/live/${location.pathname.split("/")[2]}`;
const given = new URLSearchParams(location.search).get("background") ?? "original";
const picture = `${live}/background.jpg`;
const wanted = given || location.hash.slice(0, 7); // a colour's # that was not written as %23

// What CSS is to paint behind the person; null for the portrait's own background.
function behind() {
  if (wanted === "original") return null;
  if (wanted === "transparent") return "none";
  if (wanted === "picture") return `#000 url("${withToken(picture)}") center / cover no-repeat`;
  if (/^#?[0-9a-f]{6}$/i.test(wanted)) return `#${wanted.slice(-6)}`;
  throw new Error(`background=${wanted}: transparent, original, picture or a colour such as %2300ff00 is expected.`);
}

// Said once in each session, and never burnt into a picture that goes on: OBS's own browser has it in its console alone.
async function tellWithoutMatte() {
  const reply = await fetch(`/api/streams/${location.pathname.split("/")[2]}`, { headers: authorized() });
  const { matte } = reply.ok ? await reply.json() : { matte: true };
  if (matte) return;
  const text = "This portrait cannot be told from its background, so it keeps it.";
  console.warn(text);
  if (!window.obsstudio) $("note").textContent = text;
}

function tell(problem) {
  $("problem").textContent = problem ? words(problem) : "";
  $("problem").hidden = !problem;
}

// With sound where the browser lets a page have it unasked, else from the first click or key on.
function sound() {
  $("puppet").play().catch((problem) => {
    if (problem.name !== "NotAllowedError") return;
    $("puppet").muted = true;
    $("puppet").play().catch(() => {}); // a hidden one does not begin by itself; it is ended by the next connection
    const unmute = () => ($("puppet").muted = false);
    for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, unmute, { once: true });
  });
}

// Again and again, ever more slowly, for as long as the page is open. Meanwhile the last picture stays.
async function keepWatching(url, ground, delay = LEAST_MS) {
  try {
    if (wanted === "picture") await call("GET", picture); // a server that has none says how to give it one
    document.documentElement.style.background = ground ?? "";
    await watch(url, $("puppet"), () => keepWatching(url, ground));
    tell(null);
    sound();
  } catch (problem) {
    tell(problem instanceof TypeError ? null : problem);
    setTimeout(keepWatching, delay, url, ground, Math.min(delay * 1.6, problem instanceof TypeError ? AWAY_MS : MOST_MS));
  }
}

try {
  const ground = behind();
  if (ground !== null) new CutOut($("cut")).follow($("puppet"));
  $("cut").hidden = ground === null;
  $("puppet").hidden = ground !== null;
  if (ground !== null) tellWithoutMatte().catch(() => {});
  keepWatching(ground === null ? `${live}/whep` : `${live}/whep?cut_out=true`, ground);
} catch (problem) {
  tell(problem);
}
