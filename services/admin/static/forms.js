// What forms gain by a script; every one of them works without it.

import { refreshSoon } from "./regions.js";
import { make, say } from "./words.js";

const csrf = document.body.dataset.csrf;

// A call of the public `/webhooks` API in the name of whoever is signed in.
async function api(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin",
  });
  const found = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(found?.detail ?? answer.statusText);
  return found;
}

export function setUp() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
  for (const form of document.querySelectorAll("form[data-auto]")) {
    form.addEventListener("change", (change) => change.target.tagName === "SELECT" && form.requestSubmit());
  }
  document.addEventListener("submit", submitted);
  kindOfMonitor();
}

async function copy(button) {
  const place = document.getElementById(button.dataset.copy);
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(place.textContent);
    button.textContent = say("Copied");
    setTimeout(() => (button.textContent = words), 1500);
  } catch {
    getSelection().selectAllChildren(place);
  }
}

// What has no meaning for the chosen kind of schedule is put away.
function kindOfMonitor() {
  const kinds = document.querySelectorAll("input[name=kind]");
  if (!kinds.length) return;
  const draw = () => {
    const cron = document.querySelector("input[name=kind]:checked")?.value === "cron";
    for (const name of ["schedule", "timezone"]) field(name).hidden = !cron;
    field("timeout").hidden = cron;
  };
  const field = (name) => document.getElementById(`f-${name}`).closest(".field");
  for (const kind of kinds) kind.addEventListener("change", draw);
  draw();
}

function submitted(event) {
  const form = event.target;
  const [, webhook, action] = new URL(form.action).pathname.match(/^\/ui\/webhooks\/(\d+)\/(test|switch)$/) ?? [];
  const again = new URL(form.action).pathname.match(/^\/ui(\/webhooks\/\d+\/deliveries\/\d+\/redeliver)$/);
  const button = event.submitter ?? form.querySelector("button");
  if (action === "test") act(event, button, () => test(webhook));
  else if (again) act(event, button, () => api("POST", again[1]).then(refreshSoon));
  else if (form.method === "post") setTimeout(() => wait(button, form.dataset.busy));
}

function wait(button, words) {
  if (!button) return;
  button.setAttribute("aria-busy", "true");
  if (words) button.textContent = words;
}

async function act(event, button, work) {
  event.preventDefault();
  if (button.getAttribute("aria-busy") === "true") return;
  const words = button.textContent;
  wait(button, say("Sending…"));
  try {
    await work();
  } catch (error) {
    tell(false, error.message, "");
  }
  button.removeAttribute("aria-busy");
  button.textContent = words;
}

async function test(webhook) {
  const found = await api("POST", `/webhooks/${webhook}/test`);
  const words = { success: "Delivered", failed: "Failed" }[found.status] ?? "Waiting for its first attempt";
  const status = found.response_status ? ` · HTTP ${found.response_status}` : "";
  tell(found.status === "success", say(words) + status, found.error_message ?? "");
  refreshSoon();
}

function tell(good, words, detail) {
  const notice = make("div", { class: `notice ${good ? "good" : "bad"}` }, make("p", {}, make("b", {}, words)));
  if (detail) notice.append(make("pre", {}, make("bdi", {}, detail)));
  const place = document.getElementById("tested") ?? document.getElementById("main");
  if (place.id === "tested") place.replaceChildren(notice);
  else place.prepend(notice);
}
