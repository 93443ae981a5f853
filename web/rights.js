// What the link of this page may do. What it may not is grey, and says why: each element that has `data-needs` lies in a
// fieldset that is disabled, so that what is made or changed in it later is grey, too.

import { call, name } from "./control.js";

const RIGHTS = ["none", "view", "publish", "control"];
const WHY = {
  publish: "This link lets you watch, not drive.",
  control: "This link does not let you control the stream.",
  owner: "Only the owner of the server may do that.",
};
const ABOUT = {
  view: "This link lets you watch. What is grey needs another link; the server's owner makes one.",
  publish: "This link lets you watch, and drive with your camera. What is grey needs another link; the server's owner makes one.",
  control: "This link is for this stream alone. What is grey is left to the server's owner.",
};
const CONTROLS = ":is(button, input, select, label)";

export class Rights {
  constructor() {
    this.me = null; // until the server has told
  }

  // need: "publish" or "control" for this stream, or "owner". Why this page may not, in words; "" where it may, or nobody knows yet.
  lacks(need) {
    if (!this.me) return "";
    const { server, streams } = this.me;
    const [has, wanted] = need === "owner" ? [server, "control"] : [streams[name] ?? "none", need];
    return RIGHTS.indexOf(has) < RIGHTS.indexOf(wanted) ? WHY[need] : "";
  }

  async load() {
    this.me = await call("GET", "/api/me");
    const about = document.getElementById("rights");
    about.textContent = this.lacks("owner") ? ABOUT[this.me.streams[name]] ?? "" : "";
    about.hidden = !about.textContent;
    document.body.classList.toggle("guest", this.me.server === "none");
    for (const element of document.querySelectorAll("[data-needs]")) this.grey(element);
  }

  grey(element) {
    const why = this.lacks(element.dataset.needs);
    if (!why || element.parentElement.matches("fieldset.lacks")) return;
    const box = Object.assign(document.createElement("fieldset"), { className: "lacks", disabled: true });
    box.dataset.why = why;
    box.setAttribute("aria-describedby", "rights");
    element.replaceWith(box);
    box.append(element);
  }

  // A title that says what a button does is of no use where it does nothing.
  render() {
    for (const box of document.querySelectorAll(".lacks")) {
      for (const control of box.querySelectorAll(CONTROLS)) if (control.title !== box.dataset.why) control.title = box.dataset.why;
    }
  }
}
