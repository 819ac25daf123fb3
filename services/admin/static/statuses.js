// Shows a monitor's new status at once, before the regions are drawn anew.

import { say } from "./words.js";

const STATUSES = ["new", "alive", "warning", "error", "dead", "paused"];

export function show(event) {
  const { monitor, old_status: before, new_status: after, last_seen: seen } = event.payload ?? {};
  if (!monitor?.id || !STATUSES.includes(after)) return;
  for (const row of document.querySelectorAll(`[data-monitor="${CSS.escape(monitor.id)}"]`)) {
    const status = row.querySelector(".status");
    if (!status) continue;
    for (const element of [row, status]) {
      if (![...element.classList].some((name) => name.startsWith("s-"))) continue;
      for (const word of STATUSES) element.classList.toggle(`s-${word}`, word === after);
    }
    status.lastChild.textContent = say(after);
    const time = row.querySelector(".seen time");
    if (time && seen) time.dateTime = seen;
    row.classList.add("changed");
    row.addEventListener("animationend", () => row.classList.remove("changed"), { once: true });
  }
  if (location.pathname !== "/ui" || before === after) return;
  count(before, -1);
  count(after, 1);
}

function count(status, by) {
  if (!STATUSES.includes(status)) return;
  const place = document.querySelector(`[data-count="${status}"]`);
  if (!place) return;
  const n = Math.max(0, Number(place.textContent) + by);
  place.textContent = n;
  place.closest(".counter").classList.toggle("zero", n === 0);
}
