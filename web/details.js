// One portrait of the gallery, large: it is shown, renamed, deleted, or its face chosen among several or placed by hand.

import { ask } from "./ask.js";
import { call, words } from "./control.js";
import { withToken } from "./rtc.js";
import { driversOf } from "./whose.js";

export const urlOf = ({ id }, what) => `/api/portraits/${encodeURIComponent(id)}${what}`;
// Of the face that moves. Where that lies is in the address: a page that has a picture of an address asks for it no more.
export const thumbnailOf = (portrait) => withToken(urlOf(portrait, `/thumbnail?of=${portrait.faces[portrait.face]}`));

const $ = (id) => document.getElementById(id);

export class Details {
  constructor(gallery) {
    this.gallery = gallery;
    this.portrait = null;
    this.dialog = $("details");
    const close = () => this.dialog.close();
    const on = (id, work) => $(`details-${id}`).addEventListener("click", () => this.attempt(work));
    on("close", close);
    on("show", () => this.gallery.show(this.portrait.id).then(close));
    on("face", async () => (await this.gallery.chooseFace(this.portrait)) && close());
    on("place", async () => (await this.gallery.placeFace(this.portrait)) && close());
    on("delete", () => this.remove());
    $("details-whose").addEventListener("change", ({ target }) => this.attempt(() => this.change({ whose: target.value })));
    $("details-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.attempt(() => this.rename());
    });
  }

  open(portrait) {
    this.portrait = portrait;
    $("details-title").textContent = portrait.pictures > 1 ? `Puppet of ${portrait.pictures} pictures` : "Portrait";
    $("details-picture").src = withToken(urlOf(portrait, "/image"));
    $("details-picture").alt = portrait.name;
    $("details-name").value = portrait.name;
    $("details-problem").textContent = "";
    $("details-whose").value = portrait.whose;
    $("details-drivers").textContent = driversOf(portrait);
    for (const id of ["name", "rename", "whose", "delete"]) $(`details-${id}`).disabled = !portrait.uploaded;
    $("details-face").hidden = portrait.faces.length < 2;
    $("details-place").hidden = portrait.bundled || portrait.pictures > 1;
    this.dialog.showModal();
  }

  async attempt(work) {
    $("details-problem").textContent = "";
    try {
      await work();
    } catch (problem) {
      if (problem.code === "UnknownPortrait") await this.deleted(problem);
      else $("details-problem").textContent = words(problem);
    }
  }

  // By another page: there is nothing left to be asked here.
  async deleted(problem) {
    this.dialog.close();
    await this.gallery.attempt(async () => {
      await this.gallery.load();
      throw problem;
    })();
  }

  async rename() {
    await this.change({ name: $("details-name").value });
    this.dialog.close();
  }

  async change(what) {
    await call("PATCH", urlOf(this.portrait, ""), what);
    await this.gallery.load();
  }

  async remove() {
    const { portrait, gallery } = this;
    const shown = gallery.control.state?.portrait === portrait.id;
    const stays = shown ? " It stays on screen until you choose another." : "";
    if (!(await ask(`Delete “${portrait.name}” for good?${stays}`, "Delete it"))) return;
    await call("DELETE", urlOf(portrait, ""));
    await gallery.load();
    this.dialog.close();
  }
}
