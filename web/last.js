// The last seconds, saved after they were seen, where the server keeps them.

import { failure } from "./control.js";
import { authorized } from "./rtc.js";

const LENGTHS = [5, 10, 20, 30];
const $ = (id) => document.getElementById(id);

export class Last {
  // live: where the stream's pictures are.
  constructor(live, attempt) {
    this.live = live;
    this.kept = null;
    const save = attempt((button) => this.save(button));
    for (const button of document.querySelectorAll("[data-last]")) button.addEventListener("click", () => save(button));
  }

  render({ last_s }) {
    if (this.kept === last_s) return;
    this.kept = last_s;
    $("last").hidden = !last_s;
    $("last-off").hidden = Boolean(last_s);
    const lengths = [...LENGTHS.filter((length) => length < last_s), last_s];
    $("last-seconds").replaceChildren(...lengths.map((length) => new Option(`${length} seconds`, length)));
  }

  async save(button) {
    const buttons = [...document.querySelectorAll("[data-last]")];
    const said = button.textContent;
    buttons.forEach((each) => (each.disabled = true));
    button.textContent = "Making it…";
    try {
      const path = `${this.live}/last.${button.dataset.last}?seconds=${$("last-seconds").value}`;
      const reply = await fetch(path, { headers: authorized() });
      if (!reply.ok) throw failure((await reply.json()).detail);
      const name = /filename="([^"]+)"/.exec(reply.headers.get("Content-Disposition"))[1];
      const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(await reply.blob()), download: name });
      link.click();
      URL.revokeObjectURL(link.href);
    } finally {
      button.textContent = said;
      buttons.forEach((each) => (each.disabled = false));
    }
  }
}
