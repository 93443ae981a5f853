// Puppets of many pictures: sent as a clip, made on the server beside the stream, with progress and an end at any time.

import { call, failure, words } from "./control.js";
import { authorized } from "./rtc.js";

const LOOK_MS = 400; // between two looks at how far it is
const CLIP = /\.(mp4|m4v|mov|webm|mkv|avi|mpe?g|ts)$/i;
const $ = (id) => document.getElementById(id);

export const isClip = (file) => file.type.startsWith("video/") || CLIP.test(file.name);

const isBusy = (making) => ["receiving", "making"].includes(making?.state);
// The server tells of every fifth picture, and its total is an estimate.
const isLookedAt = ({ state, done, total }) => state === "making" && total && done > total - 5;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Puppets {
  constructor(gallery) {
    this.gallery = gallery;
    this.making = null; // what the server tells of it: name, id, state, done, total, portrait, problem, warnings
    this.upload = null;
  }

  get busy() {
    return isBusy(this.making);
  }

  // Show what another page, or this one before it was loaded anew, has begun.
  async resume() {
    const making = (await call("GET", "/api/puppets")).find(({ state }) => state === "making");
    if (making && !this.making) await this.follow(making);
  }

  // clip: a File or Blob; consent: what the person in it has agreed to, in words; whose: whose face it shows.
  async make(clip, name, { consent, whose }) {
    const making = { name, state: "receiving", done: 0, total: clip.size, portrait: null, problem: "", warnings: [] };
    this.making = making;
    this.upload = new Upload(`/api/puppets?${new URLSearchParams({ name, consent, whose })}`, clip, (done) => {
      making.done = done;
      this.render();
    });
    this.render();
    $("making-end").focus(); // what opened the dialog cannot be pressed now
    $("making").scrollIntoView({ block: "nearest" });
    try {
      const begun = await this.upload.answer;
      if (this.making === making) await this.follow(begun);
      else if (begun) await call("DELETE", `/api/puppets/${begun.id}`); // ended when all was sent already
    } catch (problem) {
      this.fail(making, problem);
    }
  }

  async follow(making) {
    this.making = making;
    while (this.making === making && isBusy(making)) {
      this.render();
      await pause(LOOK_MS);
      try {
        Object.assign(making, await call("GET", `/api/puppets/${making.id}`));
      } catch (problem) {
        if (!(problem instanceof TypeError)) this.fail(making, problem); // a server that does not answer may come back
      }
    }
    if (making.portrait) await this.gallery.load();
    this.render();
  }

  fail(making, problem) {
    Object.assign(making, { state: "failed", problem: words(problem) });
    this.render();
  }

  // End it, or put away what came of it.
  async end() {
    const { making } = this;
    this.making = null;
    this.render();
    $("yourself").focus();
    this.upload?.end();
    if (making.id) await call("DELETE", `/api/puppets/${making.id}`);
  }

  async choose() {
    const { portrait } = this.making;
    await this.gallery.show(portrait);
    await this.end();
  }

  render() {
    const { making } = this;
    if (making && $("making").hidden) $("make").open = true;
    $("making").hidden = !making;
    $("yourself").disabled = $("clip").disabled = isBusy(making);
    if (!making) return;
    const { state, done, total, problem } = making;
    const told = { receiving: "Sending", making: "Making", done: "Ready:", failed: "Not made:" }[state];
    say($("making-text"), `${told} ${problem || `“${making.name}”`}`); // read aloud when it changes
    say($("making-share"), this.share(making));
    say($("making-doubts"), making.warnings.join("\n"));
    $("making-text").classList.toggle("bad", state === "failed");
    const bar = $("making-bar");
    bar.hidden = !isBusy(making);
    if (total && done && !isLookedAt(making)) Object.assign(bar, { max: total, value: done });
    else bar.removeAttribute("value");
    $("making-show").hidden = state !== "done";
    $("making-end").textContent = isBusy(making) ? "End" : "Close";
  }

  // How far it is, in words.
  share(making) {
    const { state, done, total, portrait } = making;
    if (state === "receiving") return `${Math.round((100 * done) / total)} % of ${(total / 1e6).toFixed(1)} MB`;
    if (state === "making" && !done) return "getting ready…";
    if (isLookedAt(making)) return "choosing the key pictures…";
    if (state === "making") return `picture ${done}${total ? ` of ${total}` : ""} checked`;
    const { pictures } = this.gallery.portraits.find(({ id }) => id === portrait) ?? {};
    return pictures ? `${pictures} key pictures; nothing else was kept` : "";
  }
}

// A text that is the same already is left alone, or it would be read aloud again.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A body on its way; `fetch` would not tell how far it is. answer: what the server says, or null when it was ended.
class Upload {
  constructor(path, body, onprogress) {
    const request = (this.request = new XMLHttpRequest());
    this.sent = false;
    request.open("POST", path);
    request.responseType = "json";
    for (const [key, value] of Object.entries(authorized())) request.setRequestHeader(key, value);
    request.upload.addEventListener("progress", ({ loaded }) => onprogress(loaded));
    request.upload.addEventListener("load", () => (this.sent = true));
    this.answer = new Promise((resolve, reject) => {
      request.addEventListener("load", () => {
        const { status, response } = request;
        if (status === 202) resolve(response);
        else reject(failure(response?.detail || `the server answered ${status}`, response?.code));
      });
      request.addEventListener("error", () => reject(new TypeError("no answer")));
      request.addEventListener("abort", () => resolve(null));
    });
    request.send(body);
  }

  // What was sent whole is ended by its id, which the answer brings.
  end() {
    if (!this.sent) this.request.abort();
  }
}
