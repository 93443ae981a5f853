// The dialog before a puppet is made. It says in words what becomes of the pictures and asks for a yes; then, for a
// puppet of oneself, there are a mirror, a guide, and a recording of sixteen seconds.

import { LOST } from "./camera.js";

const FORMATS = ["video/webm;codecs=vp8", "video/mp4"]; // else whatever the browser has
const BITS = 8e6; // a second; blocks would end up in the key pictures
const SIZE = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const COUNTDOWN = [3, 2, 1];
// What to do, for how many seconds, and what stands large over the mirror, and where.
const CUES = [
  ["Look straight ahead, mouth closed", 1.4],
  ["Turn slowly to the left", 1.6, "←", "left"],
  ["Turn slowly to the right", 1.8, "→", "right"],
  ["Look up", 1.4, "↑", "top"],
  ["Look down", 1.4, "↓", "bottom"],
  ["Look ahead, blink twice", 1.8],
  ...[..."AEIOU"].map((letter) => [`Say ${letter}`, 1, letter, "corner"]),
  ["Smile, teeth showing", 1.6],
];
const YOURSELF = {
  title: "Record yourself",
  what: "Pictures of you become a puppet, and viewers will see them: this shows your own face. Your browser records "
    + "sixteen seconds, without sound, and sends them to this server, which keeps a few dozen key pictures and nothing else.",
  yes: "The pictures are of me, and viewers may see them",
  go: "Open the camera",
  consent: "The person shown recorded it on the page and agreed that viewers see these pictures.",
  whose: "mine",
};
const CLIP = {
  title: "A puppet from a clip",
  what: "Pictures of the person in the clip become a puppet, and viewers will see them. This server looks at the first "
    + "minute, and keeps a few dozen key pictures and nothing else. Or the clip itself becomes the portrait, and goes on "
    + "moving: then it is kept as it is.",
  yes: "It is me, or the person agrees to be seen by viewers",
  go: "Make the puppet",
  consent: "Whoever brought the clip said that the person shown agrees that viewers see these pictures.",
  whose: "consent",
};
const PREVIEW = "Sixteen seconds: look ahead, left, right, up, down; blink; say A, E, I, O, U; smile.";
const $ = (id) => document.getElementById(id);
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

export class Studio {
  // make: called with a clip, a name, and what was agreed to: consent in words, and whose face it is.
  // show: called with a clip that is itself to be the portrait; that one's upload asks by itself whose face it is.
  constructor(camera, make, show) {
    Object.assign(this, { camera, make, clip: null, stream: null, recorder: null });
    this.turn = null; // one object for each time that the dialog is open
    this.dialog = $("studio");
    $("agreement").addEventListener("submit", (event) => {
      event.preventDefault();
      this.agreed();
    });
    $("studio-itself").addEventListener("click", () => {
      this.dialog.close();
      show(this.clip);
    });
    $("begin").addEventListener("click", () => this.record());
    $("finish").addEventListener("click", () => this.recorder?.stop());
    const close = () => this.dialog.close();
    for (const button of this.dialog.querySelectorAll(".cancel")) button.addEventListener("click", close);
    this.dialog.addEventListener("close", () => {
      this.turn = null;
      this.release();
    });
    addEventListener("pagehide", () => this.release());
  }

  ofYourself() {
    this.open(YOURSELF, "me");
  }

  ofClip(file) {
    this.open(CLIP, file.name.replace(/\.\w+$/, "").slice(0, 80), file);
  }

  open(texts, name, clip = null) {
    Object.assign(this, { texts, clip, turn: {} });
    for (const key of ["title", "what", "yes", "go"]) $(`studio-${key}`).textContent = texts[key];
    $("studio-name").value = name;
    $("studio-agreed").checked = false;
    $("studio-itself").hidden = !clip;
    this.show("agreement");
    this.dialog.showModal();
    $("studio-agreed").focus();
  }

  // part: agreement or studio-mirror; problem: why the other one could not go on.
  show(part, problem = "") {
    for (const each of ["agreement", "studio-mirror"]) $(each).hidden = each !== part;
    $("studio-problem").textContent = problem;
  }

