// Files go to the server one after the other, as it takes few at one time; which they are is told for as long as that lasts.

const line = document.getElementById("sending");
const names = []; // of the file that is on its way, and of those that wait for it
let last = Promise.resolve();

// What `work` gives, which is begun when all files before have been dealt with, well or not.
export async function inTurn({ name }, work) {
  const turn = last.then(work);
  last = turn.catch(() => {});
  names.push(name);
  tell();
  try {
    return await turn;
  } finally {
    names.shift();
    tell();
  }
}

function tell() {
  const [now, ...then] = names.map((name) => `“${name}”`);
  line.hidden = !now;
  line.textContent = now ? `Looking at ${now}…${then.length ? ` Then: ${then.join(", ")}.` : ""}` : "";
}
