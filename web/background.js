// What is behind the person, and the page with the picture alone.

import { api, name } from "./control.js";
import { authorized, linked } from "./rtc.js";
import { inTurn } from "./turns.js";

const $ = (id) => document.getElementById(id);
const view = `/view/${encodeURIComponent(name)}`;

export class Background {
  constructor(control, attempt) {
    this.control = control;
    $("clean").href = linked(view);
    $("clean-cut").href = linked(`${view}?background=transparent`);
    $("background").addEventListener("change", attempt(() => this.choose()));
    $("background-colour").addEventListener("change", attempt(() => this.set($("background-colour").value)));
    $("background-picture").addEventListener("change", attempt((event) => this.upload(event.target)));
  }

  choose() {
    const wanted = $("background").value;
    return this.set(wanted === "colour" ? $("background-colour").value : wanted);
  }

  async set(background) {
    try {
      await this.control.send({ background });
    } catch (problem) {
      if (problem.code !== "UnknownBackground") throw problem;
      throw new Error("There is no picture yet: upload one first.");
    }
  }

  async upload(input) {
    const [file] = input.files;
    input.value = "";
    if (file) await inTurn(file, () => this.send(file));
  }

  async send(file) {
    const reply = await fetch(`${api}/background`, { method: "PUT", headers: authorized(), body: file });
    if (!reply.ok) throw new Error((await reply.json().catch(() => ({}))).detail || `the server answered ${reply.status}`);
    await this.set("picture");
  }

  render() {
    const { state, puppet } = this.control;
    const colour = puppet.background.startsWith("#");
    const chosen = colour ? "colour" : puppet.background;
    if ($("background").value !== chosen) $("background").value = chosen; // writing moves the mark in an open list
    if (colour && !$("background-colour").matches(":focus")) $("background-colour").value = puppet.background.toLowerCase();
    $("background-own").hidden = state.matte;
  }
}
