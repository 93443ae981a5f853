// Files dropped anywhere on the page or pasted, and the sign that they may be.

const first = Object.assign(document.createElement("p"), { role: "alert", className: "bad" });
const dialogs = () => [...document.querySelectorAll("dialog[open]")];

export function onDrop(take) {
  const sign = document.getElementById("drop");
  const files = (event) => event.dataTransfer?.types.includes("Files");
  const show = (on) => (sign.hidden = !on || Boolean(dialogs().length));
  addEventListener("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault(); // or the browser opens the file in place of the page
    show(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget || show(false)); // null outside the window
  addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    show(false);
    if (free()) take([...event.dataTransfer.files]);
  });
}

// What was copied in another program or a file manager.
export function onPaste(take) {
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    if (dialogs().length && event.clipboardData.types.includes("text/plain")) return; // for a field of the dialog
    event.preventDefault();
    if (free()) take(files.slice(0, 1)); // some programs give the same picture twice
  });
}

// Whether no dialog is open; one that is says that it comes first, as nothing else is seen or read aloud meanwhile.
function free() {
  const open = dialogs();
  if (!open.length) return true;
  const top = open.find((each) => each.contains(document.activeElement)) ?? open.at(-1);
  top.append(first);
  first.textContent = "The file was not taken. Finish here first; then drop it or paste it once more.";
  top.addEventListener("close", () => first.remove(), { once: true });
  return false;
}
