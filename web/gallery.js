// The portraits and puppets: shown small, chosen by a click, uploaded, renamed, deleted, and puppets downloaded.

import { ask, othersClosed } from "./ask.js";
import { call, failure } from "./control.js";
import { Details, thumbnailOf, urlOf } from "./details.js";
import { chooseFace, mark } from "./marker.js";
import { authorized, withToken } from "./rtc.js";
import { inTurn } from "./turns.js";
import { askWhose } from "./whose.js";

const WIDE = 1280; // pixels of a picture in which a face is chosen
const RETRY_MS = 1000; // until a thumbnail that did not come is asked for again; twice as long each time,
const LAST_RETRY_MS = 60_000; // up to this
const UNSEEN = ["NoFaceError", "LandmarksNeeded"]; // the face can be placed by hand

export class Gallery {
  // asks: whether it is to be said whose face an upload shows.
  constructor(control, attempt, asks = async () => true) {
    this.asks = asks;
    this.control = control;
    this.attempt = attempt;
    this.portraits = [];
    this.shown = ""; // the portraits that have buttons
    this.centred = false; // whether the one on show was brought into view once
    this.box = document.getElementById("gallery");
    this.box.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.details = new Details(this);
    this.changes = 0; // of the gallery, when it was loaded
  }

  async load() {
    this.portraits = await call("GET", "/api/portraits");
    this.render();
    this.control.onchange(); // what lies round the picture is of the portrait, too
  }

  // Show the k-th portrait, from 1 on.
  async choose(k) {
    if (this.portraits[k - 1]) await this.show(this.portraits[k - 1].id);
  }

  async show(portrait) {
    await this.control.send({ portrait });
    this.buttons().get(portrait)?.scrollIntoView({ block: "nearest" });
  }

  // A plain wheel scrolls the strip for as long as it has more to show.
  wheel(event) {
    const before = this.box.scrollLeft;
    if (event.deltaX || event.shiftKey || event.ctrlKey) return;
    this.box.scrollLeft += event.deltaY;
    if (this.box.scrollLeft !== before) event.preventDefault();
  }

  buttons() {
    return new Map([...this.box.querySelectorAll("[data-portrait]")].map((button) => [button.dataset.portrait, button]));
  }

  render() {
    const { portraits, control } = this;
    if (control.state && control.state.gallery !== this.changes) {
      this.changes = control.state.gallery;
      this.load().catch(() => {}); // another page has changed it
    }
    const key = JSON.stringify(portraits);
    if (key !== this.shown) {
      const focused = this.box.contains(document.activeElement) && document.activeElement.dataset.portrait;
      const { scrollLeft } = this.box;
      this.box.replaceChildren(...portraits.map((each) => this.thumbnail(each)));
      this.box.scrollLeft = scrollLeft;
      if (focused) this.buttons().get(focused)?.focus();
    }
    const current = control.wanted.get("portrait")?.[0] ?? control.state?.portrait;
    for (const [id, button] of this.buttons()) button.setAttribute("aria-pressed", id === current);
    this.shown = key;
    this.centred ||= this.centre(this.buttons().get(current));
  }

  // Scroll the strip, and nothing around it, so far that a button is in its middle; whether there is one.
  centre(button) {
    if (!button) return false;
    const [strip, place] = [this.box, button].map((each) => each.getBoundingClientRect());
    this.box.scrollLeft += place.left + place.width / 2 - strip.left - strip.width / 2;
    return true;
  }

  thumbnail(portrait) {
    const place = document.createElement("div");
    place.append(this.button(portrait));
    if (!portrait.bundled || portrait.faces.length > 1) place.append(this.more(portrait));
    if (portrait.pictures > 1) place.append(download(portrait));
    return place;
  }

  button(portrait) {
    const button = document.createElement("button");
    const image = new Image(192, 192);
    image.loading = "lazy";
    image.src = thumbnailOf(portrait);
    image.alt = portrait.name;
    let wait = RETRY_MS;
    image.addEventListener("error", () => {
      if (wait < LAST_RETRY_MS) setTimeout(() => image.isConnected && (image.src = image.src), wait);
      wait *= 2;
    });
    button.append(image);
    const shut = portrait.eyes_shut && "the eyes are closed in the picture, and stay closed";
    button.title = [portrait.name, portrait.label, shut].filter(Boolean).join(": ");
    button.dataset.portrait = portrait.id;
    button.addEventListener("click", this.attempt(() => this.show(portrait.id)));
    return button;
  }

  more(portrait) {
    const button = document.createElement("button");
    button.className = "more";
    button.title = `“${portrait.name}”: name, face, delete`;
    button.setAttribute("aria-label", button.title);
    button.textContent = "⋯";
    button.addEventListener("click", () => this.details.open(portrait));
    return button;
  }

  // A picture that shows no face can be marked; where the gallery is full, it is asked whether the oldest may go. Whoever
  // does not say which of several faces it is does not want the picture.
  async upload(file) {
    const whose = (await shows(file)) && (await this.asks()) ? await askWhose() : undefined;
    if (whose !== null) await inTurn(file, () => this.take(file, whose));
  }

