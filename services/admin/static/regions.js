// Keeps the page's live regions (`data-live`) as the server would draw them now.

import { freshen } from "./words.js";

const SETTLE = 120; // ms: one storm of events is one redraw …
const LEAST_APART = 700; // … and a long storm one in so many ms
const IDLE = 10000; // heartbeats that change no status are no events: look now and then …
const DUE = 1500; // … and often while a delivery is under way, whose end is no event either

let timer = 0;
let last = 0;
let running = false;
let again = false;

export function refreshSoon() {
  if (running) {
    again = true;
    return;
  }
  clearTimeout(timer);
  const wait = Math.max(SETTLE, LEAST_APART - (performance.now() - last));
  timer = setTimeout(refresh, wait);
}

export function keepFresh() {
  setInterval(() => {
    if (document.hidden) return;
    freshen();
    const idle = performance.now() - last;
    if (idle > IDLE || (idle > DUE && isDue())) refreshSoon();
  }, 1000);
  document.addEventListener("visibilitychange", () => document.hidden || refreshSoon());
}

function isDue() {
  const soon = Date.now() + 500;
  return [...document.querySelectorAll("[data-soon]")].some((row) => Number(row.dataset.soon) < soon);
}

async function refresh() {
  if (!document.querySelector("[data-live]")) return;
  running = true;
  last = performance.now();
  // A page that answers a form, which cannot be asked for again, says where what it shows is.
  const address = new URL(document.body.dataset.address || location.href, location.href);
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    if (answer.ok && new URL(answer.url).pathname === address.pathname) {
      replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    }
  } catch {
    // The server is away; the connection's lamp says so, and the next event or minute tries again.
  }
  running = false;
  if (again) {
    again = false;
    refreshSoon();
  }
}

function replace(fresh) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(old.id);
    if (!now) continue;
    keepOpen(old, now);
    if (old.isEqualNode(now) || old.contains(document.activeElement) && isTyping()) continue;
    const focus = old.contains(document.activeElement) ? mark(document.activeElement) : "";
    const before = statuses(old);
    const placed = document.adoptNode(now);
    old.replaceWith(placed);
    if (focus) placed.querySelector(focus)?.focus({ preventScroll: true });
    for (const [id, status] of statuses(placed)) {
      if (before.has(id) && before.get(id) !== status) flash(id);
    }
  }
  freshen();
}

function isTyping() {
  return ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement.tagName);
}

function keepOpen(old, now) {
  for (const details of old.querySelectorAll("details[id][open]")) {
    now.querySelector(`#${CSS.escape(details.id)}`)?.setAttribute("open", "");
  }
  for (const time of now.querySelectorAll("time[datetime]")) {
    const same = old.querySelector(`time[datetime="${CSS.escape(time.dateTime)}"]`);
    if (same && same.textContent !== same.title) time.textContent = same.textContent;
  }
}

function mark(element) {
  if (element.id) return `#${CSS.escape(element.id)}`;
  const address = element.getAttribute("href");
  return address ? `[href="${CSS.escape(address)}"]` : "";
}

function statuses(root) {
  const found = new Map();
  for (const row of [root, ...root.querySelectorAll("[data-monitor]")]) {
    if (row.dataset?.monitor) found.set(row.dataset.monitor, row.querySelector(".status")?.textContent);
  }
  return found;
}

function flash(id) {
  for (const row of document.querySelectorAll(`[data-monitor="${CSS.escape(id)}"]`)) {
    row.classList.add("changed");
    row.addEventListener("animationend", () => row.classList.remove("changed"), { once: true });
  }
}
