// Texts in the page's language, and times as people read them.

const texts = JSON.parse(document.body.dataset.texts ?? "{}");
const STEPS = [[86400000, "{n} d"], [3600000, "{n} h"], [60000, "{n} min"], [1000, "{n} s"]];

export function say(text, values = {}) {
  return (texts[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export function ago(ms, now = Date.now()) {
  const distance = Math.abs(now - ms);
  for (const [size, words] of STEPS) {
    if (distance >= size) {
      const span = say(words, { n: Math.floor(distance / size) });
      return say(ms <= now ? "{span} ago" : "in {span}", { span });
    }
  }
  return say("just now");
}

// Only what reads "… ago" is kept fresh; an exact time is left alone.
export function freshen(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    if (time.textContent !== time.title) time.textContent = ago(Date.parse(time.dateTime));
  }
}

// An element with its attributes and children; strings become text, never markup.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
