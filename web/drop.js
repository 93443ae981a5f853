// Files dropped anywhere on the page or pasted, and the sign that they may be.

export function onDrop(take) {
  const sign = document.getElementById("drop");
  const files = (event) => event.dataTransfer?.types.includes("Files");
  const show = (on) => (sign.hidden = !on || Boolean(document.querySelector("dialog[open]")));
  addEventListener("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault(); // or the browser opens the file in place of the page
    show(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget || show(false)); // null outside the window
  addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    const free = !sign.hidden; // no dialog is open
    show(false);
    if (free) take([...event.dataTransfer.files]);
  });
}

// What was copied in another program or a file manager.
export function onPaste(take) {
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    take(files.slice(0, 1)); // some programs give the same picture twice
  });
}
