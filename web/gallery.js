// The portraits and puppets: shown small, chosen by a click, uploaded, and puppets downloaded.

import { call } from "./control.js";
import { chooseFace, mark } from "./marker.js";
import { withToken } from "./rtc.js";

export class Gallery {
  constructor(control, attempt) {
    this.control = control;
    this.attempt = attempt;
    this.portraits = [];
    this.shown = ""; // the portraits that have buttons
    this.box = document.getElementById("gallery");
  }

  async load() {
    this.portraits = await call("GET", "/api/portraits");
    this.render();
  }

  // Show the k-th portrait, from 1 on.
  async choose(k) {
    if (this.portraits[k - 1]) await this.show(this.portraits[k - 1].id);
  }

  async show(portrait) {
    await this.control.send({ portrait });
  }

  render() {
    const { portraits, control } = this;
    const key = JSON.stringify(portraits);
    if (key !== this.shown) this.box.replaceChildren(...portraits.map((each, k) => this.thumbnail(each, k + 1)));
    this.shown = key;
    const current = control.wanted.get("portrait")?.[0] ?? control.state?.portrait;
    const buttons = this.box.querySelectorAll("button");
    buttons.forEach((button, k) => button.setAttribute("aria-pressed", portraits[k].id === current));
  }

  thumbnail(portrait, number) {
    const place = document.createElement("div");
    place.append(this.button(portrait, number));
    if (portrait.pictures > 1) place.append(download(portrait));
    return place;
  }

  button(portrait, number) {
    const button = document.createElement("button");
    const image = new Image();
    image.addEventListener("load", () => (image.style.objectPosition = around(portrait.faces[portrait.face], image)));
    image.src = withToken(`/api/portraits/${encodeURIComponent(portrait.id)}/image`);
    image.alt = portrait.name;
    button.append(image);
    const shut = portrait.eyes_shut && "its eyes are shut in the picture and stay shut";
    button.title = [portrait.name, portrait.label, shut].filter(Boolean).join(": ");
    button.addEventListener("click", this.attempt(() => this.choose(number)));
    return button;
  }

  // marks: five points that place the face, where the server has no model to find it.
  async upload(file, marks) {
    const form = new FormData();
    form.append("file", file);
    if (marks) form.append("marks", JSON.stringify(marks));
    let added;
    try {
      added = await call("POST", "/api/portraits", form);
    } catch (problem) {
      if (problem.code !== "LandmarksNeeded") throw problem;
      const points = await mark(file);
      if (points) await this.upload(file, points);
      return;
    }
    if (added.faces.length > 1) {
      const face = await chooseFace(file, added.faces);
      if (face !== null && face !== added.face) await call("PUT", `/api/portraits/${added.id}/face`, { face });
    }
    await this.load();
    await this.show(added.id);
  }
}

function download({ id, name, pictures }) {
  const link = document.createElement("a");
  link.href = withToken(`/api/portraits/${encodeURIComponent(id)}/puppet`);
  link.download = "";
  link.title = `Download “${name}” (${pictures} pictures) as a file`;
  link.setAttribute("aria-label", link.title);
  link.textContent = "↓";
  return link;
}

// The CSS position by which a square of a long picture shows the face, not the middle. face: x, y, width, height as
// shares of the picture.
function around([left, top, width, height], { naturalWidth, naturalHeight }) {
  const side = Math.min(naturalWidth, naturalHeight);
  const slide = (middle, seen) => `${100 * Math.min(Math.max((middle - seen / 2) / (1 - seen || 1), 0), 1)}%`;
  return `${slide(left + width / 2, side / naturalWidth)} ${slide(top + height / 2, side / naturalHeight)}`;
}
