// Toasts for new events, and the notification centre with the last 50 of them.

import { ago, make, say } from "./words.js";

const KEPT = 50;
const SHOWN_FOR = 8000;
const AT_ONCE = 4;
const OWN = ["monitor.", "webhook.", "delivery.", "system."];
const QUIET = ["monitor.created", "monitor.updated", "monitor.deleted", "monitor.resumed", "monitor.paused"];

const toasts = document.getElementById("toasts");
const centre = document.getElementById("centre");
const list = document.getElementById("centre-list");
const bell = document.getElementById("bell");
const filter = document.getElementById("centre-filter");
const mute = document.getElementById("toast-mute");
const counter = bell?.querySelector(".count");

let kept = load("notices") ?? [];
let unseen = load("unseen") ?? 0;
let more = 0;

export function setUp() {
  if (!bell) return;
  bell.hidden = false;
  mute.checked = localStorage.getItem("mute") === "yes";
  filter.value = localStorage.getItem("filter") ?? "";
  mute.addEventListener("change", () => localStorage.setItem("mute", mute.checked ? "yes" : ""));
  filter.addEventListener("change", () => {
    localStorage.setItem("filter", filter.value);
    draw();
  });
  document.getElementById("centre-clear").addEventListener("click", () => {
    kept = [];
    save();
    draw();
  });
  bell.addEventListener("click", () => toggle(centre.hidden));
  document.addEventListener("keydown", (key) => key.key === "Escape" && !centre.hidden && toggle(false));
  document.addEventListener("click", (click) => {
    if (!centre.hidden && !centre.contains(click.target) && !bell.contains(click.target)) toggle(false, false);
  });
  draw();
}

function toggle(open, focus = true) {
  centre.hidden = !open;
  bell.setAttribute("aria-expanded", String(open));
  if (open) {
    unseen = 0;
    save();
    draw();
    if (focus) filter.focus();
  } else if (focus) bell.focus();
}

export function note(event) {
  const payload = event.payload ?? {};
  const monitor = payload.monitor;
  kept.unshift({
    id: event.id,
    type: event.type,
    at: event.timestamp,
    status: payload.new_status ?? "",
    name: String(monitor?.name ?? payload.webhook?.name ?? payload.target ?? "").slice(0, 200),
    text: String(payload.message ?? payload.error ?? "").slice(0, 300),
    href: monitor?.id ? `/ui/monitors/${encodeURIComponent(monitor.id)}` : "",
  });
  kept.length = Math.min(kept.length, KEPT);
  if (centre.hidden) unseen += 1;
  save();
  draw();
  if (!mute.checked && passes(kept[0]) && !QUIET.includes(event.type)) toast(kept[0]);
}

export function warn(text) {
  place(make("div", { class: "toast s-warning" }, make("p", {}, text)));
}

function passes(one) {
  if (!filter.value) return true;
  if (filter.value === "app") return !OWN.some((prefix) => one.type.startsWith(prefix));
  return one.type.startsWith(filter.value);
}

function words(one) {
  const name = one.href ? make("a", { href: one.href }, make("bdi", {}, one.name)) : make("bdi", {}, one.name);
  const what = one.status ? say(one.status) : "";
  const parts = [make("p", {}, name, what ? ` ${what}` : "")];
  if (one.text) parts.push(make("p", { class: "muted" }, make("bdi", {}, one.text)));
  parts.push(make("p", {}, make("span", { class: "kind" }, one.type)));
  return parts;
}

function toast(one) {
  if (toasts.childElementCount >= AT_ONCE) {
    more += 1;
    let rest = toasts.querySelector(".rest");
    if (!rest) place((rest = make("div", { class: "toast rest" }, make("p", {}))));
    rest.querySelector("p").textContent = say("{n} more events", { n: more });
    return;
  }
  place(make("div", { class: `toast s-${one.status}` }, make("div", {}, ...words(one))));
}

function place(element) {
  const close = make("button", { class: "quiet", type: "button", "aria-label": say("Close") }, "×");
  close.addEventListener("click", () => element.remove());
  element.append(close);
  toasts.append(element);
  setTimeout(function leave() {
    if (element.matches(":hover, :focus-within")) return void setTimeout(leave, 1000);
    if (element.classList.contains("rest")) more = 0;
    element.remove();
  }, SHOWN_FOR);
}

function draw() {
  counter.hidden = !unseen;
  counter.textContent = unseen > 99 ? "99+" : unseen;
  if (centre.hidden) return;
  const shown = kept.filter(passes);
  list.replaceChildren(
    ...shown.map((one) => {
      const item = make("li", {}, ...words(one));
      const at = Date.parse(one.at);
      item.lastChild.append(" ", make("time", { datetime: one.at, title: one.at, class: "muted" }, ago(at)));
      return item;
    }),
  );
  if (!shown.length) list.append(make("li", { class: "muted" }, say("No events yet.")));
}

function load(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name));
  } catch {
    return null;
  }
}

function save() {
  sessionStorage.setItem("notices", JSON.stringify(kept));
  sessionStorage.setItem("unseen", JSON.stringify(unseen));
}
