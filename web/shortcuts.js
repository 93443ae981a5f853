// Keys, and the overlay that tells them.

const typing = (target) => target.closest("input:not([type=checkbox]):not([type=range]), select, textarea, dialog");

// keys: key -> [what it does in words, the work]
export function shortcuts(keys) {
  const dialog = document.getElementById("shortcuts");
  const help = () => dialog.showModal();
  const all = { ...keys, "?": ["Show this", help] };
  const told = Object.entries(all).filter(([key]) => !/[2-9]/.test(key)); // of the digits one row is enough
  document.getElementById("keys").replaceChildren(...told.flatMap(([key, [text]]) => {
    const [dt, dd, kbd] = ["dt", "dd", "kbd"].map((tag) => document.createElement(tag));
    kbd.textContent = { " ": "space", 1: "1 … 9", "Shift+1": "Shift+1 … 9" }[key] || key;
    dt.append(kbd);
    dd.textContent = text;
    return [dt, dd];
  }));
  document.getElementById("help").addEventListener("click", help);
  addEventListener("keydown", (event) => {
    const digit = /^Digit(\d)$/.exec(event.code)?.[1]; // with Shift, or on some keyboards without it, the key is another sign
    const found = all[event.key] || all[event.key.toUpperCase()] || (digit && all[`${event.shiftKey ? "Shift+" : ""}${digit}`]);
    const pressing = event.key === " " && event.target.closest("button, summary, input");
    const modified = event.ctrlKey || event.metaKey || event.altKey;
    if (!found || modified || event.repeat || typing(event.target) || pressing) return;
    event.preventDefault();
    found[1]();
  });
}