  agreed() {
    if (!this.clip) return this.look();
    this.done(this.clip);
  }

  done(clip) {
    this.dialog.close();
    this.make(clip, $("studio-name").value.trim() || "puppet", this.texts);
  }

  // The picture that the page's camera publishes already, or one of its own, which is let go when the dialog closes.
  async look() {
    const { turn } = this;
    $("studio-go").disabled = true;
    try {
      const stream = this.camera.stream ?? (await this.camera.ask(SIZE, false));
      if (this.turn !== turn) return this.letGo(stream); // closed while the browser asked
      this.stream = $("mirror-picture").srcObject = stream;
      this.cue("Look straight ahead, with your face in the oval");
      this.recording(false);
      this.show("studio-mirror");
      $("begin").focus();
    } catch (problem) {
      this.fail(problem, turn);
    } finally {
      $("studio-go").disabled = false;
    }
  }

  async record() {
    const { turn } = this;
    const [track] = this.stream.getVideoTracks();
    this.recording(true);
    $("studio-mirror").focus(); // what was pressed is gone
    try {
      for (const left of COUNTDOWN) {
        this.cue(CUES[0][0], 0, left);
        await pause(1);
        if (this.turn !== turn) return;
      }
      const clip = await this.recorded(track);
      if (this.turn !== turn) return;
      if (track.readyState === "ended") throw new Error(LOST);
      this.done(clip);
    } catch (problem) {
      this.fail(problem, turn);
    }
  }

  // Back to the first part, unless the dialog was closed meanwhile.
  fail(problem, turn) {
    if (this.turn !== turn) return;
    this.release();
    this.show("agreement", problem.message);
    $("studio-go").focus();
  }

  // What a track shows while the guide goes on; shorter if it is finished, closed or lost before.
  async recorded(track) {
    const mimeType = FORMATS.find((format) => MediaRecorder.isTypeSupported(format)) ?? "";
    if (track.readyState === "ended") throw new Error(LOST);
    const recorder = new MediaRecorder(new MediaStream([track]), { mimeType, videoBitsPerSecond: BITS });
    const parts = [];
    recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
    const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve));
    this.recorder = recorder;
    recorder.start();
    $("finish").disabled = false;
    $("finish").focus();
    this.guide(recorder);
    await stopped;
    return new Blob(parts, { type: recorder.mimeType });
  }

  async guide(recorder) {
    for (const [k, cue] of CUES.entries()) {
      const left = CUES.slice(k).reduce((sum, [, seconds]) => sum + seconds, 0);
      $("studio-left").textContent = `${Math.ceil(left)} s left`;
      $("studio-next").textContent = k + 1 < CUES.length ? `Then: ${CUES[k + 1][0]}` : "The last one";
      this.cue(...cue);
      await pause(cue[1]);
      if (recorder.state !== "recording") return;
    }
    recorder.stop();
  }

  // seconds: for which the bar runs; sign: what stands large at a side of the mirror.
  cue(text, seconds = 0, sign = "", side = "middle") {
    $("cue").textContent = text;
    $("cue-sign").textContent = sign;
    $("cue-sign").dataset.side = side;
    const bar = $("cue-bar");
    bar.getAnimations().forEach((each) => each.cancel());
    if (seconds) bar.animate({ transform: ["scaleX(1)", "scaleX(0)"] }, { duration: 1000 * seconds, fill: "forwards" });
  }

  recording(on) {
    $("begin").hidden = on;
    $("finish").hidden = !on;
    $("finish").disabled = true; // until there is something to finish
    $("studio-left").textContent = "";
    $("studio-next").textContent = PREVIEW;
    $("studio-mirror").classList.toggle("recording", on);
  }

  release() {
    if (this.recorder?.state === "recording") this.recorder.stop();
    this.letGo(this.stream);
    this.stream = this.recorder = $("mirror-picture").srcObject = null;
  }

  letGo(stream) {
    if (stream !== this.camera.stream) stream?.getTracks().forEach((track) => track.stop());
  }
}