  async take(file, whose) {
    const before = this.portraits.map(({ id }) => id);
    const added = await this.added(file, { whose });
    if (!added) return;
    await this.load();
    if (added.faces.length > 1) await othersClosed();
    if (added.faces.length < 2 || (await this.chooseFace(added))) await this.show(added.id);
    else await this.withdraw(added, before);
  }

  // An upload goes again, unless it was there `before`, or another one has gone for it already.
  async withdraw(added, before) {
    const ids = this.portraits.map(({ id }) => id);
    if (before.includes(added.id)) return;
    if (!before.every((id) => ids.includes(id))) throw new Error(`“${added.name}” was added to the gallery, but is not shown.`);
    await call("DELETE", urlOf(added, ""));
    await this.load();
  }

  async added(file, { marks, going = [], whose }) {
    const form = new FormData();
    form.append("file", file);
    if (marks) form.append("marks", JSON.stringify(marks));
    if (whose) form.append("whose", whose);
    for (const id of going) form.append("going", id);
    try {
      return await call("POST", "/api/portraits", form);
    } catch (problem) {
      if (UNSEEN.includes(problem.code) && !marks) return this.marked(file, problem, going, whose);
      const goes = Object.entries(problem.goes ?? {});
      if (!goes.length) throw problem;
      const names = goes.map(([, name]) => `“${name}”`).join(", ");
      const one = goes.length === 1;
      const text = `The gallery is full. Adding “${file.name}” deletes ${names}.`;
      await othersClosed();
      const yes = await ask(text, one ? "Delete it" : "Delete them");
      return yes ? this.added(file, { marks, going: goes.map(([id]) => id), whose }) : null;
    }
  }

  // problem: why it is to be placed by hand.
  async marked(file, problem, going, whose) {
    const { picture, scale } = await preview(file);
    const title = problem.code === "NoFaceError" ? `No face was found in “${file.name}”. Place it by hand` : `Place the face in “${file.name}”`;
    const send = (points) => this.added(file, { marks: points.map((point) => point.map((at) => at / scale)), going, whose });
    await othersClosed();
    return placed(title, picture, send);
  }

  // True unless the user gives up.
  async chooseFace(portrait) {
    const title = `“${portrait.name}” shows ${portrait.faces.length} faces`;
    const face = await chooseFace(title, await pictureOf(portrait), portrait.faces, portrait.face);
    if (face !== null && face !== portrait.face) {
      await call("PUT", urlOf(portrait, "/face"), { face });
      await this.changed(portrait);
    }
    return face !== null;
  }

  // From where the face is now; true unless the user gives up.
  async placeFace(portrait) {
    const picture = await pictureOf(portrait);
    const size = [picture.width, picture.height];
    const { marks } = await call("GET", urlOf(portrait, "/face"));
    const send = (points) =>
      call("PUT", urlOf(portrait, "/face"), { marks: points.map((point) => point.map((at, k) => at / size[k])) });
    const points = marks.map((point) => point.map((at, k) => at * size[k]));
    const sent = await placed(`Where is the face of “${portrait.name}”?`, picture, send, points);
    if (sent) await this.changed(portrait);
    return Boolean(sent);
  }

  // Its face is another one now, also where it is on show.
  async changed(portrait) {
    await this.load();
    if (this.control.state?.portrait === portrait.id) await this.show(portrait.id);
  }
}

// Whether it is to be said whose face a file shows: a puppet says so itself, and what is no picture, such as a text whatever
// its name, is refused in any case.
async function shows(file) {
  if (/\.puppet$/i.test(file.name) || /^(text|audio|application)\//.test(file.type)) return false;
  return !/^[\t\n\r -~]*$/.test(await file.slice(0, 64).text());
}

async function refused(reply) {
  const { detail, code } = await reply.json();
  return failure(detail, code);
}

async function pictureOf(portrait) {
  const reply = await fetch(urlOf(portrait, `/image?side=${WIDE}`), { headers: authorized() });
  if (!reply.ok) throw await refused(reply);
  return createImageBitmap(await reply.blob());
}

// Asks for the five points of a face until the server takes them: what `send` gives, or undefined where the user gives up.
async function placed(title, picture, send, points = [], problem = "") {
  const given = await mark(title, picture, points, problem);
  if (!given) return undefined;
  try {
    return await send(given);
  } catch (wrong) {
    if (wrong.code !== "MarksError") throw wrong;
    return placed(title, picture, send, given, wrong.message);
  }
}

// The picture as the server reads it, which may be one that this browser cannot, and its pixels for each of the file's.
async function preview(file) {
  const form = new FormData();
  form.append("file", file);
  const reply = await fetch("/api/portraits/preview", { method: "POST", headers: authorized(), body: form });
  if (!reply.ok) throw await refused(reply);
  return { picture: await createImageBitmap(await reply.blob()), scale: Number(reply.headers.get("X-Scale")) };
}

function download({ id, name, pictures }) {
  const link = document.createElement("a");
  link.href = withToken(urlOf({ id }, "/puppet"));
  link.download = "";
  link.title = `Download “${name}” (${pictures} pictures) as a file`;
  link.setAttribute("aria-label", link.title);
  link.textContent = "↓";
  return link;
}
