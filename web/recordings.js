// Recordings that are finished: played here, saved, deleted.

import { ask } from "./ask.js";
import { call } from "./control.js";
import { withToken } from "./rtc.js";

const $ = (id) => document.getElementById(id);
const at = (name) => `/api/recordings/${encodeURIComponent(name)}`;
const megabytes = (size) => `${(size / 1e6).toFixed(size < 1e7 ? 1 : 0)} MB`;
export const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

export class Recordings {
  constructor(attempt, rights) {
    this.running = false;
    this.load = attempt(async () => {
      const why = rights.lacks("control");
      if (why) $("recordings-none").textContent = `${why} Its recordings are for those who may.`;
      else this.show(await call("GET", "/api/recordings"));
    });
    this.delete = attempt(async (name) => {
      if (!(await ask(`Delete ${name}? This cannot be undone.`, "Delete it"))) return;
      await call("DELETE", at(name));
      $("saved").hidden = true; // it may be of this one
      await this.load();
      $("recordings").querySelector("summary").focus();
    });
    $("recordings").addEventListener("toggle", () => $("recordings").open && this.load());
    $("player").addEventListener("close", () => $("player-video").removeAttribute("src"));
    $("player-video").addEventListener("error", () => ($("player-title").textContent = "This recording cannot be played."));
  }

  // What has just been recorded is shown, and where it lies.
  render({ recording }) {
    const running = Boolean(recording?.running);
    const ended = this.running && !running;
    this.running = running;
    if (running) $("saved").hidden = true;
    if (!ended) return;
    if ($("recordings").open) this.load();
    $("recordings").open = true;
    if (recording) this.tell(recording); // else the stream is gone, and the list has it
  }

  tell({ file, seconds, detail }) {
    const box = $("saved");
    box.hidden = false;
    box.textContent = detail || (file ? "" : "Nothing was recorded.");
    if (box.textContent) return;
    const [row, path] = [document.createElement("div"), document.createElement("p")];
    const name = file.split(/[\\/]/).pop();
    const [play, save] = [this.playButton(name), saveLink(name)].map((each) => named(each, each.textContent, "the new recording"));
    row.className = "row";
    row.append(`Saved, ${clock(seconds)}`, play, save);
    path.textContent = file;
    box.append(row, path);
  }

  show(files) {
    $("recordings-none").hidden = files.length > 0;
    $("recording-list").replaceChildren(...files.map((file) => this.item(file)));
  }

  item({ name, size, ended, path }) {
    const item = document.createElement("li");
    const [what, remove] = ["span", "button"].map((kind) => document.createElement(kind));
    what.textContent = `${new Date(ended).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })} · ${megabytes(size)}`;
    what.title = path;
    remove.className = "small";
    named(remove, "Delete", name).addEventListener("click", () => this.delete(name));
    const row = document.createElement("div");
    row.className = "row";
    row.append(this.playButton(name), saveLink(name), remove);
    item.append(what, row);
    return item;
  }

  playButton(name) {
    const button = named(document.createElement("button"), "Play", name);
    button.className = "small";
    button.addEventListener("click", () => this.play(name));
    return button;
  }

  play(name) {
    $("player-title").textContent = name;
    $("player-video").src = withToken(at(name));
    $("player").showModal();
  }
}

function saveLink(name) {
  const link = named(document.createElement("a"), "Download", name);
  Object.assign(link, { className: "button small", href: withToken(`${at(name)}?download=true`), download: name });
  return link;
}

// What is seen, and with the file's name for who hears it.
function named(element, what, name) {
  element.textContent = what;
  element.setAttribute("aria-label", `${what} ${name}`);
  return element;
}
