// A question that is answered by yes or not at all. One after the other: that a dialog has closed is told a moment later, and
// would be the answer to the next one.
let last = Promise.resolve();

export function ask(text, yes) {
  last = last.then(() => answer(text, yes));
  return last;
}

function answer(text, yes) {
  const dialog = document.getElementById("question");
  document.getElementById("question-text").textContent = text;
  document.getElementById("question-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// What comes late, by itself, does not open over a dialog that somebody is at.
export async function othersClosed() {
  for (let open; (open = document.querySelector("dialog[open]")); ) {
    await new Promise((resolve) => open.addEventListener("close", resolve, { once: true }));
  }
}

// Whether what has a name already may be replaced: `what` with its article. own: the user's, else it came with the program.
export function askReplace(what, name, own) {
  const after = own ? "This cannot be undone." : "It comes back when you delete yours.";
  return ask(`There is ${what} “${name}” already. Replace it? ${after}`, "Replace it");
}
