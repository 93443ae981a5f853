// Recordings that are finished: played here, saved, deleted.

import { call } from "./control.js";
import { withToken } from "./rtc.js";

const $ = (id) => document.getElementById(id);
const at = (name) => `/api/recordings/${encodeURIComponent(name)}`;
const megabytes = (size) => `${(size / 1e6).toFixed(size < 1e7 ? 1 : 0)} MB`;
export const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

export class Recordings {
  constructor(attempt) {
    this.running = false;
    this.load = attempt(async () => this.show(await call("GET", "/api/recordings")));
    this.delete = attempt(async (name) => {
      if (!confirm(`Delete ${name}? It cannot be brought back.`)) return;
      await call("DELETE", at(name));
      await this.load();
      $("recordings").querySelector("summary").focus();
    });
    $("recordings").addEventListener("toggle", () => $("recordings").open && this.load());
    $("player").addEventListener("close", () => $("player-video").removeAttribute("src"));
  }

  // What has just been recorded is shown.
  render({ recording }) {
    const running = Boolean(recording?.running);
    if (this.running && !running) {
      if ($("recordings").open) this.load();
      $("recordings").open = true;
    }
    this.running = running;
  }

  show(files) {
    $("recordings-none").hidden = files.length > 0;
    $("recording-list").replaceChildren(...files.map((file) => this.item(file)));
  }

  item({ name, size, ended, path }) {
    const item = document.createElement("li");
    const [what, play, save, remove] = ["span", "button", "a", "button"].map((kind) => document.createElement(kind));
    what.textContent = `${new Date(ended).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })} · ${megabytes(size)}`;
    what.title = path;
    [play.textContent, save.textContent, remove.textContent] = ["Play", "Download", "Delete"];
    for (const each of [play, save, remove]) each.setAttribute("aria-label", `${each.textContent} ${name}`);
    [play.className, save.className, remove.className] = ["small", "button small", "small"];
    save.href = withToken(`${at(name)}?download=true`);
    save.download = name;
    play.addEventListener("click", () => this.play(name));
    remove.addEventListener("click", () => this.delete(name));
    const row = document.createElement("div");
    row.className = "row";
    row.append(play, save, remove);
    item.append(what, row);
    return item;
  }

  play(name) {
    $("player-title").textContent = name;
    $("player-video").src = withToken(at(name));
    $("player").showModal();
  }
}
