// Whose face a portrait shows: asked once for each upload; what was said last is offered first.

import { keep, kept } from "./kept.js";

const ANSWERS = ["mine", "consent", "public_domain", "drawn"];

// One of ANSWERS, or null where the user gives up.
export function askWhose() {
  const dialog = document.getElementById("whose");
  const form = document.getElementById("whose-form");
  const last = kept("whose", ANSWERS[0]);
  form.elements.whose.value = ANSWERS.includes(last) ? last : ANSWERS[0];
  dialog.returnValue = "";
  dialog.showModal();
  form.querySelector("input:checked").focus();
  return new Promise((resolve) => {
    const closed = () => {
      if (dialog.returnValue !== "said") return resolve(null);
      keep("whose", form.elements.whose.value);
      resolve(form.elements.whose.value);
    };
    dialog.addEventListener("close", closed, { once: true });
  });
}

// Who may drive a portrait, in words; "" for anybody.
export function driversOf({ needs_pass, only_face }) {
  const pass = needs_pass && "Only who has its pass may drive it.";
  const face = { shown: "It moves for the face alone that it shows.", enrolled: "It moves for one face alone, which was enrolled." };
  return [pass, face[only_face]].filter(Boolean).join(" ");
}
