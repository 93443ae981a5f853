// The own camera: asked of the browser, shown in the corner, and sent to the server for as long as it is on.

import { publish } from "./rtc.js";

const FIRST_MS = 250; // before a lost connection is made again; then ever more slowly
const AWAY_MS = 1000; // at most, where nobody answers
const LAST_MS = 8000;
const PLAIN = {
  NotAllowedError: "The browser may not use the camera. Allow it in the address bar and start again.",
  NotFoundError: "No camera was found. Plug one in, or try the demo.",
  NotReadableError: "The camera is in use by another program.",
  OverconstrainedError: "That camera is gone. Choose another one.",
};
export const LOST = "The camera was unplugged or taken away.";
const TAKEN = "Another page or program has taken over; your camera is off.";
const LIVE = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
const TAKE_OVER = "?take_over=true";
const $ = (id) => document.getElementById(id);

export class Camera {
  // url: where it is published (WHIP). ongone: called with the reason when it has stopped by itself.
  constructor(url, ongone) {
    this.url = url;
    this.ongone = ongone;
    this.stream = null;
    this.link = null;
    this.later = "";
  }

  get on() {
    return Boolean(this.stream);
  }

  get hasSound() {
    return Boolean(this.stream?.getAudioTracks().length);
  }

  // over: what is taken over, "session" or "source". A source that the config names drives again as soon as nobody else
  // does, so it is taken over by every later try, too.
  async start(over = null) {
    this.stream = await this.ask(LIVE, $("microphone").checked);
    this.stream.getVideoTracks()[0].addEventListener("ended", () => {
      this.stop();
      this.ongone(LOST);
    });
    $("camera").srcObject = this.stream;
    await this.list();
    this.later = over === "source" ? TAKE_OVER : "";
    await this.connect(this.stream, 0, over ? TAKE_OVER : "");
  }

  // The chosen camera's stream; it is the caller's to end. size: constraints.
  async ask(size, audio) {
    if (!navigator.mediaDevices) throw new Error("The browser gives a camera only to https or localhost pages.");
    const deviceId = $("cameras").value;
    try {
      return await navigator.mediaDevices.getUserMedia({
        video: { ...size, ...(deviceId && { deviceId: { exact: deviceId } }) },
        audio,
      });
    } catch (problem) {
      throw new Error(PLAIN[problem.name] || problem.message);
    }
  }

  // delay: in ms, until the next try. The first try has none: its failure is told, and stops the camera.
  async connect(stream, delay = 0, query = this.later) {
    if (this.stream !== stream) return; // stopped, or started anew, in the meantime
    const again = (wait) => setTimeout(() => this.connect(stream, wait), wait);
    try {
      const lost = async (code) => ((await code) === "TakenOver" ? this.taken(stream) : again(FIRST_MS));
      const link = await publish(this.url, stream, lost, query);
      if (this.stream === stream) this.link = link;
      else link.end();
    } catch (problem) {
      if (delay) {
        again(Math.min(delay * 1.6, problem instanceof TypeError ? AWAY_MS : LAST_MS));
        return;
      }
      if (this.stream === stream) this.stop();
      throw problem;
    }
  }

  taken(stream) {
    if (this.stream !== stream) return;
    this.stop();
    this.ongone(TAKEN);
  }

  stop() {
    const { stream, link } = this;
    this.stream = this.link = null;
    stream?.getTracks().forEach((track) => track.stop());
    link?.end();
    $("camera").srcObject = null;
  }

  async restart() {
    this.stop();
    await this.start(this.later ? "source" : "session"); // its own, if the server still has that
  }

  // Fill the list of cameras, and keep what was chosen.
  async list() {
    const devices = (await navigator.mediaDevices.enumerateDevices()).filter((each) => each.kind === "videoinput");
    const chosen = $("cameras").value;
    const options = devices.map((each, k) => new Option(each.label || `Camera ${k + 1}`, each.deviceId));
    $("cameras").replaceChildren(...(options.length ? options : [new Option("No camera found", "")]));
    if (devices.some((each) => each.deviceId === chosen)) $("cameras").value = chosen;
  }
}
