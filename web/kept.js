// What this browser remembers of the page; nothing where it remembers nothing.

export function kept(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`puppetcast.${key}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function keep(key, value) {
  try {
    localStorage.setItem(`puppetcast.${key}`, JSON.stringify(value));
  } catch {
    // storage is full or not allowed: it holds for this visit
  }
}
