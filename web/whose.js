// Whose face a portrait shows: asked once for each upload.

// The answer, a value of the form's; null where the user gives up.
export function askWhose() {
  const dialog = document.getElementById("whose");
  const form = document.getElementById("whose-form");
  form.reset(); // nothing is chosen: a consent is not to be given by Enter, and the face is another one each time
  dialog.showModal();
  form.querySelector("input").focus();
  return new Promise((resolve) => {
    const done = new AbortController();
    const { signal } = done;
    const answer = (value) => {
      done.abort();
      resolve(value);
    };
    form.addEventListener("submit", ({ submitter }) => {
      answer(submitter.value === "said" ? form.elements.whose.value : null);
    }, { signal });
    dialog.addEventListener("cancel", () => answer(null), { signal });
    // It may come when the next question is open already, and is then of the one before.
    dialog.addEventListener("close", () => dialog.open || answer(null), { signal });
  });
}

// Who may drive a portrait, in words; "" for anybody.
export function driversOf({ needs_pass, only_face }) {
  const pass = needs_pass && "Only who has its pass may drive it.";
  const face = { shown: "It moves for the face alone that it shows.", enrolled: "It moves for one face alone, which was enrolled." };
  return [pass, face[only_face]].filter(Boolean).join(" ");
}
