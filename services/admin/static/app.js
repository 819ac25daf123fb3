// The pages' script: joins the live client with what is on the page.

import { setUp as setUpForms } from "./forms.js";
import { createLive } from "./live.js";
import { note, setUp as setUpNotices, warn } from "./notices.js";
import { keepFresh, refreshSoon } from "./regions.js";
import { show } from "./statuses.js";
import { say } from "./words.js";

const lamp = document.getElementById("connection");
const live = createLive({ url: "/ws", storage: sessionStorage });
let dropped = false;

live.on("status", (status) => {
  lamp.hidden = false;
  lamp.dataset.state = status;
  lamp.querySelector(".words").textContent = say(status);
  if (status !== "connected") dropped = true;
  else if (dropped) refreshSoon();
});
live.on("event", (event) => {
  show(event);
  note(event);
  refreshSoon();
});
live.on("gap", () => {
  warn(say("Some events were missed while this page was away."));
  refreshSoon();
});
live.on("refused", () => warn(say("The session has ended: sign in again.")));

// On a phone the menu scrolls: where we are is to be seen.
document.querySelector(".side nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
setUpForms();
setUpNotices();
keepFresh();
live.connect();
// The browser would count a connection cut by leaving the page as a failure.
addEventListener("pagehide", () => live.disconnect());
addEventListener("pageshow", (shown) => shown.persisted && live.connect());
